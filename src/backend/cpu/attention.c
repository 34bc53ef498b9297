// Attention of packed sequences: a task is a head of a segment (or, where segments may share keys in the backward pass,
// a head of all of them), which takes QUERIES queries at a time: scores, softmax and the mix of values are small
// products.
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum { QUERIES = 64 };

typedef struct {
    eh_cpu *cpu;
    const eh_attention *attention;
    const eh_heads *query, *key, *value, *output;
    const eh_tensor *log_sum_exp;
    const eh_attention_grads *grads;
    int64_t longest;       // keys of a segment
    float *bias;           // [heads, 2 longest]: bias of head h at distance d = key - query is bias[h, d + longest]
    float *grad_bias;      // the same, summed
    int32_t *buckets;      // [2 longest]
    bool segments_in_task; // a task takes all segments of its head
} attention_job;

// One worker's memory for one head of one segment.
typedef struct {
    float *gemm;                  // EH_GEMM_SCRATCH
    float *scores, *grads;        // [QUERIES, longest rounded up]
    float *key, *value;           // [longest, size]
    float *grad_key, *grad_value; // [longest, size]
    float *rows, *one, *other;    // [QUERIES, size], [size], [size]
    int64_t stride;               // of scores
} head_memory;

static int64_t memory_floats(const attention_job *job)
{
    const int64_t stride = (job->longest + 15) / 16 * 16, size = job->attention->head_size;
    return EH_GEMM_SCRATCH + 2 * QUERIES * stride + 4 * job->longest * size + (QUERIES + 2) * size;
}

static head_memory memory_of(const attention_job *job, int worker)
{
    const int64_t size = job->attention->head_size;
    head_memory memory = {.gemm = job->cpu->workers[worker].block, .stride = (job->longest + 15) / 16 * 16};
    memory.scores = memory.gemm + EH_GEMM_SCRATCH;
    memory.grads = memory.scores + QUERIES * memory.stride;
    memory.key = memory.grads + QUERIES * memory.stride;
    memory.value = memory.key + job->longest * size;
    memory.grad_key = memory.value + job->longest * size;
    memory.grad_value = memory.grad_key + job->longest * size;
    memory.rows = memory.grad_value + job->longest * size;
    memory.one = memory.rows + QUERIES * size;
    memory.other = memory.one + size;
    return memory;
}

static const void *head_at(const eh_heads *heads, int64_t row, int64_t head)
{
    return (const char *)eh_heads_address(heads) +
           (size_t)(row * heads->token_stride + head * heads->head_stride) * eh_dtype_bytes(heads->tensor.dtype);
}

static const float *read_row(const attention_job *job, const eh_heads *heads, int64_t row, int64_t head, float *scratch)
{
    return eh_cpu_read(job->cpu, &heads->tensor, row * heads->token_stride + head * heads->head_stride,
                       job->attention->head_size, scratch);
}

static void add_row(const attention_job *job, const eh_heads *heads, int64_t row, int64_t head, const float *x,
                    float *scratch)
{
    const int64_t first = row * heads->token_stride + head * heads->head_stride, size = job->attention->head_size;
    float *y = (float *)(uintptr_t)eh_cpu_read(job->cpu, &heads->tensor, first, size, scratch);
    job->cpu->kernels->add(y, x, size);
    eh_cpu_write(job->cpu, &heads->tensor, first, size, y);
}

// The keys or values of a head, prefix and own in one piece, so that a sum over them does not know where the prefix
// ends.
static void gather(const attention_job *job, const eh_heads *heads, const eh_segment *segment, int64_t head, float *to)
{
    const int64_t size = job->attention->head_size;
    for (int64_t j = 0; j < eh_segment_keys(segment); j++) {
        const float *row = read_row(job, heads, eh_key_row(segment, j), head, to + j * size);
        if (row != to + j * size)
            memcpy(to + j * size, row, (size_t)size * sizeof *to);
    }
}

