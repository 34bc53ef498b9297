// Every operation of backend.h: checks the shapes once for all backends, hands over to the backend's table, and, while
// profiling, charges the call. A wrong shape is a broken invariant of the caller.
#include "backend/backend.h"
#include "backend/backend_internal.h"
#include "backend/profile.h"
#include "core/clock.h"

// flops and bytes are evaluated only while profiling.
#define EH_RUN(operation, flop_count, byte_count, ...)                                                     \
    do {                                                                                                   \
        if (backend->profile == NULL)                                                                      \
            return backend->table->operation(backend, __VA_ARGS__);                                        \
        const double run_begin = eh_seconds();                                                             \
        EH_TRY(backend->table->operation(backend, __VA_ARGS__));                                           \
        return eh_profile_add(backend, #operation, run_begin, (double)(flop_count), (double)(byte_count)); \
    } while (0)

static bool inside(const eh_tensor *tensor)
{
    if (tensor->dimension_count < 0 || tensor->dimension_count > 4)
        return false;
    for (int d = 0; d < tensor->dimension_count; d++)
        if (tensor->shape[d] < 0)
            return false;
    return tensor->offset % eh_dtype_bytes(tensor->dtype) == 0 &&
           tensor->offset + eh_tensor_bytes(tensor) <= tensor->buffer->bytes;
}

static bool is_real(const eh_tensor *tensor) // fp32, bf16 or fp16
{
    return eh_tensor_exists(tensor) && tensor->dtype != EH_I32 && inside(tensor);
}

static bool is_fp32(const eh_tensor *tensor)
{
    return is_real(tensor) && tensor->dtype == EH_F32;
}

static bool is_vector(const eh_tensor *tensor, int64_t count)
{
    return inside(tensor) && eh_tensor_count(tensor) == count;
}

static bool is_optional_vector(const eh_tensor *tensor, int64_t count)
{
    return !eh_tensor_exists(tensor) || (is_real(tensor) && is_vector(tensor, count));
}

static bool is_matrix(const eh_tensor *tensor, int64_t rows, int64_t columns)
{
    return is_real(tensor) && tensor->dimension_count == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns;
}

static bool same_count(const eh_tensor *a, const eh_tensor *b)
{
    return eh_tensor_count(a) == eh_tensor_count(b);
}

static void written(const eh_tensor *tensor)
{
    if (!eh_tensor_exists(tensor))
        return;
    EH_ASSERT(!tensor->buffer->is_view);
    tensor->buffer->write_count++;
}

static size_t bytes_of(const eh_tensor *tensor)
{
    return eh_tensor_exists(tensor) ? eh_tensor_bytes(tensor) : 0;
}

// Width of a row: the product of all dimensions but the first.
static int64_t row_width(const eh_tensor *tensor)
{
    int64_t width = 1;
    for (int d = 1; d < tensor->dimension_count; d++) width *= tensor->shape[d];
    return width;
}

// --- Element-wise ------------------------------------------------------------------------
eh_status eh_fill(eh_backend *backend, float value, const eh_tensor *y)
{
    EH_ASSERT(is_real(y));
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(fill, 0, bytes_of(y), value, y);
}

eh_status eh_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    EH_ASSERT(eh_tensor_exists(x) && eh_tensor_exists(y) && inside(x) && inside(y) && same_count(x, y));
    EH_ASSERT((x->dtype == EH_I32) == (y->dtype == EH_I32));
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(convert, 0, bytes_of(x) + bytes_of(y), x, y);
}

eh_status eh_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    EH_ASSERT(is_real(x) && is_real(y) && same_count(x, y));
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(add, eh_tensor_count(y), bytes_of(x) + 2 * bytes_of(y), x, y);
}

eh_status eh_scale(eh_backend *backend, float factor, const eh_tensor *y)
{
    EH_ASSERT(is_real(y));
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(scale, eh_tensor_count(y), 2 * bytes_of(y), factor, y);
}

