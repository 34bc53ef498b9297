// The output layer with cross-entropy, a block of words at a time: the block's logits stay in the cache, are reduced to
// their maximum and sum of exponentials, and forgotten, or kept where the backward pass follows at once and they are
// few.
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum { WORDS = 512, ROWS = 256, ROWS_OF_PASS = 1024, LANES = 16 };
static const size_t kept_bytes_most = (size_t)256 << 20;

typedef struct {
    float largest, sum; // sum of exp(z - largest) over a block
} block_sum;

typedef struct {
    eh_cpu *cpu;
    const eh_output_layer *layer;
    int64_t n, width, vocabulary, blocks;
    block_sum *sums;     // [blocks, n]
    float *target_logit; // [n]
    float *kept;         // [n, vocabulary] or NULL
    const float *packed; // the weights as `pack` left them, or NULL
    // backward
    const eh_tensor *row_weight, *grad_hidden, *grad_weight, *grad_bias;
    int64_t first_row, row_count, lanes; // of this pass
    float *lane_sums;                    // [lanes, row_count, width]
} output_job;

static output_job begin(eh_backend *backend, const eh_output_layer *layer)
{
    output_job job = {.cpu = eh_cpu_of(backend), .layer = layer, .n = layer->hidden.shape[0]};
    job.width = layer->hidden.shape[1];
    job.vocabulary = layer->weight.shape[0];
    job.blocks = (job.vocabulary + WORDS - 1) / WORDS;
    return job;
}

static int64_t words_of(const output_job *job, int64_t block)
{
    const int64_t rest = job->vocabulary - block * WORDS;
    return rest < WORDS ? rest : WORDS;
}

static const void *element(const eh_tensor *x, int64_t i)
{
    return (const char *)eh_tensor_address(x) + (size_t)i * eh_dtype_bytes(x->dtype);
}

// z[i, v] for rows [first, first + rows) and the words of a block.
static void block_logits(const output_job *job, int64_t block, int64_t first, int64_t rows, float *z, int64_t z_row,
                         float *scratch)
{
    const eh_output_layer *layer = job->layer;
    const eh_gemm product = {
        .m = rows,
        .n = words_of(job, block),
        .k = job->width,
        .a = element(&layer->hidden, first * job->width),
        .a_type = layer->hidden.dtype,
        .a_row = job->width,
        .a_column = 1,
        .b = element(&layer->weight, block * WORDS * job->width),
        .b_type = layer->weight.dtype,
        .b_row = 1,
        .b_column = job->width,
        .c = z,
        .c_row = z_row,
        .packed_b = job->packed,
        .first_column = block * WORDS,
        .bias = eh_tensor_exists(&layer->bias) ? element(&layer->bias, block * WORDS) : NULL,
        .alpha = layer->scale,
    };
    job->cpu->kernels->gemm(&product, scratch);
}

static void forward_task(void *context, int64_t block, int worker)
{
    const output_job *job = context;
    const eh_cpu_kernels *kernels = job->cpu->kernels;
    const int32_t *target = eh_tensor_address(&job->layer->target);
    float *scratch = job->cpu->workers[worker].block, *z = scratch + EH_GEMM_SCRATCH;
    const int64_t words = words_of(job, block), word = block * WORDS;
    for (int64_t first = 0; first < job->n; first += ROWS) {
        const int64_t rows = job->n - first < ROWS ? job->n - first : ROWS;
        block_logits(job, block, first, rows, z, WORDS, scratch);
        for (int64_t r = 0; r < rows; r++) {
            float *row = z + r * WORDS;
            if (job->kept)
                memcpy(job->kept + (first + r) * job->vocabulary + word, row, (size_t)words * sizeof *row);
            if (target[first + r] >= word && target[first + r] < word + words)
                job->target_logit[first + r] = row[target[first + r] - word];
            block_sum *sum = &job->sums[block * job->n + first + r];
            sum->largest = kernels->largest(row, words);
            sum->sum = kernels->exp_sum(row, sum->largest, words);
        }
    }
}

static void finish_row(const output_job *job, int64_t i)
{
    float largest = -INFINITY;
    double sum = 0;
    for (int64_t block = 0; block < job->blocks; block++)
        if (!(job->sums[block * job->n + i].largest <= largest))
            largest = job->sums[block * job->n + i].largest;
    for (int64_t block = 0; block < job->blocks; block++) {
        const block_sum *part = &job->sums[block * job->n + i];
        sum += part->sum * exp((double)part->largest - largest);
    }
    const double log_sum_exp = largest + log(sum);
    ((float *)eh_tensor_address(&job->layer->log_sum_exp))[i] = (float)log_sum_exp;
    ((float *)eh_tensor_address(&job->layer->log_probability))[i] = (float)(job->target_logit[i] - log_sum_exp);
}

static bool same_place(const eh_tensor *a, const eh_tensor *b)
{
    return a->buffer == b->buffer && a->offset == b->offset && a->dtype == b->dtype && a->shape[0] == b->shape[0];
}