// scores[i, j] = scale q_i.k_j + bias for queries [first, first + count) and the first `keys` keys.
static void score_block(const attention_job *job, const eh_segment *segment, int64_t head, int64_t first, int64_t count,
                        int64_t keys, const head_memory *memory)
{
    const eh_attention *attention = job->attention;
    const eh_gemm product = {
        .m = count,
        .n = keys,
        .k = attention->head_size,
        .a = head_at(job->query, segment->query_begin + first, head),
        .a_type = job->query->tensor.dtype,
        .a_row = job->query->token_stride,
        .a_column = 1,
        .b = memory->key,
        .b_row = 1,
        .b_column = attention->head_size,
        .c = memory->scores,
        .c_row = memory->stride,
        .alpha = attention->scale,
    };
    job->cpu->kernels->gemm(&product, memory->gemm);
    float slope = 0;
    if (attention->position_bias == EH_ALIBI)
        slope = ((const float *)eh_tensor_address(&attention->alibi_slopes))[head];
    for (int64_t i = 0; i < count && attention->position_bias != EH_NO_POSITION_BIAS; i++) {
        const int64_t place = eh_segment_keys(segment) - segment->query_count + first + i;
        const float *bias = job->bias ? job->bias + head * 2 * job->longest + job->longest - place : NULL;
        job->cpu->kernels->score_row(memory->scores + i * memory->stride, 1, slope, bias, keys);
    }
}

static void drop(const attention_job *job, int64_t query_row, int64_t head, int64_t count, float *x)
{
    const eh_attention *attention = job->attention;
    const uint64_t first = eh_attention_dropout_index(query_row, attention->head_count, head, 0);
    job->cpu->kernels->dropout(x, x, attention->dropout, attention->dropout_seed, first, count);
}

static void forward_block(const attention_job *job, const eh_segment *segment, int64_t head, int64_t first,
                          int64_t count, const head_memory *memory)
{
    const eh_attention *attention = job->attention;
    const eh_cpu_kernels *kernels = job->cpu->kernels;
    const int64_t size = attention->head_size;
    const int64_t keys = eh_visible_keys(segment, attention->causal, first + count - 1);
    float share[QUERIES];
    score_block(job, segment, head, first, count, keys, memory);
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = segment->query_begin + first + i;
        const int64_t visible = eh_visible_keys(segment, attention->causal, first + i);
        float *p = memory->scores + i * memory->stride;
        const float largest = kernels->largest(p, visible), sum = kernels->exp_sum(p, largest, visible);
        memset(p + visible, 0, (size_t)(keys - visible) * sizeof *p);
        share[i] = visible > 0 ? 1 / sum : 0;
        if (eh_tensor_exists(job->log_sum_exp))
            ((float *)eh_tensor_address(job->log_sum_exp))[row * attention->head_count + head] =
                visible > 0 ? (float)((double)largest + log(sum)) : -INFINITY;
        if (attention->dropout > 0)
            drop(job, row, head, visible, p);
    }
    const eh_gemm mix = {
        .m = count,
        .n = size,
        .k = keys,
        .a = memory->scores,
        .a_row = memory->stride,
        .a_column = 1,
        .b = memory->value,
        .b_row = size,
        .b_column = 1,
        .c = memory->rows,
        .c_row = size,
        .alpha = 1,
    };
    kernels->gemm(&mix, memory->gemm);
    for (int64_t i = 0; i < count; i++) {
        kernels->scale(memory->rows + i * size, share[i], size);
        eh_cpu_write(job->cpu, &job->output->tensor,
                     (segment->query_begin + first + i) * job->output->token_stride + head * job->output->head_stride,
                     size, memory->rows + i * size);
    }
}

static void forward_task(void *context, int64_t task, int worker)
{
    const attention_job *job = context;
    const eh_segment *segment = &job->attention->host_segments[task / job->attention->head_count];
    const int64_t head = task % job->attention->head_count;
    const head_memory memory = memory_of(job, worker);
    gather(job, job->key, segment, head, memory.key);
    gather(job, job->value, segment, head, memory.value);
    for (int64_t first = 0; first < segment->query_count; first += QUERIES) {
        const int64_t rest = segment->query_count - first;
        forward_block(job, segment, head, first, rest < QUERIES ? rest : QUERIES, &memory);
    }
}