eh_status eh_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                     const eh_tensor *y)
{
    EH_ASSERT(is_real(x) && is_real(y) && same_count(x, y) && p >= 0 && p < 1);
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(dropout, eh_tensor_count(y), bytes_of(x) + bytes_of(y), x, p, seed, first_index, y);
}

eh_status eh_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                const eh_tensor *y)
{
    EH_ASSERT(is_real(x) && is_real(y) && same_count(x, y));
    EH_ASSERT(!eh_tensor_exists(gate) || (is_real(gate) && same_count(x, gate)));
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(activation_forward, 10 * eh_tensor_count(y), bytes_of(x) + bytes_of(gate) + bytes_of(y), kind, x, gate, y);
}

eh_status eh_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                 const eh_tensor *grad_y, const eh_tensor *grad_x, const eh_tensor *grad_gate)
{
    EH_ASSERT(is_real(x) && is_real(grad_y) && is_real(grad_x) && same_count(x, grad_y) && same_count(x, grad_x));
    EH_ASSERT(eh_tensor_exists(gate) == eh_tensor_exists(grad_gate));
    EH_ASSERT(!eh_tensor_exists(gate) ||
              (is_real(gate) && same_count(x, gate) && is_real(grad_gate) && same_count(x, grad_gate)));
    written(grad_x);
    written(grad_gate);
    if (eh_tensor_count(x) == 0)
        return EH_OK;
    EH_RUN(activation_backward, 20 * eh_tensor_count(x),
           bytes_of(x) + bytes_of(gate) + bytes_of(grad_y) + bytes_of(grad_x) + bytes_of(grad_gate), kind, x, gate,
           grad_y, grad_x, grad_gate);
}

// --- Rows --------------------------------------------------------------------------------
static bool rows_match(const eh_tensor *table, const eh_tensor *index, const eh_tensor *rows)
{
    return is_real(table) && is_real(rows) && eh_tensor_exists(index) && index->dtype == EH_I32 && inside(index) &&
           table->dimension_count >= 1 && rows->dimension_count >= 1 && rows->shape[0] == eh_tensor_count(index) &&
           row_width(table) == row_width(rows);
}

eh_status eh_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                         const eh_tensor *y)
{
    EH_ASSERT(rows_match(table, index, y));
    written(y);
    if (eh_tensor_count(y) == 0)
        return EH_OK;
    EH_RUN(gather_rows, mode == EH_ADD ? eh_tensor_count(y) : 0,
           bytes_of(index) + (size_t)eh_tensor_count(y) * eh_dtype_bytes(table->dtype) +
               (mode == EH_ADD ? 2 : 1) * bytes_of(y),
           table, index, mode, y);
}

eh_status eh_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index, const eh_tensor *table)
{
    EH_ASSERT(rows_match(table, index, x));
    written(table);
    if (eh_tensor_count(x) == 0)
        return EH_OK;
    EH_RUN(scatter_add_rows, eh_tensor_count(x),
           bytes_of(x) + 2 * (size_t)eh_tensor_count(x) * eh_dtype_bytes(table->dtype), x, index, table);
}

eh_status eh_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    EH_ASSERT(is_real(x) && x->dimension_count == 2 && is_real(y) && is_vector(y, x->shape[1]));
    written(y);
    if (eh_tensor_count(x) == 0)
        return EH_OK;
    EH_RUN(column_sum, eh_tensor_count(x), bytes_of(x) + 2 * bytes_of(y), x, y);
}

// --- Norms -------------------------------------------------------------------------------
static bool norm_matches(const eh_norm *norm, const eh_tensor *x, const eh_tensor *mean, const eh_tensor *scale)
{
    return is_real(x) && x->dimension_count == 2 && x->shape[1] > 0 && is_real(&norm->weight) &&
           is_vector(&norm->weight, x->shape[1]) && is_optional_vector(&norm->bias, x->shape[1]) && is_fp32(scale) &&
           is_vector(scale, x->shape[0]) &&
           (norm->kind == EH_RMS_NORM || (is_fp32(mean) && is_vector(mean, x->shape[0])));
}

