// Normalisation row by row. The gradients of weight and bias are summed over groups of rows, then over the groups in
// order.
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum { ROWS_OF_TASK = 16, COLUMNS_OF_TASK = 1024 };

typedef struct {
    eh_cpu *cpu;
    const eh_norm *norm;
    const eh_tensor *x, *residual, *sum, *y, *mean, *scale, *grad_y, *grad_x;
    eh_output_mode mode;
    int64_t rows, n;
    const float *weight, *bias;     // fp32
    float *weight_sums, *bias_sums; // [groups, n] each, or NULL
    const eh_tensor *grad_weight, *grad_bias;
} norm_job;

// Weight and bias as fp32 in the shared arena, with room for `extra` more floats behind them.
static eh_status prepare(norm_job *job, int64_t extra, float **rest)
{
    eh_cpu *cpu = job->cpu;
    EH_TRY(eh_arena_reserve(&cpu->shared, (size_t)(2 * job->n + extra) * sizeof(float)));
    float *shared = cpu->shared.block;
    job->weight = eh_cpu_read(cpu, &job->norm->weight, 0, job->n, shared);
    if (eh_tensor_exists(&job->norm->bias))
        job->bias = eh_cpu_read(cpu, &job->norm->bias, 0, job->n, shared + job->n);
    *rest = shared + 2 * job->n;
    return eh_cpu_reserve_workers(cpu, (size_t)(4 * job->n) * sizeof(float));
}

static void forward_task(void *context, int64_t task, int worker)
{
    const norm_job *job = context;
    const eh_cpu *cpu = job->cpu;
    const int64_t n = job->n, begin = task * ROWS_OF_TASK;
    float *scratch = cpu->workers[worker].block;
    for (int64_t r = begin; r < job->rows && r < begin + ROWS_OF_TASK; r++) {
        const float *s = eh_cpu_read(cpu, job->x, r * n, n, scratch);
        if (eh_tensor_exists(job->residual)) {
            float *sum = scratch + n; // not in place yet: `sum` may be x or residual
            memcpy(sum, s, (size_t)n * sizeof *sum);
            cpu->kernels->add(sum, eh_cpu_read(cpu, job->residual, r * n, n, scratch + 2 * n), n);
            eh_cpu_write(cpu, job->sum, r * n, n, sum);
            s = eh_cpu_read(cpu, job->sum, r * n, n, scratch + n); // as the backward pass will see it
        }
        float *y = eh_cpu_place(job->y, r * n, scratch + 3 * n), mean = 0;
        cpu->kernels->norm(job->norm->kind, job->norm->eps, s, job->weight, job->bias, n, y, &mean,
                           (float *)eh_tensor_address(job->scale) + r);
        if (job->norm->kind == EH_LAYER_NORM)
            ((float *)eh_tensor_address(job->mean))[r] = mean;
        eh_cpu_write(cpu, job->y, r * n, n, y);
    }
}

eh_status eh_cpu_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *residual,
                              const eh_tensor *sum, const eh_tensor *y, const eh_tensor *mean, const eh_tensor *scale)
{
    norm_job job = {.cpu = eh_cpu_of(backend), .norm = norm, .x = x, .residual = residual, .sum = sum, .y = y};
    job.mean = mean;
    job.scale = scale;
    job.rows = x->shape[0];
    job.n = x->shape[1];
    float *rest = NULL;
    EH_TRY(prepare(&job, 0, &rest));
    eh_cpu_run(job.cpu, (job.rows + ROWS_OF_TASK - 1) / ROWS_OF_TASK, forward_task, &job);
    return EH_OK;
}

static void backward_task(void *context, int64_t group, int worker)
{
    const norm_job *job = context;
    const eh_cpu *cpu = job->cpu;
    const int64_t n = job->n, begin = group * ROWS_OF_TASK;
    float *scratch = cpu->workers[worker].block;
    float *weight_sum = job->weight_sums ? job->weight_sums + group * n : NULL;
    float *bias_sum = job->bias_sums ? job->bias_sums + group * n : NULL;
    if (weight_sum)
        memset(weight_sum, 0, (size_t)n * sizeof *weight_sum);
    if (bias_sum)
        memset(bias_sum, 0, (size_t)n * sizeof *bias_sum);
    for (int64_t r = begin; r < job->rows && r < begin + ROWS_OF_TASK; r++) {
        const float *x = eh_cpu_read(cpu, job->x, r * n, n, scratch);
        const float *grad_y = eh_cpu_read(cpu, job->grad_y, r * n, n, scratch + n), *base = NULL;
        if (job->mode == EH_ADD)
            base = eh_cpu_read(cpu, job->grad_x, r * n, n, scratch + 2 * n);
        float *grad_x = eh_cpu_place(job->grad_x, r * n, scratch + 3 * n);
        const float mean = job->norm->kind == EH_LAYER_NORM ? ((const float *)eh_tensor_address(job->mean))[r] : 0;
        cpu->kernels->norm_backward(job->norm->kind, x, mean, ((const float *)eh_tensor_address(job->scale))[r],
                                    job->weight, grad_y, base, n, grad_x, weight_sum, bias_sum);
        eh_cpu_write(cpu, job->grad_x, r * n, n, grad_x);
    }
}

static void add_groups(const norm_job *job, const eh_tensor *y, const float *sums, int64_t left, int64_t count,
                       float *scratch)
{
    float *total = (float *)(uintptr_t)eh_cpu_read(job->cpu, y, left, count, scratch);
    for (int64_t group = 0; group * ROWS_OF_TASK < job->rows; group++)
        job->cpu->kernels->add(total, sums + group * job->n + left, count);
    eh_cpu_write(job->cpu, y, left, count, total);
}

static void group_task(void *context, int64_t task, int worker)
{
    const norm_job *job = context;
    const int64_t left = task * COLUMNS_OF_TASK, rest = job->n - left;
    const int64_t count = rest < COLUMNS_OF_TASK ? rest : COLUMNS_OF_TASK;
    float *scratch = job->cpu->workers[worker].block;
    if (job->weight_sums)
        add_groups(job, job->grad_weight, job->weight_sums, left, count, scratch);
    if (job->bias_sums)
        add_groups(job, job->grad_bias, job->bias_sums, left, count, scratch);
}

eh_status eh_cpu_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *mean,
                               const eh_tensor *scale, const eh_tensor *grad_y, eh_output_mode mode,
                               const eh_tensor *grad_x, const eh_tensor *grad_weight, const eh_tensor *grad_bias)
{
    norm_job job = {.cpu = eh_cpu_of(backend), .norm = norm, .x = x, .mean = mean, .scale = scale, .grad_y = grad_y};
    job.mode = mode;
    job.grad_x = grad_x;
    job.grad_weight = grad_weight;
    job.grad_bias = grad_bias;
    job.rows = x->shape[0];
    job.n = x->shape[1];
    const int64_t groups = (job.rows + ROWS_OF_TASK - 1) / ROWS_OF_TASK;
    float *sums = NULL;
    EH_TRY(prepare(&job, 2 * groups * job.n, &sums));
    job.weight_sums = eh_tensor_exists(grad_weight) ? sums : NULL;
    job.bias_sums = eh_tensor_exists(grad_bias) ? sums + groups * job.n : NULL;
    eh_cpu_run(job.cpu, groups, backward_task, &job);
    eh_cpu_run(job.cpu, (job.n + COLUMNS_OF_TASK - 1) / COLUMNS_OF_TASK, group_task, &job);
    return EH_OK;
}
