// Packing: sequences go end to end, without padding, until a batch is full. The context that several sequences of an
// item share is one sequence of the batch, and they continue it.
#include "metrics/batch_internal.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/evaluate.h"

struct eh_batcher {
    eh_model *model;
    int64_t batch_tokens;
    eh_batch_limits reserved;
    // The batch that is being packed.
    int32_t *ids, *decoder_ids, *prefix, *label_rows, *label_ids;
    uint8_t *types;
    int64_t *offsets, *decoder_offsets;
    float **destinations; // where the log-probability of each label goes
    int64_t id_count, id_capacity, type_count, type_capacity, decoder_count, decoder_capacity;
    int64_t sequence_count, offset_capacity, decoder_offset_capacity, prefix_capacity;
    int64_t label_count, row_capacity, gold_capacity, destination_capacity;
    float *results;
    int64_t result_capacity;
    // Prefix sequences of the item that is being packed, by context number: sequence and first row, or -1.
    int64_t *context_sequence, *context_uses;
    int64_t context_capacity, uses_capacity;
};

eh_status eh_batcher_new(eh_model *model, int64_t batch_tokens, eh_batcher **batcher)
{
    eh_batcher *fresh = NULL;
    EH_TRY(EH_ALLOC(1, &fresh));
    fresh->model = model;
    fresh->batch_tokens = batch_tokens > 0 ? batch_tokens : EH_EVALUATION_BATCH_TOKENS;
    *batcher = fresh;
    return EH_OK;
}

void eh_batcher_free(eh_batcher **batcher)
{
    eh_batcher *b = *batcher;
    if (b == NULL)
        return;
    eh_free(&b->ids);
    eh_free(&b->decoder_ids);
    eh_free(&b->prefix);
    eh_free(&b->label_rows);
    eh_free(&b->label_ids);
    eh_free(&b->types);
    eh_free(&b->offsets);
    eh_free(&b->decoder_offsets);
    eh_free(&b->destinations);
    eh_free(&b->results);
    eh_free(&b->context_sequence);
    eh_free(&b->context_uses);
    eh_free(batcher);
}

int64_t eh_batcher_vocab_size(const eh_batcher *batcher)
{
    return eh_model_vocab_size(batcher->model);
}

