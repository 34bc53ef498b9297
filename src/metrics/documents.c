// How a document of any length is asked for, token by token (PROTOCOL 4.9). It is read in windows of the model's length
// that overlap by half, and each token is scored once, with the most context that it can have.
//   decoder          every token after the start token
//   masked           pseudo-log-likelihood: each token masked by itself
//   encoder-decoder  span corruption (Raffel et al. 2020: 15 % of the tokens in spans of 3 on average), spans fixed by
//                    the seed
#include "metrics/documents_internal.h"

#include <stdio.h>
#include <string.h>

#include "core/philox.h"

#define WINDOW_MOST 2048 // of a model whose positions have no bound
#define SPAN_SHARE 0.15
#define SPAN_LENGTH 3

const char *eh_document_text(const eh_item *item)
{
    const char *text = eh_item_field(item, "text");
    return text[0] != '\0' || item->field_count == 0 ? text : item->fields[item->field_count - 1];
}

// --- Decoders and masked models -----------------------------------------------------------------------------------

static eh_status ask_decoder(const eh_metric_setup *setup, const char *text, eh_requests *requests)
{
    const int64_t window = setup->max_length < WINDOW_MOST ? setup->max_length : WINDOW_MOST;
    eh_status status = EH_OK;
    eh_ids ids = {0};
    EH_TRY_OR(done, eh_ids_add(&ids, eh_start_id(setup)));
    EH_TRY_OR(done, eh_ids_add_text(&ids, setup, text, EH_WITHOUT_SPECIAL));
    // A window reads `window` ids and predicts one more; the first scores all of them, the others their second half.
    for (int64_t scored = 1; scored < ids.count;) {
        const int64_t first = scored == 1 ? 0 : scored - window / 2;
        const int64_t end = first + window + 1 < ids.count ? first + window + 1 : ids.count;
        EH_TRY_OR(done,
                  eh_request_continuation(requests, ids.ids + first, scored - first, ids.ids + scored, end - scored));
        scored = end;
    }
done:
    eh_ids_deinit(&ids);
    return status;
}

static eh_status ask_masked(const eh_metric_setup *setup, const char *text, eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_ids bare = {0}, whole = {0}, window_ids = {0};
    EH_TRY_OR(done, eh_ids_add_text(&bare, setup, text, EH_WITHOUT_SPECIAL));
    EH_TRY_OR(done, eh_ids_add_text(&whole, setup, "", EH_WITH_SPECIAL)); // [CLS] [SEP]
    const int64_t before = whole.count / 2, after = whole.count - before;
    const int64_t room = setup->max_length - whole.count, half = room / 2 > 0 ? room / 2 : 1;
    for (int64_t scored = 0; scored < bare.count;) {
        const int64_t first = scored == 0 ? 0 : scored - half;
        const int64_t end = first + room < bare.count ? first + room : bare.count;
        window_ids.count = 0;
        for (int64_t i = 0; i < before; i++) EH_TRY_OR(done, eh_ids_add(&window_ids, whole.ids[i]));
        for (int64_t i = first; i < end; i++) EH_TRY_OR(done, eh_ids_add(&window_ids, bare.ids[i]));
        for (int64_t i = 0; i < after; i++) EH_TRY_OR(done, eh_ids_add(&window_ids, whole.ids[before + i]));
        for (; scored < end; scored++) {
            const int32_t position = (int32_t)(before + scored - first), gold = bare.ids[scored];
            window_ids.ids[position] = setup->special.mask;
            EH_TRY_OR(done, eh_request_masked(requests, window_ids.ids, NULL, window_ids.count, &position, &gold, 1));
            window_ids.ids[position] = gold;
        }
    }
done:
    eh_ids_deinit(&bare);
    eh_ids_deinit(&whole);
    eh_ids_deinit(&window_ids);
    return status;
}

// --- Span corruption ----------------------------------------------------------------------------------------------