eh_status eh_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *residual,
                          const eh_tensor *sum, const eh_tensor *y, const eh_tensor *mean, const eh_tensor *scale)
{
    EH_ASSERT(norm_matches(norm, x, mean, scale) && is_real(y) && same_count(x, y));
    EH_ASSERT(!eh_tensor_exists(residual) ||
              (is_real(residual) && same_count(x, residual) && is_real(sum) && same_count(x, sum)));
    written(y);
    written(scale);
    if (norm->kind == EH_LAYER_NORM)
        written(mean);
    if (eh_tensor_exists(residual))
        written(sum);
    if (eh_tensor_count(x) == 0)
        return EH_OK;
    EH_RUN(norm_forward, 8 * eh_tensor_count(x),
           bytes_of(x) + bytes_of(y) + (eh_tensor_exists(residual) ? bytes_of(residual) + bytes_of(sum) : 0), norm, x,
           residual, sum, y, mean, scale);
}

eh_status eh_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *mean,
                           const eh_tensor *scale, const eh_tensor *grad_y, eh_output_mode mode,
                           const eh_tensor *grad_x, const eh_tensor *grad_weight, const eh_tensor *grad_bias)
{
    EH_ASSERT(norm_matches(norm, x, mean, scale) && is_real(grad_y) && same_count(x, grad_y) && is_real(grad_x) &&
              same_count(x, grad_x));
    EH_ASSERT(is_optional_vector(grad_weight, x->shape[1]) && is_optional_vector(grad_bias, x->shape[1]));
    written(grad_x);
    written(grad_weight);
    written(grad_bias);
    if (eh_tensor_count(x) == 0)
        return EH_OK;
    EH_RUN(norm_backward, 14 * eh_tensor_count(x),
           bytes_of(x) + bytes_of(grad_y) + (mode == EH_ADD ? 2 : 1) * bytes_of(grad_x), norm, x, mean, scale, grad_y,
           mode, grad_x, grad_weight, grad_bias);
}

// --- Products ----------------------------------------------------------------------------
eh_status eh_multiply(eh_backend *backend, const eh_product *product)
{
    const eh_tensor *a = &product->a, *b = &product->b, *y = &product->y;
    EH_ASSERT(is_real(a) && is_real(b) && is_real(y));
    EH_ASSERT(a->dimension_count == 2 && b->dimension_count == 2 && y->dimension_count == 2);
    const int64_t m = y->shape[0], n = y->shape[1], k = a->shape[product->transpose_a ? 0 : 1];
    EH_ASSERT(is_matrix(a, product->transpose_a ? k : m, product->transpose_a ? m : k));
    EH_ASSERT(is_matrix(b, product->transpose_b ? n : k, product->transpose_b ? k : n));
    EH_ASSERT(is_optional_vector(&product->bias, n));
    written(y);
    if (m == 0 || n == 0)
        return EH_OK;
    EH_RUN(multiply, 2.0 * (double)m * (double)n * (double)k,
           bytes_of(a) + bytes_of(b) + (product->mode == EH_ADD ? 2 : 1) * bytes_of(y), product);
}

