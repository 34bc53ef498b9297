// The memory that a batch works in: one block, laid out twice by the same walk, first to measure and then to place. In
// inference all layers share one layer's activations; so they do where training computes them again.
#include <string.h>

#include "core/memory.h"
#include "model/model_internal.h"

typedef struct {
    eh_buffer *buffer; // NULL: measuring
    size_t used;
} arena;

static eh_tensor take(arena *from, eh_dtype dtype, int64_t rows, int64_t columns)
{
    eh_tensor tensor = {.buffer = from->buffer,
                        .offset = from->used,
                        .dtype = dtype,
                        .dimension_count = columns > 0 ? 2 : 1,
                        .shape = {rows, columns}};
    from->used += (eh_tensor_bytes(&tensor) + 255) / 256 * 256;
    return tensor;
}

static eh_norm_work take_norm(arena *from, const eh_model *model, int64_t rows, bool own_sum, eh_dtype y)
{
    const int64_t hidden = model->t.hidden_size;
    eh_norm_work work = {.scale = take(from, EH_F32, rows, 0), .y = take(from, y, rows, hidden)};
    if (own_sum)
        work.sum = take(from, EH_F32, rows, hidden);
    if (model->t.norm == EH_LAYER_NORM)
        work.mean = take(from, EH_F32, rows, 0);
    return work;
}

eh_dtype eh_branch_dtype(const eh_model *model)
{
    return model->compute == EH_F16 && model->t.wide_feed_output ? EH_F32 : model->compute;
}

// norm_first: the residual stream is fp32 and y, in the compute dtype, feeds the next product. Otherwise y is both, the
// stream and the product's input.
static void take_layer(arena *from, const eh_model *model, eh_stack stack, int64_t rows, int64_t source_rows,
                       eh_layer_work *work)
{
    const eh_transformer *t = &model->t;
    const int64_t width = t->head_count * t->head_size;
    const bool keeps = model->use == EH_FOR_TRAINING;
    work->attention_norm = take_norm(from, model, rows, keeps, model->compute);
    work->feed_norm = take_norm(from, model, rows, keeps, model->compute);
    work->input = t->norm_first ? work->attention_norm.y : take(from, model->compute, rows, t->hidden_size);
    work->qkv = take(from, model->compute, rows, 3 * width);
    work->attended = take(from, model->compute, rows, width);
    work->inner = take(from, model->compute, rows, t->inner_size);
    const eh_dtype wide = eh_branch_dtype(model);
    work->activated = keeps || wide != model->compute ? take(from, wide, rows, t->inner_size) : work->inner;
    if (t->gated)
        work->gate = take(from, model->compute, rows, t->inner_size);
    if (keeps)
        work->log_sum_exp = take(from, EH_F32, rows, t->head_count);
    if (stack != EH_STACK_DECODER || t->kind != EH_ENCODER_DECODER)
        return;
    work->cross_norm = take_norm(from, model, rows, keeps, model->compute);
    work->cross_query = take(from, model->compute, rows, width);
    work->cross_key_value = take(from, model->compute, source_rows, 2 * width);
    work->cross_attended = take(from, model->compute, rows, width);
    if (keeps)
        work->cross_log_sum_exp = take(from, EH_F32, rows, t->head_count);
}

static void take_layer_input(arena *from, const eh_model *model, int64_t rows, eh_layer_work *work)
{
    if (model->t.norm_first)
        work->attention_norm.sum = take(from, EH_F32, rows, model->t.hidden_size);
    else
        work->input = take(from, model->compute, rows, model->t.hidden_size);
}

static int64_t stack_rows(const eh_model *model, const eh_batch_limits *limits, int stack)
{
    if (model->t.layer_count[stack] == 0)
        return 0;
    return stack == EH_STACK_DECODER && model->t.kind == EH_ENCODER_DECODER ? limits->decoder_tokens : limits->tokens;
}