static void forget(eh_batcher *b)
{
    b->id_count = b->type_count = b->decoder_count = b->sequence_count = b->label_count = 0;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static eh_status reserve_model(eh_batcher *b)
{
    const eh_batch_limits *r = &b->reserved;
    if (b->id_count <= r->tokens && b->decoder_count <= r->decoder_tokens && b->sequence_count <= r->sequences &&
        b->label_count <= r->labels)
        return EH_OK;
    // The whole budget at once, so that it is asked for once; a longer sequence than that grows it.
    const bool decodes = b->decoder_count > 0;
    b->reserved.tokens = larger(larger(r->tokens, b->id_count), b->batch_tokens);
    b->reserved.decoder_tokens = decodes ? larger(larger(r->decoder_tokens, b->decoder_count), b->batch_tokens) : 0;
    b->reserved.sequences = larger(larger(r->sequences, b->sequence_count), b->batch_tokens / 4 + 1);
    b->reserved.labels = larger(larger(r->labels, b->label_count), b->batch_tokens);
    return eh_model_reserve(b->model, &b->reserved);
}

void eh_batcher_reserve_again(eh_batcher *batcher)
{
    batcher->reserved = (eh_batch_limits){0};
}

static eh_batch as_batch(const eh_batcher *b, bool typed)
{
    const bool decodes = b->decoder_count > 0;
    return (eh_batch){.sequence_count = b->sequence_count,
                      .input_ids = b->ids,
                      .input_offsets = b->offsets,
                      .type_ids = typed ? b->types : NULL,
                      .decoder_ids = decodes ? b->decoder_ids : NULL,
                      .decoder_offsets = decodes ? b->decoder_offsets : NULL,
                      .prefix = eh_model_kind_of(b->model) == EH_DECODER ? b->prefix : NULL,
                      .label_count = b->label_count,
                      .label_rows = b->label_rows,
                      .label_ids = b->label_ids};
}

// Scores what was packed and empties the batch.
static eh_status flush(eh_batcher *b)
{
    if (b->label_count > 0) {
        EH_TRY(reserve_model(b));
        EH_TRY(eh_reserve(b->label_count, &b->result_capacity, sizeof *b->results, (void **)&b->results));
        const eh_batch batch = as_batch(b, eh_model_kind_of(b->model) == EH_ENCODER);
        EH_TRY(eh_model_score(b->model, &batch, b->results));
        for (int64_t i = 0; i < b->label_count; i++) *b->destinations[i] = b->results[i];
    }
    forget(b);
    return EH_OK;
}

static eh_status begin_sequence(eh_batcher *b, int32_t prefix)
{
    EH_TRY(eh_reserve(b->sequence_count + 2, &b->offset_capacity, sizeof *b->offsets, (void **)&b->offsets));
    EH_TRY(eh_reserve(b->sequence_count + 2, &b->decoder_offset_capacity, sizeof *b->decoder_offsets,
                      (void **)&b->decoder_offsets));
    EH_TRY(eh_reserve(b->sequence_count + 1, &b->prefix_capacity, sizeof *b->prefix, (void **)&b->prefix));
    b->offsets[0] = b->decoder_offsets[0] = 0;
    b->prefix[b->sequence_count] = prefix;
    return EH_OK;
}

static void end_sequence(eh_batcher *b)
{
    b->sequence_count++;
    b->offsets[b->sequence_count] = b->id_count;
    b->decoder_offsets[b->sequence_count] = b->decoder_count;
}

static eh_status put_ids(eh_batcher *b, const int32_t *ids, const uint8_t *types, int64_t count)
{
    EH_TRY(eh_reserve(b->id_count + count, &b->id_capacity, sizeof *b->ids, (void **)&b->ids));
    EH_TRY(eh_reserve(b->id_count + count, &b->type_capacity, sizeof *b->types, (void **)&b->types));
    if (count == 0)
        return EH_OK;
    memcpy(b->ids + b->id_count, ids, (size_t)count * sizeof *ids);
    if (types != NULL)
        memcpy(b->types + b->id_count, types, (size_t)count);
    else
        memset(b->types + b->id_count, 0, (size_t)count);
    b->id_count += count;
    return EH_OK;
}

static eh_status put_label(eh_batcher *b, int64_t row, int32_t gold, float *destination)
{
    EH_TRY(eh_reserve(b->label_count + 1, &b->row_capacity, sizeof *b->label_rows, (void **)&b->label_rows));
    EH_TRY(eh_reserve(b->label_count + 1, &b->gold_capacity, sizeof *b->label_ids, (void **)&b->label_ids));
    EH_TRY(
        eh_reserve(b->label_count + 1, &b->destination_capacity, sizeof *b->destinations, (void **)&b->destinations));
    b->label_rows[b->label_count] = (int32_t)row;
    b->label_ids[b->label_count] = gold;
    b->destinations[b->label_count++] = destination;
    return EH_OK;
}

// Ids [from, end) of the sequence as a context, if it is not there yet, behind sequence `prefix`.
static eh_status pack_context(eh_batcher *b, const eh_requests *requests, const eh_request_sequence *sequence,
                              int64_t context, int64_t from, int64_t end, int64_t prefix)
{
    if (b->context_sequence[context] >= 0)
        return EH_OK;
    EH_TRY(begin_sequence(b, (int32_t)prefix));
    EH_TRY(put_ids(b, requests->ids + sequence->first + from, NULL, end - from));
    b->context_sequence[context] = b->sequence_count;
    end_sequence(b);
    return EH_OK;
}

static eh_status pack_contexts(eh_batcher *b, const eh_requests *requests, const eh_request_sequence *sequence)
{
    int64_t prefix = -1;
    if (sequence->outer_count > 0) {
        EH_TRY(pack_context(b, requests, sequence, sequence->outer, 0, sequence->outer_count, -1));
        prefix = b->context_sequence[sequence->outer];
    }
    return pack_context(b, requests, sequence, sequence->context, sequence->outer_count, sequence->shared_count,
                        prefix);
}

// A continuation whose context is a sequence of the batch already: the label of its first id is at the context's end.
static eh_status pack_continuation(eh_batcher *b, const eh_requests *requests, const eh_request_sequence *sequence,
                                   float *destinations)
{
    const int64_t prefix = b->context_sequence[sequence->context];
    const int64_t own = sequence->count - sequence->shared_count;
    const int64_t last_of_prefix = b->offsets[prefix + 1] - 1, first_own = b->id_count;
    if (own > 0) {
        EH_TRY(begin_sequence(b, (int32_t)prefix));
        EH_TRY(put_ids(b, requests->ids + sequence->first + sequence->shared_count, NULL, own));
        end_sequence(b);
    }
    for (int64_t i = 0; i < sequence->label_count; i++) {
        const int64_t row = requests->rows[sequence->label_first + i] - sequence->shared_count;
        EH_TRY(put_label(b, row < 0 ? last_of_prefix : first_own + row, requests->gold[sequence->label_first + i],
                         destinations + i));
    }
    return EH_OK;
}

static eh_status pack_whole(eh_batcher *b, const eh_requests *requests, const eh_request_sequence *sequence,
                            float *destinations)
{
    const eh_head head = eh_model_head(b->model);
    const bool by_sequence = head == EH_HEAD_CLASSIFY || head == EH_HEAD_NEXT_SENTENCE;
    const int64_t first = sequence->decoder_count > 0 ? b->decoder_count : b->id_count;
    EH_TRY(begin_sequence(b, -1));
    EH_TRY(put_ids(b, requests->ids + sequence->first, requests->types + sequence->first, sequence->count));
    EH_TRY(eh_reserve(b->decoder_count + sequence->decoder_count, &b->decoder_capacity, sizeof *b->decoder_ids,
                      (void **)&b->decoder_ids));
    for (int64_t i = 0; i < sequence->decoder_count; i++)
        b->decoder_ids[b->decoder_count++] = requests->decoder_ids[sequence->decoder_first + i];
    for (int64_t i = 0; i < sequence->label_count; i++) {
        const int64_t row = by_sequence ? b->sequence_count : first + requests->rows[sequence->label_first + i];
        EH_TRY(put_label(b, row, requests->gold[sequence->label_first + i], destinations + i));
    }
    end_sequence(b);
    return EH_OK;
}

// Whether a sequence is free to share what it begins with: one of a decoder, without a context of its own.
static bool is_free(const eh_request_sequence *sequence)
{
    return sequence->context < 0 && sequence->decoder_count == 0 && !sequence->too_long && sequence->label_count > 0;
}

// How many ids a free sequence may leave to a prefix: those before its first label's row, and never all.
static int64_t most_shared(const eh_requests *requests, const eh_request_sequence *sequence)
{
    int64_t most = sequence->count - 1;
    for (int64_t i = 0; i < sequence->label_count; i++)
        if (requests->rows[sequence->label_first + i] < most)
            most = requests->rows[sequence->label_first + i];
    return most;
}

// How many ids both of two free sequences may leave to one prefix.
static int64_t shared_by(const eh_requests *requests, const eh_request_sequence *one, const eh_request_sequence *other)
{
    const int64_t a = most_shared(requests, one), b = most_shared(requests, other);
    int64_t equal = 0;
    while (equal < a && equal < b && requests->ids[one->first + equal] == requests->ids[other->first + equal]) equal++;
    return equal;
}

// Of the sequences whose context is `outer`, those that go on alike (two orders that begin with the same option) get a
// longer one, which has it as its own.
static void find_longer_prefixes(eh_requests *requests, int64_t outer)
{
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence first = requests->sequences[s];
        int64_t longest = 0;
        if (first.context != outer)
            continue;
        for (int64_t t = s + 1; t < requests->sequence_count; t++) {
            const eh_request_sequence *other = &requests->sequences[t];
            const int64_t shared = other->context == outer ? shared_by(requests, &first, other) : 0;
            longest = shared > longest ? shared : longest;
        }
        if (longest < first.shared_count + EH_SHARE_FROM)
            continue;
        for (int64_t t = s; t < requests->sequence_count; t++) {
            eh_request_sequence *other = &requests->sequences[t];
            if (other->context != outer || shared_by(requests, &first, other) < longest)
                continue;
            other->outer = outer;
            other->outer_count = other->shared_count;
            other->shared_count = longest;
            other->context = requests->context_count;
        }
        requests->context_count++;
    }
}

