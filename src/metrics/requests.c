// What metrics ask, collected. A context that several sequences of an item begin with is recognised here, so that the
// evaluator computes it once.
#include <string.h>

#include "core/memory.h"
#include "metrics/requests_internal.h"

void eh_requests_clear(eh_requests *requests)
{
    requests->sequence_count = requests->id_count = requests->type_count = requests->decoder_count = 0;
    requests->row_count = requests->gold_count = requests->context_count = 0;
    requests->prompt_count = requests->text_count = 0;
    requests->tag = 0;
    requests->cut_tokens = requests->too_long_count = 0;
    eh_string_clear(&requests->text);
}

void eh_requests_deinit(eh_requests *requests)
{
    eh_free(&requests->sequences);
    eh_free(&requests->ids);
    eh_free(&requests->types);
    eh_free(&requests->decoder_ids);
    eh_free(&requests->rows);
    eh_free(&requests->gold);
    eh_free(&requests->prompts);
    eh_free(&requests->texts);
    eh_string_deinit(&requests->text);
    *requests = (eh_requests){0};
}

void eh_request_tag(eh_requests *requests, int32_t tag)
{
    requests->tag = tag;
}

static eh_status add_ids(eh_requests *requests, const int32_t *ids, const uint8_t *types, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        EH_TRY(EH_APPEND(&requests->ids, &requests->id_count, &requests->id_capacity, ids[i]));
        EH_TRY(EH_APPEND(&requests->types, &requests->type_count, &requests->type_capacity,
                         types == NULL ? (uint8_t)0 : types[i]));
    }
    return EH_OK;
}

static eh_status add_label(eh_requests *requests, int64_t row, int32_t gold)
{
    EH_TRY(EH_APPEND(&requests->rows, &requests->row_count, &requests->row_capacity, (int32_t)row));
    return EH_APPEND(&requests->gold, &requests->gold_count, &requests->gold_capacity, gold);
}

static eh_status add_sequence(eh_requests *requests, const eh_request_sequence *sequence)
{
    return EH_APPEND(&requests->sequences, &requests->sequence_count, &requests->sequence_capacity, *sequence);
}

static eh_request_sequence begin_sequence(const eh_requests *requests)
{
    return (eh_request_sequence){.first = requests->id_count,
                                 .context = -1,
                                 .tag = requests->tag,
                                 .decoder_first = requests->decoder_count,
                                 .label_first = requests->row_count};
}

// The number of an equal context of an earlier sequence, or a new one.
static int64_t context_number(eh_requests *requests, const int32_t *context, int64_t count)
{
    for (int64_t s = requests->sequence_count - 1; s >= 0; s--) {
        const eh_request_sequence *other = &requests->sequences[s];
        if (other->context >= 0 && other->shared_count == count &&
            memcmp(requests->ids + other->first, context, (size_t)count * sizeof *context) == 0)
            return other->context;
    }
    return requests->context_count++;
}

static bool fits(const eh_requests *requests, int64_t count)
{
    return requests->max_length <= 0 || count <= requests->max_length;
}

// Labels that can't be answered: NaN, whatever the model.
static eh_status add_too_long(eh_requests *requests, const int32_t *gold, int64_t count)
{
    eh_request_sequence sequence = begin_sequence(requests);
    for (int64_t i = 0; i < count; i++) EH_TRY(add_label(requests, i, gold[i]));
    sequence.label_count = count;
    sequence.too_long = true;
    requests->too_long_count++;
    return add_sequence(requests, &sequence);
}

// What is left of a context before `after` more ids: [*kept of its beginning] and [*from, count).
static void cut_context(eh_requests *requests, const int32_t *context, int64_t count, int64_t after, int64_t *kept,
                        int64_t *from)
{
    *kept = count > 0 && context[0] == requests->start ? 1 : 0;
    *from = *kept;
    if (fits(requests, count + after))
        return;
    const int64_t excess = count + after - requests->max_length, most = count - *kept;
    *from += excess < most ? excess : most;
    requests->cut_tokens += *from - *kept;
}

static eh_status add_context(eh_requests *requests, const int32_t *context, int64_t count, int64_t kept, int64_t from)
{
    EH_TRY(add_ids(requests, context, NULL, kept));
    return add_ids(requests, context + from, NULL, count - from);
}

eh_status eh_request_continuation(eh_requests *requests, const int32_t *context, int64_t context_count,
                                  const int32_t *continuation, int64_t count)
{
    EH_ASSERT(context_count > 0);
    const int64_t read = count > 0 ? count - 1 : 0; // the last id is only predicted
    int64_t kept, from;
    if (!fits(requests, 1 + read))
        return add_too_long(requests, continuation, count);
    cut_context(requests, context, context_count, read, &kept, &from);
    if (kept + context_count - from < 1) // something must be read before the first id
        from--;
    eh_request_sequence sequence = begin_sequence(requests);
    EH_TRY(add_context(requests, context, context_count, kept, from));
    sequence.shared_count = requests->id_count - sequence.first;
    sequence.context = context_number(requests, requests->ids + sequence.first, sequence.shared_count);
    EH_TRY(add_ids(requests, continuation, NULL, read));
    for (int64_t i = 0; i < count; i++) EH_TRY(add_label(requests, sequence.shared_count - 1 + i, continuation[i]));
    sequence.count = requests->id_count - sequence.first;
    sequence.label_count = count;
    return add_sequence(requests, &sequence);
}