eh_status eh_multiply_activate(eh_backend *backend, const eh_product *product, eh_activation kind,
                               const eh_tensor *activated)
{
    const eh_tensor *a = &product->a, *b = &product->b, *y = &product->y;
    EH_ASSERT(is_real(a) && is_real(b) && is_real(y) && is_real(activated) && product->mode == EH_WRITE);
    EH_ASSERT(a->dimension_count == 2 && b->dimension_count == 2 && y->dimension_count == 2);
    const int64_t m = y->shape[0], n = y->shape[1], k = a->shape[product->transpose_a ? 0 : 1];
    EH_ASSERT(is_matrix(a, product->transpose_a ? k : m, product->transpose_a ? m : k));
    EH_ASSERT(is_matrix(b, product->transpose_b ? n : k, product->transpose_b ? k : n));
    EH_ASSERT(is_optional_vector(&product->bias, n) && is_matrix(activated, m, n));
    written(y);
    written(activated);
    if (m == 0 || n == 0)
        return EH_OK;
    EH_RUN(multiply_activate, 2.0 * (double)m * (double)n * (double)k,
           bytes_of(a) + bytes_of(b) + bytes_of(y) + bytes_of(activated), product, kind, activated);
}

// --- Attention ---------------------------------------------------------------------------
static bool heads_hold(const eh_attention *attention, const eh_heads *heads, int64_t row_begin, int64_t row_count)
{
    if (row_count == 0)
        return true;
    const int64_t last = (row_begin + row_count - 1) * heads->token_stride +
                         (attention->head_count - 1) * heads->head_stride + attention->head_size;
    const size_t end = heads->tensor.offset + (size_t)last * eh_dtype_bytes(heads->tensor.dtype);
    return row_begin >= 0 && row_count > 0 && is_real(&heads->tensor) && end <= heads->tensor.buffer->bytes;
}

// One pass over the segments: are all rows inside, and how many scores are there?
static double attention_scores(const eh_attention *attention)
{
    double scores = 0;
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        const double keys = (double)eh_segment_keys(segment), queries = segment->query_count;
        const double hidden = attention->causal ? queries * (queries - 1) / 2 : 0;
        scores += queries * keys > hidden ? queries * keys - hidden : 0;
    }
    return scores * (double)attention->head_count;
}

bool eh_attention_shares_keys(const eh_attention *attention)
{
    int64_t end = 0;
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        if (eh_segment_shared(segment) > 0 || segment->key_begin < end)
            return true;
        end = (int64_t)segment->key_begin + segment->key_count;
    }
    return false;
}

static void check_attention(const eh_attention *attention, const eh_heads *query, const eh_heads *key,
                            const eh_heads *value, const eh_heads *output)
{
    EH_ASSERT(attention->head_count > 0 && attention->head_size > 0 && attention->segment_count >= 0);
    EH_ASSERT(attention->dropout >= 0 && attention->dropout < 1);
    EH_ASSERT(attention->segment_count == 0 || attention->host_segments != NULL);
    if (attention->position_bias == EH_ALIBI)
        EH_ASSERT(is_fp32(&attention->alibi_slopes) && is_vector(&attention->alibi_slopes, attention->head_count));
    if (attention->position_bias == EH_RELATIVE_BUCKETS)
        EH_ASSERT(is_real(&attention->relative_bias) && attention->bucket_count > 0 &&
                  is_vector(&attention->relative_bias, attention->bucket_count * attention->head_count));
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        EH_ASSERT(segment->query_count >= 0 && segment->key_count >= 0);
        EH_ASSERT(segment->prefix_count >= 0 && segment->middle_count >= 0);
        EH_ASSERT(heads_hold(attention, query, segment->query_begin, segment->query_count));
        EH_ASSERT(heads_hold(attention, output, segment->query_begin, segment->query_count));
        EH_ASSERT(heads_hold(attention, key, segment->key_begin, segment->key_count));
        EH_ASSERT(heads_hold(attention, value, segment->key_begin, segment->key_count));
        EH_ASSERT(heads_hold(attention, key, segment->prefix_begin, segment->prefix_count));
        EH_ASSERT(heads_hold(attention, value, segment->prefix_begin, segment->prefix_count));
        EH_ASSERT(heads_hold(attention, key, segment->middle_begin, segment->middle_count));
        EH_ASSERT(heads_hold(attention, value, segment->middle_begin, segment->middle_count));
    }
}