static void take_stack(arena *from, const eh_model *model, int stack, eh_work *work)
{
    const int64_t rows = stack_rows(model, &work->limits, stack), layers = model->t.layer_count[stack];
    if (layers == 0)
        return;
    eh_stack_work *own = &work->stacks[stack];
    for (int64_t l = 0; l < layers; l++) {
        eh_layer_work *layer = &own->layers[l];
        if (l > 0 && (model->use == EH_FOR_INFERENCE || model->recompute))
            *layer = own->layers[0];
        else
            take_layer(from, model, (eh_stack)stack, rows, work->limits.tokens, layer);
        if (l > 0 && model->use == EH_FOR_TRAINING && model->recompute)
            take_layer_input(from, model, rows, layer);
    }
    if (model->use == EH_FOR_INFERENCE) // one residual stream, which each norm adds to
        for (int64_t l = 0; l < layers; l++)
            own->layers[l].attention_norm.sum = own->layers[l].cross_norm.sum = own->layers[l].feed_norm.sum =
                work->stream;
    if (!model->t.norm_first) {
        own->output = model->use == EH_FOR_INFERENCE ? own->layers[0].input
                                                     : take(from, model->compute, rows, model->t.hidden_size);
        for (int64_t l = 0; l < layers; l++)
            own->layers[l].feed_norm.y = l + 1 < layers ? own->layers[l + 1].input : own->output;
    } else if (model->t.kind == EH_ENCODER_DECODER && stack == EH_STACK_ENCODER) {
        own->final_norm = take_norm(from, model, rows, true, model->compute);
    }
    eh_stack_batch *batch = &work->batch[stack];
    batch->ids = take(from, EH_I32, rows, 0);
    batch->positions = take(from, EH_I32, rows, 0);
    batch->types = take(from, EH_I32, rows, 0);
    batch->segments = take(from, EH_I32, work->limits.sequences, EH_SEGMENT_WORDS);
}

static void take_backward(arena *from, const eh_model *model, int64_t rows, eh_work *work)
{
    const eh_transformer *t = &model->t;
    const int64_t width = t->head_count * t->head_size, hidden = t->hidden_size;
    for (int s = 0; s < EH_STACK_COUNT; s++)
        if (t->layer_count[s] > 0)
            work->grad_stream[s] = take(from, EH_F32, stack_rows(model, &work->limits, s), hidden);
    work->grad_branch = take(from, model->compute, rows, hidden);
    work->grad_input = take(from, model->compute, rows, hidden);
    work->grad_qkv = take(from, EH_F32, rows, 3 * width);
    if (t->kind == EH_ENCODER_DECODER)
        work->grad_key_value = take(from, EH_F32, work->limits.tokens, 2 * width);
    work->grad_products = model->compute == EH_F32 ? work->grad_qkv : take(from, model->compute, rows, 3 * width);
    work->grad_inner = take(from, model->compute, rows, t->inner_size);
    if (t->gated)
        work->grad_gate = take(from, model->compute, rows, t->inner_size);
    work->grad_attended = take(from, model->compute, rows, width);
    work->grad_hidden = take(from, model->compute, work->limits.labels, hidden);
    work->grad_head = take(from, model->compute, work->limits.labels, hidden);
    work->grad_gathered = take(from, EH_F32, work->limits.labels, hidden);
}

static void take_adapters(arena *from, const eh_model *model, int64_t rows, eh_adapter_work *work)
{
    const int64_t width = eh_adapters_width(model), joined = eh_adapters_joined_count(model);
    work->low = take(from, model->compute, rows, width);
    work->grad_low = take(from, model->compute, rows, width);
    work->joined = take(from, model->compute, joined, 0);
    work->grad_joined = take(from, EH_F32, joined, 0);
}

static void lay_out(arena *from, const eh_model *model, eh_work *work)
{
    const eh_transformer *t = &model->t;
    const int64_t labels = work->limits.labels, hidden = t->hidden_size;
    int64_t rows = 0;
    for (int s = 0; s < EH_STACK_COUNT; s++) {
        const int64_t own = stack_rows(model, &work->limits, s);
        rows = own > rows ? own : rows;
    }
    work->stream = take(from, EH_F32, rows, hidden);
    if (t->embedding_norm) {
        work->embedding_norm.sum = take(from, EH_F32, rows, hidden);
        work->embedding_norm.mean = take(from, EH_F32, rows, 0);
        work->embedding_norm.scale = take(from, EH_F32, rows, 0);
    }
    work->branch = take(from, eh_branch_dtype(model), rows, hidden);
    for (int s = 0; s < EH_STACK_COUNT; s++) take_stack(from, model, s, work);
    if (t->kind == EH_ENCODER_DECODER)
        work->cross_segments = take(from, EH_I32, work->limits.sequences, EH_SEGMENT_WORDS);
    work->gathered = take(from, EH_F32, labels, hidden);
    work->head_final_norm = take_norm(from, model, labels, false, model->compute);
    work->head_norm = take_norm(from, model, labels, false, model->compute);
    work->head_dense = take(from, model->compute, labels, hidden);
    work->head_activated = take(from, model->compute, labels, hidden);
    work->label_rows = take(from, EH_I32, labels, 0);
    work->label_ids = take(from, EH_I32, labels, 0);
    work->row_weights = take(from, EH_F32, labels, 0);
    work->log_probability = take(from, EH_F32, labels, 0);
    work->log_sum_exp = take(from, EH_F32, labels, 0);
    if (model->use == EH_FOR_TRAINING)
        take_backward(from, model, rows, work);
    if (model->adaptation.rank > 0)
        take_adapters(from, model, rows > labels ? rows : labels, &work->adapter);
}