eh_status eh_request_next(eh_requests *requests, const int32_t *context, int64_t context_count, const int32_t *ids,
                          int64_t count)
{
    EH_ASSERT(context_count > 0);
    int64_t kept, from;
    cut_context(requests, context, context_count, 0, &kept, &from);
    eh_request_sequence sequence = begin_sequence(requests);
    EH_TRY(add_context(requests, context, context_count, kept, from));
    sequence.count = requests->id_count - sequence.first;
    const bool decoder = requests->decoder_start >= 0;
    if (decoder)
        EH_TRY(EH_APPEND(&requests->decoder_ids, &requests->decoder_count, &requests->decoder_capacity,
                         requests->decoder_start));
    for (int64_t i = 0; i < count; i++) EH_TRY(add_label(requests, decoder ? 0 : sequence.count - 1, ids[i]));
    sequence.decoder_count = decoder ? 1 : 0;
    sequence.label_count = count;
    return add_sequence(requests, &sequence);
}

eh_status eh_request_target(eh_requests *requests, const int32_t *source, int64_t source_count, const int32_t *target,
                            int64_t count)
{
    EH_ASSERT(requests->decoder_start >= 0 && source_count > 0 && count > 0);
    int64_t kept, from;
    if (!fits(requests, count))
        return add_too_long(requests, target, count);
    cut_context(requests, source, source_count, 0, &kept, &from);
    eh_request_sequence sequence = begin_sequence(requests);
    EH_TRY(add_context(requests, source, source_count, kept, from));
    sequence.count = requests->id_count - sequence.first;
    for (int64_t i = 0; i < count; i++) {
        const int32_t input = i == 0 ? requests->decoder_start : target[i - 1];
        EH_TRY(EH_APPEND(&requests->decoder_ids, &requests->decoder_count, &requests->decoder_capacity, input));
        EH_TRY(add_label(requests, i, target[i]));
    }
    sequence.decoder_count = sequence.label_count = count;
    return add_sequence(requests, &sequence);
}

eh_status eh_request_masked(eh_requests *requests, const int32_t *ids, const uint8_t *type_ids, int64_t count,
                            const int32_t *positions, const int32_t *gold, int64_t position_count)
{
    if (!fits(requests, count))
        return add_too_long(requests, gold, position_count);
    eh_request_sequence sequence = begin_sequence(requests);
    EH_TRY(add_ids(requests, ids, type_ids, count));
    for (int64_t i = 0; i < position_count; i++) {
        EH_ASSERT(positions[i] >= 0 && positions[i] < count);
        EH_TRY(add_label(requests, positions[i], gold[i]));
    }
    sequence.count = count;
    sequence.label_count = position_count;
    return add_sequence(requests, &sequence);
}

eh_status eh_request_fills(eh_requests *requests, const int32_t *ids, const uint8_t *type_ids, int64_t count,
                           int64_t position, int64_t most)
{
    EH_ASSERT(position >= 0 && position < count && most > 0);
    const int32_t at = (int32_t)position;
    EH_TRY(eh_request_masked(requests, ids, type_ids, count, &at, &ids[position], 1));
    requests->sequences[requests->sequence_count - 1].fills = most;
    return EH_OK;
}

eh_status eh_request_generation(eh_requests *requests, const int32_t *prompt, int64_t count)
{
    EH_ASSERT(count > 0);
    const int64_t first = requests->id_count;
    EH_TRY(add_ids(requests, prompt, NULL, count));
    EH_TRY(eh_reserve(2 * (requests->prompt_count + 1), &requests->prompt_capacity, sizeof *requests->prompts,
                      (void **)&requests->prompts));
    requests->prompts[2 * requests->prompt_count] = first;
    requests->prompts[2 * requests->prompt_count++ + 1] = count;
    return EH_OK;
}

eh_status eh_request_class(eh_requests *requests, const char *text, size_t size)
{
    const size_t first = requests->text.size;
    EH_TRY(eh_string_append(&requests->text, text, size));
    EH_TRY(eh_reserve(2 * (requests->text_count + 1), &requests->text_capacity, sizeof *requests->texts,
                      (void **)&requests->texts));
    requests->texts[2 * requests->text_count] = (int64_t)first;
    requests->texts[2 * requests->text_count++ + 1] = (int64_t)size;
    return EH_OK;
}