// Prompts of one item begin alike (the orders of the options of a question): what all of them share becomes a context,
// and what some of them go on with one behind it. Six orders of StereoSet's question cost 3.0 times one instead of
// 6.1 (tests/bench/run.sh orders-1 orders-6).
void eh_requests_find_prefixes(eh_model_kind kind, eh_requests *requests)
{
    const eh_request_sequence *first = NULL;
    int64_t shared = 0, found = 0;
    if (kind != EH_DECODER)
        return;
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        if (!is_free(sequence))
            continue;
        if (found++ == 0) {
            first = sequence;
            shared = most_shared(requests, sequence);
            continue;
        }
        const int64_t equal = shared_by(requests, first, sequence);
        shared = equal < shared ? equal : shared;
    }
    if (found < 2 || shared < EH_SHARE_FROM)
        return;
    for (int64_t s = 0; s < requests->sequence_count; s++)
        if (is_free(&requests->sequences[s])) {
            requests->sequences[s].shared_count = shared;
            requests->sequences[s].context = requests->context_count;
        }
    find_longer_prefixes(requests, requests->context_count++);
}

// Whether a sequence before `end` brings the context into the batch.
static bool is_packed(const eh_requests *requests, int64_t end, int64_t context)
{
    for (int64_t s = 0; s < end; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        if (sequence->shared_count >= EH_SHARE_FROM &&
            (sequence->context == context || (sequence->outer_count > 0 && sequence->outer == context)))
            return true;
    }
    return false;
}