static bool log_sum_exp_matches(const eh_attention *attention, const eh_tensor *log_sum_exp)
{
    if (!is_fp32(log_sum_exp) || log_sum_exp->dimension_count != 2 || log_sum_exp->shape[1] != attention->head_count)
        return false;
    for (int64_t s = 0; s < attention->segment_count; s++)
        if ((int64_t)attention->host_segments[s].query_begin + attention->host_segments[s].query_count >
            log_sum_exp->shape[0])
            return false;
    return true;
}

eh_status eh_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                               const eh_heads *key, const eh_heads *value, const eh_heads *output,
                               const eh_tensor *log_sum_exp)
{
    check_attention(attention, query, key, value, output);
    EH_ASSERT(!eh_tensor_exists(log_sum_exp) || log_sum_exp_matches(attention, log_sum_exp));
    written(&output->tensor);
    written(log_sum_exp);
    if (attention->segment_count == 0)
        return EH_OK;
    EH_RUN(attention_forward, 4 * attention_scores(attention) * (double)attention->head_size,
           bytes_of(&query->tensor) + bytes_of(&output->tensor), attention, query, key, value, output, log_sum_exp);
}

eh_status eh_attention_backward(eh_backend *backend, const eh_attention *attention, const eh_attention_grads *grads)
{
    check_attention(attention, &grads->query, &grads->key, &grads->value, &grads->output);
    check_attention(attention, &grads->grad_query, &grads->grad_key, &grads->grad_value, &grads->grad_output);
    EH_ASSERT(log_sum_exp_matches(attention, &grads->log_sum_exp));
    const eh_tensor *grad_bias = &grads->grad_relative_bias;
    EH_ASSERT(!eh_tensor_exists(grad_bias) || (attention->position_bias == EH_RELATIVE_BUCKETS && is_fp32(grad_bias) &&
                                               is_vector(grad_bias, attention->bucket_count * attention->head_count)));
    written(&grads->grad_query.tensor);
    written(&grads->grad_key.tensor);
    written(&grads->grad_value.tensor);
    written(grad_bias);
    if (attention->segment_count == 0)
        return EH_OK;
    EH_RUN(attention_backward, 10 * attention_scores(attention) * (double)attention->head_size,
           bytes_of(&grads->query.tensor) + bytes_of(&grads->grad_query.tensor), attention, grads);
}

// --- Output layer with cross-entropy -----------------------------------------------------
static void check_output(const eh_output_layer *layer)
{
    EH_ASSERT(is_real(&layer->hidden) && layer->hidden.dimension_count == 2);
    const int64_t n = layer->hidden.shape[0], width = layer->hidden.shape[1];
    EH_ASSERT(is_real(&layer->weight) && layer->weight.dimension_count == 2 && layer->weight.shape[1] == width &&
              layer->weight.shape[0] > 0);
    EH_ASSERT(!eh_tensor_exists(&layer->bias) ||
              (is_fp32(&layer->bias) && is_vector(&layer->bias, layer->weight.shape[0])));
    EH_ASSERT(eh_tensor_exists(&layer->target) && layer->target.dtype == EH_I32 && is_vector(&layer->target, n));
    EH_ASSERT(is_fp32(&layer->log_probability) && is_vector(&layer->log_probability, n));
    EH_ASSERT(is_fp32(&layer->log_sum_exp) && is_vector(&layer->log_sum_exp, n));
}

eh_status eh_output_forward(eh_backend *backend, const eh_output_layer *layer)
{
    check_output(layer);
    written(&layer->log_probability);
    written(&layer->log_sum_exp);
    if (layer->hidden.shape[0] == 0)
        return EH_OK;
    EH_RUN(output_forward, 2.0 * (double)layer->hidden.shape[0] * (double)eh_tensor_count(&layer->weight),
           bytes_of(&layer->weight) + bytes_of(&layer->hidden), layer);
}