// Whether token i of the document begins a span, and how long: 1, 3 or 5 tokens, so 3 on average.
static int64_t span_at(uint64_t seed, int64_t document, int64_t i)
{
    const uint64_t key = (uint64_t)document << 32 | (uint64_t)i;
    const double begins = SPAN_SHARE / (SPAN_LENGTH * (1 - SPAN_SHARE) + SPAN_SHARE); // among tokens not in a span
    if (eh_random_uniform(seed, EH_STREAM_SAMPLING, 2 * key) >= begins)
        return 0;
    return 1 + 2 * (int64_t)eh_random_below(seed, EH_STREAM_SAMPLING, 2 * key + 1, 3);
}

eh_status eh_document_corrupt(const eh_metric_setup *setup, int64_t document, int64_t first, int64_t end,
                              eh_ids *source, eh_ids *target, int64_t *span_tokens, int64_t *span_bytes)
{
    const eh_encoding *e = setup->encoding;
    char name[32];
    int sentinel = 0;
    source->count = target->count = *span_tokens = *span_bytes = 0;
    for (int64_t i = first; i < end;) {
        int64_t length = sentinel < 99 ? span_at(setup->seed, document, i) : 0;
        if (length == 0 && i + 1 == end && sentinel == 0)
            length = 1; // a short text has one span at least
        if (length == 0) {
            EH_TRY(eh_ids_add(source, e->ids[i++]));
            continue;
        }
        snprintf(name, sizeof name, "<extra_id_%d>", sentinel++);
        const int32_t id = eh_tokenizer_id(setup->tokenizer, name);
        EH_TRY(eh_ids_add(source, id));
        EH_TRY(eh_ids_add(target, id));
        for (const int64_t stop = i + length < end ? i + length : end; i < stop; i++) {
            EH_TRY(eh_ids_add(target, e->ids[i]));
            ++*span_tokens;
            *span_bytes += e->offsets[i][1] - e->offsets[i][0];
        }
        // Two spans never touch: they would be one.
        if (i < end)
            EH_TRY(eh_ids_add(source, e->ids[i++]));
    }
    return eh_ids_add(source, setup->special.eos);
}

static eh_status ask_spans(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_ids source = {0}, target = {0};
    const char *text = eh_document_text(item);
    EH_TRY(eh_tokenizer_encode(setup->tokenizer, text, strlen(text), EH_WITHOUT_SPECIAL, setup->encoding));
    for (int64_t first = 0; first < setup->encoding->count; first += EH_SPAN_WINDOW) {
        const int64_t end =
            first + EH_SPAN_WINDOW < setup->encoding->count ? first + EH_SPAN_WINDOW : setup->encoding->count;
        int64_t tokens, bytes;
        EH_TRY_OR(done, eh_document_corrupt(setup, item->index, first, end, &source, &target, &tokens, &bytes));
        EH_TRY_OR(done, eh_request_target(requests, source.ids, source.count, target.ids, target.count));
    }
done:
    eh_ids_deinit(&source);
    eh_ids_deinit(&target);
    return status;
}

eh_status eh_document_requests(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    if (setup->kind == EH_DECODER)
        return ask_decoder(setup, eh_document_text(item), requests);
    return setup->kind == EH_ENCODER ? ask_masked(setup, eh_document_text(item), requests)
                                     : ask_spans(setup, item, requests);
}

eh_status eh_document_check(const eh_metric_setup *setup, const char *metric)
{
    if (setup->kind == EH_ENCODER && setup->head != EH_HEAD_MASKED)
        return eh_error(
            EH_INPUT, "metric '%s' needs a language model: this model's head gives no probabilities of tokens", metric);
    if (setup->kind == EH_ENCODER_DECODER && eh_tokenizer_id(setup->tokenizer, "<extra_id_0>") < 0)
        return eh_error(EH_INPUT, "metric '%s' of an encoder-decoder needs a tokenizer with <extra_id_0>", metric);
    return EH_OK;
}