int64_t eh_requests_read_count(const eh_requests *requests)
{
    int64_t count = 0;
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        count += sequence->count + sequence->decoder_count;
        if (sequence->context < 0 || sequence->shared_count < EH_SHARE_FROM)
            continue;
        if (is_packed(requests, s, sequence->context)) // and so is what it continues
            count -= sequence->shared_count;
        else if (sequence->outer_count > 0 && is_packed(requests, s, sequence->outer))
            count -= sequence->outer_count;
    }
    return count;
}

static bool is_full_of(const eh_batcher *b, const eh_request_sequence *next, int64_t labels_most)
{
    return b->sequence_count > 0 &&
           (b->id_count + next->count > b->batch_tokens || b->decoder_count + next->decoder_count > b->batch_tokens ||
            b->label_count + next->label_count > labels_most);
}

static bool is_full(const eh_batcher *b, const eh_request_sequence *next)
{
    return is_full_of(b, next, b->batch_tokens);
}

static eh_status pack_item(eh_batcher *b, eh_asked *asked)
{
    eh_requests *requests = &asked->requests;
    eh_requests_find_prefixes(eh_model_kind_of(b->model), requests);
    const int64_t contexts = requests->context_count;
    EH_TRY(eh_reserve(contexts, &b->context_capacity, sizeof *b->context_sequence, (void **)&b->context_sequence));
    EH_TRY(eh_reserve(contexts, &b->uses_capacity, sizeof *b->context_uses, (void **)&b->context_uses));
    for (int64_t c = 0; c < contexts; c++) {
        b->context_sequence[c] = -1;
        b->context_uses[c] = 0;
    }
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        if (requests->sequences[s].context >= 0)
            b->context_uses[requests->sequences[s].context]++;
        if (requests->sequences[s].outer_count > 0)
            b->context_uses[requests->sequences[s].outer]++;
    }
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        float *destinations = asked->log_probabilities + asked->label_first[s];
        if (sequence->too_long) {
            for (int64_t i = 0; i < sequence->label_count; i++) destinations[i] = NAN;
            continue;
        }
        if (is_full(b, sequence)) {
            EH_TRY(flush(b));
            for (int64_t c = 0; c < contexts; c++) b->context_sequence[c] = -1;
        }
        if (sequence->context < 0 || b->context_uses[sequence->context] < 2 || sequence->shared_count < EH_SHARE_FROM) {
            EH_TRY(pack_whole(b, requests, sequence, destinations));
            continue;
        }
        EH_TRY(pack_contexts(b, requests, sequence));
        EH_TRY(pack_continuation(b, requests, sequence, destinations));
    }
    return EH_OK;
}

void eh_asked_forget_texts(eh_asked *asked)
{
    for (int64_t t = 0; t < asked->text_count; t++) {
        void *text = (void *)(uintptr_t)asked->texts[t].text, *ids = (void *)(uintptr_t)asked->texts[t].ids;
        eh_free(&text);
        eh_free(&ids);
    }
    asked->text_count = 0;
    asked->is_broken = false;
}

void eh_asked_deinit(eh_asked *asked)
{
    eh_asked_forget_texts(asked);
    eh_free(&asked->texts);
    eh_free(&asked->label_first);
    eh_free(&asked->tags);
    eh_free(&asked->log_probabilities);
    eh_free(&asked->divergences);
    eh_requests_deinit(&asked->requests);
}