eh_status eh_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                             const eh_tensor *grad_hidden, const eh_tensor *grad_weight, const eh_tensor *grad_bias)
{
    check_output(layer);
    const int64_t n = layer->hidden.shape[0], width = layer->hidden.shape[1], vocabulary = layer->weight.shape[0];
    EH_ASSERT(is_fp32(row_weight) && is_vector(row_weight, n) && is_matrix(grad_hidden, n, width));
    EH_ASSERT(!eh_tensor_exists(grad_weight) || is_matrix(grad_weight, vocabulary, width));
    EH_ASSERT(!eh_tensor_exists(grad_bias) || (is_fp32(grad_bias) && is_vector(grad_bias, vocabulary)));
    written(grad_hidden);
    written(grad_weight);
    written(grad_bias);
    if (n == 0)
        return EH_OK;
    EH_RUN(output_backward,
           (eh_tensor_exists(grad_weight) ? 6.0 : 4.0) * (double)n * (double)eh_tensor_count(&layer->weight),
           bytes_of(&layer->weight) + 2 * bytes_of(grad_weight), layer, row_weight, grad_hidden, grad_weight,
           grad_bias);
}

eh_status eh_log_softmax_rows(eh_backend *backend, const eh_tensor *logits)
{
    EH_ASSERT(is_fp32(logits) && logits->dimension_count == 2);
    written(logits);
    if (eh_tensor_count(logits) == 0)
        return EH_OK;
    EH_RUN(log_softmax_rows, 10 * eh_tensor_count(logits), 2 * bytes_of(logits), logits);
}

eh_status eh_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                             const eh_tensor *row_weight, float strength, const eh_tensor *divergence)
{
    EH_ASSERT(is_fp32(log_p) && log_p->dimension_count == 2 && is_fp32(log_q) &&
              is_matrix(log_q, log_p->shape[0], log_p->shape[1]));
    EH_ASSERT(is_fp32(row_weight) && is_vector(row_weight, log_p->shape[0]) && is_fp32(divergence) &&
              is_vector(divergence, log_p->shape[0]));
    written(log_q);
    written(divergence);
    if (log_p->shape[0] == 0)
        return EH_OK;
    EH_RUN(divergence_rows, 20 * eh_tensor_count(log_p), 3 * bytes_of(log_p), log_p, log_q, row_weight, strength,
           divergence);
}

eh_status eh_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index)
{
    EH_ASSERT(is_fp32(logits) && logits->dimension_count == 2 && eh_tensor_exists(index) && index->dtype == EH_I32 &&
              is_vector(index, logits->shape[0]) && (logits->shape[0] == 0 || logits->shape[1] > 0));
    written(index);
    if (logits->shape[0] == 0)
        return EH_OK;
    EH_RUN(argmax_rows, eh_tensor_count(logits), bytes_of(logits), logits, index);
}

eh_status eh_sample_rows(eh_backend *backend, const eh_sampling *sampling)
{
    const eh_tensor *logits = &sampling->logits, *edits = &sampling->edits;
    const int64_t n = logits->shape[0];
    EH_ASSERT(is_fp32(logits) && logits->dimension_count == 2 && (n == 0 || logits->shape[1] > 0));
    EH_ASSERT(!eh_tensor_exists(edits) ||
              (edits->dtype == EH_I32 && edits->dimension_count == 2 && edits->shape[1] == 3 && inside(edits)));
    EH_ASSERT(!eh_tensor_exists(&sampling->draws) ||
              (sampling->draws.dtype == EH_I32 && is_vector(&sampling->draws, 2 * n) && sampling->temperature > 0));
    EH_ASSERT(eh_tensor_exists(&sampling->index) && sampling->index.dtype == EH_I32 && is_vector(&sampling->index, n));
    written(logits);
    written(&sampling->index);
    if (n == 0)
        return EH_OK;
    EH_RUN(sample_rows, 10 * eh_tensor_count(logits), bytes_of(logits), sampling);
}