// Room for the logits if the backward pass follows and they are few; they are then used by it, and only once.
static eh_status keep_logits(output_job *job)
{
    eh_cpu *cpu = job->cpu;
    const size_t bytes = (size_t)(job->n * job->vocabulary) * sizeof(float);
    cpu->logits_of = (eh_output_layer){0};
    if (!job->layer->backward_follows || bytes > kept_bytes_most)
        return EH_OK;
    EH_TRY(eh_arena_reserve(&cpu->logits, bytes));
    job->kept = cpu->logits.block;
    cpu->logits_of = *job->layer;
    return EH_OK;
}

// A copy of the weights in panels, kept from call to call, if they stay as they are.
static eh_status find_packed(output_job *job)
{
    const eh_output_layer *layer = job->layer;
    const eh_gemm whole = {.n = job->vocabulary,
                           .k = job->width,
                           .a_type = layer->hidden.dtype,
                           .b = eh_tensor_address(&layer->weight),
                           .b_type = layer->weight.dtype,
                           .b_row = 1,
                           .b_column = job->width};
    eh_status status = EH_OK;
    if (layer->weight_is_constant && job->width > 0)
        job->packed = eh_cpu_packed(job->cpu, &layer->weight, &whole, &status);
    return status;
}

eh_status eh_cpu_output_forward(eh_backend *backend, const eh_output_layer *layer)
{
    output_job job = begin(backend, layer);
    eh_cpu *cpu = job.cpu;
    const int32_t *target = eh_tensor_address(&layer->target);
    for (int64_t i = 0; i < job.n; i++) EH_ASSERT(target[i] >= 0 && target[i] < job.vocabulary);
    EH_TRY(eh_cpu_reserve_workers(cpu, (EH_GEMM_SCRATCH + ROWS * WORDS) * sizeof(float)));
    EH_TRY(eh_arena_reserve(&cpu->shared, (size_t)job.n * ((size_t)job.blocks * sizeof(block_sum) + sizeof(float))));
    EH_TRY(keep_logits(&job));
    EH_TRY(find_packed(&job));
    job.sums = cpu->shared.block;
    job.target_logit = (float *)(job.sums + job.blocks * job.n);
    eh_cpu_run(cpu, job.blocks, forward_task, &job);
    for (int64_t i = 0; i < job.n; i++) finish_row(&job, i);
    return EH_OK;
}

// In place: logits become gradients, row_weight (p - [v = target]).
static void block_gradients(const output_job *job, int64_t block, int64_t first, int64_t rows, float *z)
{
    const int64_t words = words_of(job, block), word = block * WORDS;
    const int32_t *target = eh_tensor_address(&job->layer->target);
    const float *log_sum_exp = eh_tensor_address(&job->layer->log_sum_exp);
    const float *row_weight = eh_tensor_address(job->row_weight);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t i = first + r;
        job->cpu->kernels->logit_gradient(z + r * WORDS, log_sum_exp[i], row_weight[i], words);
        if (target[i] >= word && target[i] < word + words)
            z[r * WORDS + target[i] - word] -= row_weight[i];
    }
}

// grad_weight[v, :] += scale sum_i g[i, v] hidden[i, :], a strip of columns at a time where it is not fp32. A fresh one
// begins with the first rows.
static void add_weight_gradient(const output_job *job, int64_t block, int64_t first, int64_t rows, const void *z,
                                eh_dtype z_type, float *scratch, float *strip)
{
    const eh_tensor *grad = job->grad_weight;
    const int64_t words = words_of(job, block), top = block * WORDS;
    const bool accumulate = first > 0 || !job->layer->gradient_is_fresh;
    for (int64_t left = 0; left < job->width; left += EH_GEMM_COLUMNS) {
        const int64_t columns = job->width - left < EH_GEMM_COLUMNS ? job->width - left : EH_GEMM_COLUMNS;
        const bool direct = grad->dtype == EH_F32;
        for (int64_t v = 0; v < words && !direct && accumulate; v++)
            job->cpu->kernels->to_float(strip + v * EH_GEMM_COLUMNS, element(grad, (top + v) * job->width + left),
                                        grad->dtype, columns);
        const eh_gemm product = {
            .m = words,
            .n = columns,
            .k = rows,
            .a = z,
            .a_type = z_type,
            .a_row = 1,
            .a_column = WORDS,
            .b = element(&job->layer->hidden, first * job->width + left),
            .b_type = job->layer->hidden.dtype,
            .b_row = job->width,
            .b_column = 1,
            .c = direct ? (float *)eh_tensor_address(grad) + top * job->width + left : strip,
            .c_row = direct ? job->width : EH_GEMM_COLUMNS,
            .alpha = job->layer->scale,
            .accumulate = accumulate,
        };
        job->cpu->kernels->gemm(&product, scratch);
        for (int64_t v = 0; v < words && !direct; v++)
            eh_cpu_write(job->cpu, grad, (top + v) * job->width + left, columns, strip + v * EH_GEMM_COLUMNS);
    }
}