eh_status eh_asked_lay_out(eh_asked *a)
{
    const int64_t sequences = a->requests.sequence_count;
    EH_TRY(eh_reserve(sequences + 1, &a->label_first_capacity, sizeof *a->label_first, (void **)&a->label_first));
    EH_TRY(eh_reserve(sequences + 1, &a->tag_capacity, sizeof *a->tags, (void **)&a->tags));
    a->label_first[0] = 0;
    for (int64_t s = 0; s < sequences; s++) {
        a->tags[s] = a->requests.sequences[s].tag;
        a->label_first[s + 1] = a->label_first[s] + a->requests.sequences[s].label_count;
    }
    return eh_reserve(a->label_first[sequences], &a->label_capacity, sizeof *a->log_probabilities,
                      (void **)&a->log_probabilities);
}

eh_status eh_batcher_score(eh_batcher *batcher, eh_asked *const *asked, int64_t count)
{
    forget(batcher);
    for (int64_t i = 0; i < count; i++) {
        EH_TRY(eh_asked_lay_out(asked[i]));
        EH_TRY(pack_item(batcher, asked[i]));
    }
    return flush(batcher);
}

// Hands out the logits of what was packed, `outputs` numbers a label, and empties the batch.
static eh_status flush_logits(eh_batcher *b, int64_t outputs, eh_take_logits take, void *context)
{
    if (b->label_count == 0)
        return EH_OK;
    EH_TRY(reserve_model(b));
    EH_TRY(eh_reserve(b->label_count * outputs, &b->result_capacity, sizeof *b->results, (void **)&b->results));
    const eh_batch batch = as_batch(b, eh_model_kind_of(b->model) == EH_ENCODER);
    EH_TRY(eh_model_logits(b->model, &batch, b->results));
    for (int64_t i = 0; i < b->label_count; i++) EH_TRY(take(context, b->results + i * outputs));
    forget(b);
    return EH_OK;
}

int64_t eh_batcher_logit_rows(int64_t batch_tokens, int64_t logits_most, int64_t vocab_size)
{
    const int64_t rows = larger(logits_most / vocab_size, 1);
    return rows < batch_tokens ? rows : batch_tokens;
}

eh_status eh_batcher_logits(eh_batcher *batcher, eh_asked *const *asked, int64_t count, int64_t logits_most,
                            eh_take_logits take, void *context)
{
    const int64_t outputs = eh_model_vocab_size(batcher->model);
    const int64_t rows = eh_batcher_logit_rows(batcher->batch_tokens, logits_most, outputs);
    forget(batcher);
    for (int64_t i = 0; i < count; i++) {
        const eh_requests *requests = &asked[i]->requests;
        EH_TRY(eh_asked_lay_out(asked[i]));
        for (int64_t s = 0; s < requests->sequence_count; s++) {
            const eh_request_sequence *sequence = &requests->sequences[s];
            if (sequence->too_long)
                continue;
            if (is_full_of(batcher, sequence, rows))
                EH_TRY(flush_logits(batcher, outputs, take, context));
            EH_TRY(pack_whole(batcher, requests, sequence, asked[i]->log_probabilities + asked[i]->label_first[s]));
        }
    }
    return flush_logits(batcher, outputs, take, context);
}

static void softmax(const float *logits, int64_t count, float *probabilities)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, logits[i]);
    for (int64_t i = 0; i < count; i++) sum += exp((double)logits[i] - most);
    for (int64_t i = 0; i < count; i++) probabilities[i] = (float)(exp((double)logits[i] - most) / sum);
}

typedef struct {
    int64_t class_count, done;
    float *probabilities;
} classes;

static eh_status take_classes(void *context, const float *logits)
{
    classes *c = context;
    softmax(logits, c->class_count, c->probabilities + c->class_count * c->done++);
    return EH_OK;
}

eh_status eh_batcher_classify(eh_batcher *batcher, int64_t count, const int32_t *ids, const int64_t *offsets,
                              float *probabilities)
{
    classes found = {.class_count = eh_model_label_count(batcher->model), .probabilities = probabilities};
    forget(batcher);
    for (int64_t t = 0; t < count; t++) {
        const eh_request_sequence next = {.count = offsets[t + 1] - offsets[t], .label_count = 1};
        if (is_full(batcher, &next))
            EH_TRY(flush_logits(batcher, found.class_count, take_classes, &found));
        EH_TRY(begin_sequence(batcher, -1));
        EH_TRY(put_ids(batcher, ids + offsets[t], NULL, next.count));
        EH_TRY(put_label(batcher, batcher->sequence_count, 0, NULL));
        end_sequence(batcher);
    }
    return flush_logits(batcher, found.class_count, take_classes, &found);
}