void eh_model_set_recompute(eh_model *model, bool recompute)
{
    model->recompute = recompute;
}

void eh_work_deinit(eh_model *model)
{
    eh_work *work = &model->work;
    eh_buffer_free(&work->buffer);
    eh_buffer_free(&work->logits_buffer);
    for (int s = 0; s < EH_STACK_COUNT; s++) {
        eh_free(&work->stacks[s].layers);
        eh_free(&work->batch[s].host_segments);
        eh_free(&work->host_ids[s]);
        eh_free(&work->host_positions[s]);
    }
    eh_free(&work->host_cross_segments);
    eh_free(&work->host_types);
    eh_free(&work->host_rows);
    *work = (eh_work){0};
}

static eh_status make_host_side(eh_model *model, eh_work *work)
{
    for (int s = 0; s < EH_STACK_COUNT; s++) {
        const int64_t rows = stack_rows(model, &work->limits, s);
        EH_TRY(EH_ALLOC(work->limits.sequences, &work->batch[s].host_segments));
        EH_TRY(EH_ALLOC(rows, &work->host_ids[s]));
        EH_TRY(EH_ALLOC(rows, &work->host_positions[s]));
    }
    EH_TRY(EH_ALLOC(work->limits.sequences, &work->host_cross_segments));
    EH_TRY(EH_ALLOC(work->limits.tokens, &work->host_types));
    return EH_ALLOC(work->limits.labels, &work->host_rows);
}

eh_work_sizes eh_model_work_sizes(const eh_model *model, const eh_batch_limits *limits)
{
    const eh_transformer *t = &model->t;
    const int64_t attended = 3 * t->head_count * t->head_size;
    int64_t rows = limits->tokens > limits->labels ? limits->tokens : limits->labels;
    rows = limits->decoder_tokens > rows ? limits->decoder_tokens : rows;
    int64_t widest = attended > t->inner_size ? attended : t->inner_size;
    widest = t->hidden_size > widest ? t->hidden_size : widest;
    return (eh_work_sizes){.tokens = rows,
                           .labels = limits->labels,
                           .segments = limits->sequences,
                           .widest = widest,
                           .hidden_size = t->hidden_size,
                           .vocab_size = t->vocab_size,
                           .head_count = t->head_count,
                           .bucket_count = t->bucket_count,
                           .weight_count = model->layout.weight_count};
}

eh_status eh_model_reserve(eh_model *model, const eh_batch_limits *limits)
{
    EH_ASSERT(limits->tokens >= 0 && limits->decoder_tokens >= 0 && limits->sequences >= 0 && limits->labels >= 0);
    if (limits->tokens > INT32_MAX / 2 || limits->decoder_tokens > INT32_MAX / 2)
        return eh_error(EH_INPUT, "a batch of %lld tokens is more than a batch can be", (long long)limits->tokens);
    eh_work_deinit(model);
    eh_work *work = &model->work;
    work->limits = *limits;
    eh_status status = EH_OK;
    for (int s = 0; s < EH_STACK_COUNT && status == EH_OK; s++)
        status = EH_ALLOC(model->t.layer_count[s], &work->stacks[s].layers);
    if (status == EH_OK) {
        arena measure = {0};
        lay_out(&measure, model, work);
        work->bytes = measure.used;
        status = eh_buffer_new(model->backend, work->bytes, "activations", &work->buffer);
    }
    if (status == EH_OK) {
        arena place = {.buffer = work->buffer};
        lay_out(&place, model, work);
        status = make_host_side(model, work);
    }
    if (status == EH_OK) {
        const eh_work_sizes sizes = eh_model_work_sizes(model, limits);
        status = eh_backend_reserve(model->backend, &sizes);
    }
    if (status != EH_OK)
        eh_work_deinit(model);
    return status;
}

size_t eh_model_activation_bytes(const eh_model *model, const eh_batch_limits *limits)
{
    eh_work work = {.limits = *limits};
    eh_status status = EH_OK;
    size_t bytes = 0;
    for (int s = 0; s < EH_STACK_COUNT && status == EH_OK; s++)
        status = EH_ALLOC(model->t.layer_count[s], &work.stacks[s].layers);
    if (status == EH_OK) {
        arena measure = {0};
        lay_out(&measure, model, &work);
        bytes = measure.used;
    }
    for (int s = 0; s < EH_STACK_COUNT; s++) eh_free(&work.stacks[s].layers);
    return bytes;
}