// --- Optimiser ---------------------------------------------------------------------------
static eh_tensor flat(const eh_tensor *tensor)
{
    if (!eh_tensor_exists(tensor))
        return (eh_tensor){0};
    const int64_t count = eh_tensor_count(tensor);
    return eh_tensor_reshape(tensor, 1, &count);
}

eh_status eh_adamw_step(eh_backend *backend, const eh_adamw *adamw, const eh_tensor *weights, const eh_tensor *gradient,
                        const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy)
{
    EH_ASSERT(same_count(weights, gradient) && same_count(weights, m) && same_count(weights, v));
    const eh_adamw_run all = {.count = eh_tensor_count(weights), .decays = true};
    const eh_tensor w = flat(weights), g = flat(gradient), own_m = flat(m), own_v = flat(v), c = flat(copy);
    return eh_adamw_runs(backend, adamw, &all, 1, &w, &g, &own_m, &own_v, &c);
}

eh_status eh_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                        const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v,
                        const eh_tensor *copy)
{
    int64_t count = 0;
    EH_ASSERT(is_fp32(weights) && is_fp32(gradient) && is_fp32(m) && is_fp32(v) && adamw->step >= 1);
    EH_ASSERT(same_count(m, v) && (!eh_tensor_exists(copy) || (is_real(copy) && same_count(weights, copy))));
    for (int64_t r = 0; r < run_count; r++) {
        const eh_adamw_run *run = &runs[r];
        EH_ASSERT(run->count >= 0 && run->weights >= 0 && run->gradient >= 0 && run->moments >= 0);
        EH_ASSERT(run->weights + run->count <= eh_tensor_count(weights) &&
                  run->gradient + run->count <= eh_tensor_count(gradient) &&
                  run->moments + run->count <= eh_tensor_count(m));
        count += run->count;
    }
    written(weights);
    written(m);
    written(v);
    written(copy);
    if (count == 0)
        return EH_OK;
    const int64_t copied = eh_tensor_exists(copy) ? (int64_t)eh_dtype_bytes(copy->dtype) : 0;
    EH_RUN(adamw_runs, 15 * count, (28 + copied) * count, adamw, runs, run_count, weights, gradient, m, v, copy);
}

eh_status eh_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                  const eh_tensor *importance, const eh_tensor *gradient)
{
    EH_ASSERT(is_fp32(weights) && is_fp32(anchor) && is_fp32(gradient) && same_count(weights, anchor) &&
              same_count(weights, gradient));
    EH_ASSERT(!eh_tensor_exists(importance) || (is_fp32(importance) && same_count(weights, importance)));
    written(gradient);
    if (eh_tensor_count(weights) == 0)
        return EH_OK;
    EH_RUN(pull, 4 * eh_tensor_count(weights), 4 * bytes_of(weights) + bytes_of(importance), strength, weights, anchor,
           importance, gradient);
}

eh_status eh_squared_norm(eh_backend *backend, const eh_tensor *x, double *sum)
{
    const int64_t count = eh_tensor_count(x);
    const eh_norm_stretch all = {.count = count, .piece = count > 0 ? count : 1, .sums = sum};
    const eh_tensor elements = flat(x);
    *sum = 0;
    return eh_squared_norms(backend, &elements, &all, 1);
}

eh_status eh_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                           int64_t stretch_count)
{
    int64_t count = 0;
    EH_ASSERT(is_real(x));
    for (int64_t s = 0; s < stretch_count; s++) {
        const eh_norm_stretch *own = &stretches[s];
        EH_ASSERT(own->first >= 0 && own->count >= 0 && own->piece > 0);
        EH_ASSERT(own->first + own->count <= eh_tensor_count(x));
        count += own->count;
    }
    if (count == 0)
        return EH_OK;
    EH_RUN(squared_norms, 2 * count, (size_t)count * eh_dtype_bytes(x->dtype), x, stretches, stretch_count);
}