// Biases by distance for every head, in the shared arena; room for their gradients behind them.
static eh_status prepare(attention_job *job)
{
    const eh_attention *attention = job->attention;
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        const int64_t keys =
            eh_segment_keys(segment) > segment->query_count ? eh_segment_keys(segment) : segment->query_count;
        job->longest = keys > job->longest ? keys : job->longest;
    }
    EH_TRY(eh_cpu_reserve_workers(job->cpu, (size_t)memory_floats(job) * sizeof(float)));
    if (attention->position_bias != EH_RELATIVE_BUCKETS)
        return EH_OK;
    const int64_t distances = 2 * job->longest, heads = attention->head_count;
    EH_TRY(eh_arena_reserve(&job->cpu->shared, (size_t)((2 * heads + 1) * distances) * sizeof(float)));
    job->bias = job->cpu->shared.block;
    job->grad_bias = job->bias + heads * distances;
    job->buckets = (int32_t *)(job->grad_bias + heads * distances);
    memset(job->grad_bias, 0, (size_t)(heads * distances) * sizeof(float));
    for (int64_t d = 0; d < distances; d++) {
        job->buckets[d] = eh_relative_bucket(d - job->longest, attention->bidirectional_buckets,
                                             attention->bucket_count, attention->bucket_max_distance);
        for (int64_t h = 0; h < heads; h++)
            job->bias[h * distances + d] = eh_get(&attention->relative_bias, job->buckets[d] * heads + h);
    }
    return EH_OK;
}

eh_status eh_cpu_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                   const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                   const eh_tensor *log_sum_exp)
{
    attention_job job = {.cpu = eh_cpu_of(backend), .attention = attention, .query = query, .key = key};
    job.value = value;
    job.output = output;
    job.log_sum_exp = log_sum_exp;
    EH_TRY(prepare(&job));
    eh_cpu_run(job.cpu, attention->segment_count * attention->head_count, forward_task, &job);
    return EH_OK;
}

// c[i, :] (+)= alpha sum_j x(i, j) y[j, :] for contiguous rows of y of the head's size; x transposed or not.
static void multiply(const attention_job *job, int64_t m, int64_t k, const float *x, int64_t x_row, int64_t x_column,
                     const void *y, eh_dtype y_type, int64_t y_row, float alpha, bool accumulate, float *c,
                     const head_memory *memory)
{
    const eh_gemm product = {
        .m = m,
        .n = job->attention->head_size,
        .k = k,
        .a = x,
        .a_row = x_row,
        .a_column = x_column,
        .b = y,
        .b_type = y_type,
        .b_row = y_row,
        .b_column = 1,
        .c = c,
        .c_row = job->attention->head_size,
        .alpha = alpha,
        .accumulate = accumulate,
    };
    job->cpu->kernels->gemm(&product, memory->gemm);
}

// Scores become probabilities p (times dropout's factor), grads the gradients of the scores p (d grad_output.v -
// inner).
static void softmax_block(const attention_job *job, const eh_segment *segment, int64_t head, int64_t first,
                          int64_t count, int64_t keys, const head_memory *memory)
{
    const eh_attention *attention = job->attention;
    const eh_attention_grads *grads = job->grads;
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = segment->query_begin + first + i;
        const int64_t visible = eh_visible_keys(segment, attention->causal, first + i);
        float *p = memory->scores + i * memory->stride, *g = memory->grads + i * memory->stride;
        const float inner =
            job->cpu->kernels->dot(read_row(job, &grads->grad_output, row, head, memory->one),
                                   read_row(job, &grads->output, row, head, memory->other), attention->head_size);
        if (attention->dropout > 0)
            drop(job, row, head, visible, g);
        job->cpu->kernels->softmax_backward(
            p, g, ((const float *)eh_tensor_address(&grads->log_sum_exp))[row * attention->head_count + head], inner,
            visible);
        if (attention->dropout > 0)
            drop(job, row, head, visible, p);
        memset(p + visible, 0, (size_t)(keys - visible) * sizeof *p);
        memset(g + visible, 0, (size_t)(keys - visible) * sizeof *g);
        if (job->grad_bias) {
            const int64_t place = eh_segment_keys(segment) - segment->query_count + first + i;
            job->cpu->kernels->add(job->grad_bias + head * 2 * job->longest + job->longest - place, g, visible);
        }
    }
}

