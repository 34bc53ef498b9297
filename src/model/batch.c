// A batch is checked once, here: what passes can be computed. Then its ids, positions, segments and labels go to the
// device.
#include <string.h>

#include "model/model_internal.h"

static eh_status check_sequences(const char *what, const int32_t *ids, const int64_t *offsets, int64_t count,
                                 int64_t row_limit, int64_t vocab_size)
{
    if (offsets[0] != 0 || offsets[count] > row_limit)
        return eh_error(EH_INPUT, "a batch has %lld %s tokens, memory was reserved for %lld", (long long)offsets[count],
                        what, (long long)row_limit);
    for (int64_t s = 0; s < count; s++) EH_ASSERT(offsets[s] <= offsets[s + 1]);
    for (int64_t i = 0; i < offsets[count]; i++)
        if (ids[i] < 0 || ids[i] >= vocab_size)
            return eh_error(EH_INPUT,
                            "token id %d is not in the model's vocabulary of %lld: is the tokenizer another model's?",
                            (int)ids[i], (long long)vocab_size);
    return EH_OK;
}

static int32_t prefix_of(const eh_batch *batch, int64_t s)
{
    return batch->prefix == NULL || s < 0 ? -1 : batch->prefix[s];
}

static void check_prefix(const eh_batch *batch, int64_t s, bool shares_source)
{
    const int32_t p = prefix_of(batch, s), first = prefix_of(batch, p);
    EH_ASSERT(p < batch->sequence_count && p != s && first < batch->sequence_count && (p < 0 || first != p));
    EH_ASSERT(prefix_of(batch, first) < 0 && (first < 0 || !shares_source));
    EH_ASSERT(p < 0 || !shares_source || batch->input_offsets[s] == batch->input_offsets[s + 1]);
}

static int64_t length_of(const int64_t *offsets, int64_t s)
{
    return s < 0 ? 0 : offsets[s + 1] - offsets[s];
}

// Sequence s behind its prefixes; -1: there is none.
static eh_segment segment_of(const int64_t *offsets, int64_t s, int64_t first, int64_t middle)
{
    const int32_t begin = (int32_t)offsets[s], count = (int32_t)length_of(offsets, s);
    return (eh_segment){.query_begin = begin,
                        .query_count = count,
                        .key_begin = begin,
                        .key_count = count,
                        .prefix_begin = first < 0 ? 0 : (int32_t)offsets[first],
                        .prefix_count = (int32_t)length_of(offsets, first),
                        .middle_begin = middle < 0 ? 0 : (int32_t)offsets[middle],
                        .middle_count = (int32_t)length_of(offsets, middle)};
}

static eh_status stage_stack(eh_model *model, const eh_batch *batch, eh_stack stack, const int32_t *ids,
                             const int64_t *offsets, bool has_prefix)
{
    const eh_transformer *t = &model->t;
    eh_work *work = &model->work;
    eh_stack_batch *staged = &work->batch[stack];
    int32_t *positions = work->host_positions[stack];
    const int64_t most = eh_model_max_length(model);
    staged->rows = offsets[batch->sequence_count];
    staged->segment_count = batch->sequence_count;
    for (int64_t s = 0; s < batch->sequence_count; s++) {
        const int64_t begin = offsets[s], count = offsets[s + 1] - begin;
        const int32_t p = has_prefix ? prefix_of(batch, s) : -1, first = prefix_of(batch, p);
        staged->host_segments[s] = segment_of(offsets, s, first < 0 ? p : first, first < 0 ? -1 : p);
        const int64_t before = eh_segment_shared(&staged->host_segments[s]);
        if (before + count > most)
            return eh_error(EH_INPUT, "a sequence has %lld tokens, the model's positions end at %lld",
                            (long long)(before + count), (long long)most);
        for (int64_t i = 0; i < count; i++) positions[begin + i] = (int32_t)(t->position_offset + before + i);
    }
    if (staged->rows == 0)
        return EH_OK;
    const eh_tensor id_rows = eh_first_rows(&staged->ids, staged->rows);
    EH_TRY(eh_backend_upload(model->backend, ids, &id_rows));
    const eh_tensor position_rows = eh_first_rows(&staged->positions, staged->rows);
    if (t->position_count > 0)
        EH_TRY(eh_backend_upload(model->backend, positions, &position_rows));
    const eh_tensor segments = eh_first_rows(&staged->segments, staged->segment_count);
    return eh_backend_upload(model->backend, staged->host_segments, &segments);
}