static void backward_block(const output_job *job, int64_t block, int64_t first, int64_t rows, float *lane_sum,
                           float *scratch)
{
    float *z = scratch + EH_GEMM_SCRATCH, *strip = z + ROWS * WORDS;
    const int64_t words = words_of(job, block);
    if (job->kept)
        for (int64_t r = 0; r < rows; r++)
            memcpy(z + r * WORDS, job->kept + (first + r) * job->vocabulary + block * WORDS, (size_t)words * sizeof *z);
    else
        block_logits(job, block, first, rows, z, WORDS, scratch);
    block_gradients(job, block, first, rows, z);
    uint16_t *const halves = (uint16_t *)(strip + WORDS * EH_GEMM_COLUMNS);
    const bool as_halves = job->cpu->kernels->pairs && job->layer->weight.dtype == EH_BF16 &&
                           job->layer->hidden.dtype == EH_BF16; // as they are in PyTorch's autocast
    if (as_halves)
        job->cpu->kernels->from_float(halves, z, EH_BF16, rows * WORDS);
    const void *const gradients = as_halves ? (const void *)halves : z;
    const eh_dtype type = as_halves ? EH_BF16 : EH_F32;
    const eh_gemm product = {
        .m = rows,
        .n = job->width,
        .k = words,
        .a = gradients,
        .a_type = type,
        .a_row = WORDS,
        .a_column = 1,
        .b = element(&job->layer->weight, block * WORDS * job->width),
        .b_type = job->layer->weight.dtype,
        .b_row = job->width,
        .b_column = 1,
        .c = lane_sum,
        .c_row = job->width,
        .alpha = job->layer->scale,
        .accumulate = true,
    };
    job->cpu->kernels->gemm(&product, scratch);
    if (eh_tensor_exists(job->grad_weight))
        add_weight_gradient(job, block, first, rows, gradients, type, scratch, strip);
    if (eh_tensor_exists(job->grad_bias)) {
        float *grad_bias = (float *)eh_tensor_address(job->grad_bias) + block * WORDS;
        for (int64_t r = 0; r < rows; r++) job->cpu->kernels->add(grad_bias, z + r * WORDS, words);
    }
}

// A lane is a fixed share of the blocks with its own sum of grad_hidden; the lanes' sums are added in order.
static void backward_task(void *context, int64_t lane, int worker)
{
    const output_job *job = context;
    float *sum = job->lane_sums + lane * job->row_count * job->width;
    memset(sum, 0, (size_t)(job->row_count * job->width) * sizeof *sum);
    const int64_t last = (lane + 1) * job->blocks / job->lanes;
    for (int64_t block = lane * job->blocks / job->lanes; block < last; block++)
        for (int64_t r = 0; r < job->row_count; r += ROWS)
            backward_block(job, block, job->first_row + r, job->row_count - r < ROWS ? job->row_count - r : ROWS,
                           sum + r * job->width, job->cpu->workers[worker].block);
}

static void sum_lanes_task(void *context, int64_t r, int worker)
{
    (void)worker;
    const output_job *job = context;
    float *total = job->lane_sums + r * job->width;
    for (int64_t lane = 1; lane < job->lanes; lane++)
        job->cpu->kernels->add(total, total + lane * job->row_count * job->width, job->width);
    eh_cpu_write(job->cpu, job->grad_hidden, (job->first_row + r) * job->width, job->width, total);
}

eh_status eh_cpu_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                 const eh_tensor *grad_hidden, const eh_tensor *grad_weight, const eh_tensor *grad_bias)
{
    output_job job = begin(backend, layer);
    eh_cpu *cpu = job.cpu;
    job.row_weight = row_weight;
    job.grad_hidden = grad_hidden;
    job.grad_weight = grad_weight;
    job.grad_bias = grad_bias;
    job.lanes = job.blocks < LANES ? job.blocks : LANES;
    const eh_output_layer *kept = &cpu->logits_of;
    if (layer->backward_follows && same_place(&kept->hidden, &layer->hidden) &&
        same_place(&kept->weight, &layer->weight) && same_place(&kept->target, &layer->target))
        job.kept = cpu->logits.block;
    cpu->logits_of = (eh_output_layer){0};
    const int64_t rows = job.n < ROWS_OF_PASS ? job.n : ROWS_OF_PASS;
    EH_TRY(eh_cpu_reserve_workers(cpu, (EH_GEMM_SCRATCH + ROWS * WORDS + WORDS * EH_GEMM_COLUMNS + ROWS * WORDS / 2) *
                                           sizeof(float)));
    EH_TRY(eh_arena_reserve(&cpu->shared, (size_t)(job.lanes * rows * job.width) * sizeof(float)));
    job.lane_sums = cpu->shared.block;
    for (job.first_row = 0; job.first_row < job.n; job.first_row += rows) {
        job.row_count = job.n - job.first_row < rows ? job.n - job.first_row : rows;
        eh_cpu_run(cpu, job.lanes, backward_task, &job);
        eh_cpu_run(cpu, job.row_count, sum_lanes_task, &job);
    }
    return EH_OK;
}