static void backward_block(const attention_job *job, const eh_segment *segment, int64_t head, int64_t first,
                           int64_t count, const head_memory *memory)
{
    const eh_attention_grads *grads = job->grads;
    const int64_t size = job->attention->head_size, top = segment->query_begin + first;
    const int64_t keys = eh_visible_keys(segment, job->attention->causal, first + count - 1);
    const void *grad_output = head_at(&grads->grad_output, top, head), *query = head_at(&grads->query, top, head);
    score_block(job, segment, head, first, count, keys, memory);
    const eh_gemm grad_p = {
        .m = count,
        .n = keys,
        .k = size,
        .a = grad_output,
        .a_type = grads->grad_output.tensor.dtype,
        .a_row = grads->grad_output.token_stride,
        .a_column = 1,
        .b = memory->value,
        .b_row = 1,
        .b_column = size,
        .c = memory->grads,
        .c_row = memory->stride,
        .alpha = 1,
    };
    job->cpu->kernels->gemm(&grad_p, memory->gemm);
    softmax_block(job, segment, head, first, count, keys, memory);
    multiply(job, keys, count, memory->scores, 1, memory->stride, grad_output, grads->grad_output.tensor.dtype,
             grads->grad_output.token_stride, 1, true, memory->grad_value, memory);
    multiply(job, keys, count, memory->grads, 1, memory->stride, query, grads->query.tensor.dtype,
             grads->query.token_stride, job->attention->scale, true, memory->grad_key, memory);
    multiply(job, count, keys, memory->grads, memory->stride, 1, memory->key, EH_F32, size, job->attention->scale,
             false, memory->rows, memory);
    for (int64_t i = 0; i < count; i++)
        add_row(job, &grads->grad_query, top + i, head, memory->rows + i * size, memory->one);
}

static void backward_segment(const attention_job *job, const eh_segment *segment, int64_t head, int worker)
{
    const int64_t size = job->attention->head_size;
    const head_memory memory = memory_of(job, worker);
    if (segment->query_count == 0)
        return;
    gather(job, job->key, segment, head, memory.key);
    gather(job, job->value, segment, head, memory.value);
    memset(memory.grad_key, 0, (size_t)(eh_segment_keys(segment) * size) * sizeof(float));
    memset(memory.grad_value, 0, (size_t)(eh_segment_keys(segment) * size) * sizeof(float));
    for (int64_t first = 0; first < segment->query_count; first += QUERIES) {
        const int64_t rest = segment->query_count - first;
        backward_block(job, segment, head, first, rest < QUERIES ? rest : QUERIES, &memory);
    }
    for (int64_t j = 0; j < eh_segment_keys(segment); j++) {
        add_row(job, &job->grads->grad_key, eh_key_row(segment, j), head, memory.grad_key + j * size, memory.one);
        add_row(job, &job->grads->grad_value, eh_key_row(segment, j), head, memory.grad_value + j * size, memory.one);
    }
}

static void backward_task(void *context, int64_t task, int worker)
{
    const attention_job *job = context;
    const eh_attention *attention = job->attention;
    if (!job->segments_in_task) {
        backward_segment(job, &attention->host_segments[task / attention->head_count], task % attention->head_count,
                         worker);
        return;
    }
    for (int64_t s = 0; s < attention->segment_count; s++)
        backward_segment(job, &attention->host_segments[s], task, worker);
}

eh_status eh_cpu_attention_backward(eh_backend *backend, const eh_attention *attention, const eh_attention_grads *grads)
{
    attention_job job = {.cpu = eh_cpu_of(backend), .attention = attention, .grads = grads};
    job.query = &grads->query;
    job.key = &grads->key;
    job.value = &grads->value;
    EH_TRY(prepare(&job));
    if (grads->fresh)
        eh_host_clear_attention(attention, grads);
    const eh_tensor *grad_bias = &grads->grad_relative_bias;
    if (!eh_tensor_exists(grad_bias))
        job.grad_bias = NULL;
    job.segments_in_task = job.grad_bias != NULL || eh_attention_shares_keys(attention);
    const int64_t heads = attention->head_count;
    eh_cpu_run(job.cpu, job.segments_in_task ? heads : attention->segment_count * heads, backward_task, &job);
    if (job.grad_bias)
        for (int64_t d = 0; d < 2 * job.longest; d++)
            for (int64_t h = 0; h < heads; h++)
                ((float *)eh_tensor_address(grad_bias))[job.buckets[d] * heads + h] +=
                    job.grad_bias[h * 2 * job.longest + d];
    return EH_OK;
}
