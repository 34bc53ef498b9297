// How attention sees a layer: which columns are queries, keys and values, and what positions do to the scores.
#include "model/model_internal.h"

eh_stack eh_top_stack(const eh_transformer *t)
{
    return t->kind == EH_ENCODER ? EH_STACK_ENCODER : EH_STACK_DECODER;
}

// The elements of `rows` from column `column` on.
static eh_heads view(const eh_tensor *rows, int64_t column, int64_t token_stride, int64_t head_stride)
{
    eh_heads heads = {.tensor = *rows, .token_stride = token_stride, .head_stride = head_stride};
    if (!eh_tensor_exists(rows))
        return heads;
    const int64_t count = eh_tensor_count(rows);
    heads.tensor.dimension_count = 1;
    heads.tensor.shape[0] = count > column ? count - column : 0;
    heads.tensor.offset += count > column ? (size_t)column * eh_dtype_bytes(rows->dtype) : 0;
    return heads;
}

eh_heads eh_qkv_view(const eh_transformer *t, const eh_tensor *qkv, eh_qkv_part part)
{
    const int64_t width = t->head_count * t->head_size;
    if (t->qkv_layout == EH_QKV_PER_HEAD)
        return view(qkv, (int64_t)part * t->head_size, 3 * width, 3 * t->head_size);
    return view(qkv, (int64_t)part * width, 3 * width, t->head_size);
}

eh_heads eh_cross_view(const eh_transformer *t, const eh_tensor *key_value, int64_t part)
{
    const int64_t width = t->head_count * t->head_size;
    return view(key_value, part * width, 2 * width, t->head_size);
}

eh_heads eh_plain_view(const eh_transformer *t, const eh_tensor *rows)
{
    return view(rows, 0, t->head_count * t->head_size, t->head_size);
}

eh_attention eh_self_attention(const eh_model *model, eh_stack stack, int64_t layer, const eh_dropout_plan *dropout)
{
    const eh_transformer *t = &model->t;
    const eh_stack_batch *batch = &model->work.batch[stack];
    return (eh_attention){.head_count = t->head_count,
                          .head_size = t->head_size,
                          .scale = t->attention_scale,
                          .causal = stack == EH_STACK_DECODER,
                          .position_bias = t->position_bias,
                          .alibi_slopes = model->alibi_slopes,
                          .relative_bias = model->w.stacks[stack].relative_bias,
                          .bucket_count = t->bucket_count,
                          .bucket_max_distance = t->bucket_max_distance,
                          .bidirectional_buckets = stack == EH_STACK_ENCODER,
                          .segments = eh_first_rows(&batch->segments, batch->segment_count),
                          .host_segments = batch->host_segments,
                          .segment_count = batch->segment_count,
                          .dropout = eh_dropout_rate(dropout, t->attention_dropout),
                          .dropout_seed = eh_dropout_seed(dropout, stack, layer, EH_SITE_ATTENTION)};
}

eh_attention eh_cross_attention(const eh_model *model, int64_t layer, const eh_dropout_plan *dropout)
{
    const eh_transformer *t = &model->t;
    const int64_t count = model->work.batch[EH_STACK_DECODER].segment_count;
    return (eh_attention){.head_count = t->head_count,
                          .head_size = t->head_size,
                          .scale = t->attention_scale,
                          .segments = eh_first_rows(&model->work.cross_segments, count),
                          .host_segments = model->work.host_cross_segments,
                          .segment_count = count,
                          .dropout = eh_dropout_rate(dropout, t->attention_dropout),
                          .dropout_seed = eh_dropout_seed(dropout, EH_STACK_DECODER, layer, EH_SITE_CROSS)};
}