static eh_status stage_types(eh_model *model, const eh_batch *batch)
{
    eh_work *work = &model->work;
    eh_stack_batch *staged = &work->batch[EH_STACK_ENCODER];
    for (int64_t i = 0; i < staged->rows; i++) {
        work->host_types[i] = batch->type_ids == NULL ? 0 : batch->type_ids[i];
        if (work->host_types[i] >= model->t.type_count)
            return eh_error(EH_INPUT, "token type %d: the model has %lld", (int)work->host_types[i],
                            (long long)model->t.type_count);
    }
    const eh_tensor types = eh_first_rows(&staged->types, staged->rows);
    return eh_backend_upload(model->backend, work->host_types, &types);
}

// Decoder queries see the source of their sequence, or the one that it shares.
static eh_status stage_cross(eh_model *model, const eh_batch *batch)
{
    eh_work *work = &model->work;
    for (int64_t s = 0; s < batch->sequence_count; s++) {
        const int64_t source = batch->prefix != NULL && batch->prefix[s] >= 0 ? batch->prefix[s] : s;
        const int64_t keys = batch->input_offsets[source], queries = batch->decoder_offsets[s];
        work->host_cross_segments[s] = (eh_segment){(int32_t)queries,
                                                    (int32_t)(batch->decoder_offsets[s + 1] - queries),
                                                    (int32_t)keys,
                                                    (int32_t)(batch->input_offsets[source + 1] - keys),
                                                    0,
                                                    0,
                                                    0,
                                                    0};
    }
    const eh_tensor segments = eh_first_rows(&work->cross_segments, batch->sequence_count);
    return eh_backend_upload(model->backend, work->host_cross_segments, &segments);
}

static eh_status stage_labels(eh_model *model, const eh_batch *batch)
{
    eh_work *work = &model->work;
    const int64_t n = batch->label_count, rows = work->batch[eh_top_stack(&model->t)].rows;
    const int64_t outputs = model->t.label_count > 0 ? model->t.label_count : model->t.vocab_size;
    if (n > work->limits.labels)
        return eh_error(EH_INPUT, "a batch has %lld labels, memory was reserved for %lld", (long long)n,
                        (long long)work->limits.labels);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = batch->label_rows[i];
        if (model->t.label_count > 0) { // a classifier reads the first token
            EH_ASSERT(row >= 0 && row < batch->sequence_count);
            if (batch->input_offsets[row] == batch->input_offsets[row + 1])
                return eh_error(EH_INPUT, "an empty sequence can't be classified");
            row = batch->input_offsets[row];
        }
        EH_ASSERT(row >= 0 && row < rows);
        work->host_rows[i] = (int32_t)row;
        if (batch->label_ids != NULL && (batch->label_ids[i] < 0 || batch->label_ids[i] >= outputs))
            return eh_error(EH_INPUT, "label %d is not one of the model's %lld outputs", (int)batch->label_ids[i],
                            (long long)outputs);
    }
    const eh_tensor label_rows = eh_first_rows(&work->label_rows, n), ids = eh_first_rows(&work->label_ids, n);
    EH_TRY(eh_backend_upload(model->backend, work->host_rows, &label_rows));
    if (batch->label_ids != NULL)
        EH_TRY(eh_backend_upload(model->backend, batch->label_ids, &ids));
    const eh_tensor weights = eh_first_rows(&work->row_weights, n);
    return batch->label_weights == NULL ? EH_OK : eh_backend_upload(model->backend, batch->label_weights, &weights);
}

eh_status eh_batch_stage(eh_model *model, const eh_batch *batch)
{
    const eh_transformer *t = &model->t;
    const eh_batch_limits *limits = &model->work.limits;
    const bool has_source = t->kind == EH_ENCODER_DECODER;
    if (model->work.buffer == NULL || batch->sequence_count > limits->sequences)
        return eh_error(EH_INPUT, "a batch has %lld sequences, memory was reserved for %lld",
                        (long long)batch->sequence_count, (long long)limits->sequences);
    EH_TRY(check_sequences("input", batch->input_ids, batch->input_offsets, batch->sequence_count, limits->tokens,
                           t->vocab_size));
    for (int64_t s = 0; s < batch->sequence_count; s++) check_prefix(batch, s, has_source);
    const eh_stack first = t->kind == EH_DECODER ? EH_STACK_DECODER : EH_STACK_ENCODER;
    EH_ASSERT(t->kind != EH_ENCODER || batch->prefix == NULL);
    EH_TRY(stage_stack(model, batch, first, batch->input_ids, batch->input_offsets, t->kind == EH_DECODER));
    if (t->type_count > 0 && model->work.batch[first].rows > 0)
        EH_TRY(stage_types(model, batch));
    if (has_source) {
        EH_TRY(check_sequences("decoder", batch->decoder_ids, batch->decoder_offsets, batch->sequence_count,
                               limits->decoder_tokens, t->vocab_size));
        EH_TRY(stage_stack(model, batch, EH_STACK_DECODER, batch->decoder_ids, batch->decoder_offsets, false));
        EH_TRY(stage_cross(model, batch));
    }
    return stage_labels(model, batch);
}
