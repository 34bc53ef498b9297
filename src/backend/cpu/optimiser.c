// AdamW and the gradient's norm: memory bandwidth is all that they cost, so each number moves once.
#include "backend/cpu/cpu_internal.h"

enum { CHUNK = 1 << 14, BLOCK = 4096, BLOCKS_OF_TASK = 64 };

typedef struct {
    const eh_cpu *cpu;
    const eh_adamw *adamw;
    const eh_tensor *weights, *gradient, *m, *v, *copy;
    int64_t count;
} adamw_job;

static void adamw_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const adamw_job *job = context;
    const int64_t first = i * CHUNK, count = job->count - first < CHUNK ? job->count - first : CHUNK;
    float *weights = (float *)eh_tensor_address(job->weights) + first;
    job->cpu->kernels->adamw(job->adamw, weights, (const float *)eh_tensor_address(job->gradient) + first,
                             (float *)eh_tensor_address(job->m) + first, (float *)eh_tensor_address(job->v) + first,
                             count);
    if (eh_tensor_exists(job->copy))
        eh_cpu_write(job->cpu, job->copy, first, count, weights); // they are still in the cache
}

static eh_status adamw_step(eh_backend *backend, const eh_adamw *adamw, const eh_tensor *weights,
                            const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy)
{
    adamw_job job = {eh_cpu_of(backend), adamw, weights, gradient, m, v, copy, eh_tensor_count(weights)};
    eh_cpu_run(eh_cpu_of(backend), (job.count + CHUNK - 1) / CHUNK, adamw_task, &job);
    return EH_OK;
}

eh_status eh_cpu_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                            const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v,
                            const eh_tensor *copy)
{
    return eh_host_adamw_runs(backend, adamw, runs, run_count, weights, gradient, m, v, copy, adamw_step);
}

typedef struct {
    float strength;
    const eh_tensor *weights, *anchor, *importance, *gradient;
    int64_t count;
} pull_job;

static void pull_task(void *context, int64_t task, int worker)
{
    (void)worker;
    const pull_job *job = context;
    const int64_t first = task * CHUNK, rest = job->count - first, count = rest < CHUNK ? rest : CHUNK;
    const float *weights = (const float *)eh_tensor_address(job->weights) + first;
    const float *anchor = (const float *)eh_tensor_address(job->anchor) + first;
    float *gradient = (float *)eh_tensor_address(job->gradient) + first;
    if (!eh_tensor_exists(job->importance)) {
        for (int64_t i = 0; i < count; i++) gradient[i] += job->strength * (weights[i] - anchor[i]);
        return;
    }
    const float *importance = (const float *)eh_tensor_address(job->importance) + first;
    for (int64_t i = 0; i < count; i++) gradient[i] += job->strength * importance[i] * (weights[i] - anchor[i]);
}

eh_status eh_cpu_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                      const eh_tensor *importance, const eh_tensor *gradient)
{
    pull_job job = {strength, weights, anchor, importance, gradient, eh_tensor_count(weights)};
    eh_cpu_run(eh_cpu_of(backend), (job.count + CHUNK - 1) / CHUNK, pull_task, &job);
    return EH_OK;
}

typedef struct {
    const eh_cpu *cpu;
    const eh_tensor *x;
    int64_t count;
    double *sums; // of blocks
} norm_job;

static void squares_task(void *context, int64_t task, int worker)
{
    const norm_job *job = context;
    for (int64_t b = task * BLOCKS_OF_TASK; b < (task + 1) * BLOCKS_OF_TASK && b * BLOCK < job->count; b++) {
        const int64_t first = b * BLOCK, count = job->count - first < BLOCK ? job->count - first : BLOCK;
        const float *x = eh_cpu_read(job->cpu, job->x, first, count, job->cpu->workers[worker].block);
        job->sums[b] = job->cpu->kernels->sum_of_squares(x, count);
    }
}

// A binary tree, split at the greatest power of two below the count.
static double tree_sum(const double *sums, int64_t count)
{
    if (count == 1)
        return sums[0];
    int64_t left = 1;
    while (left * 2 < count) left *= 2;
    return tree_sum(sums, left) + tree_sum(sums + left, count - left);
}

static eh_status squared_norm(eh_backend *backend, const eh_tensor *x, double *sum)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    norm_job job = {.cpu = cpu, .x = x, .count = eh_tensor_count(x)};
    const int64_t blocks = (job.count + BLOCK - 1) / BLOCK;
    EH_TRY(eh_arena_reserve(&cpu->shared, (size_t)blocks * sizeof(double)));
    EH_TRY(eh_cpu_reserve_workers(cpu, BLOCK * sizeof(float)));
    job.sums = cpu->shared.block;
    eh_cpu_run(cpu, (blocks + BLOCKS_OF_TASK - 1) / BLOCKS_OF_TASK, squares_task, &job);
    *sum = tree_sum(job.sums, blocks);
    return EH_OK;
}

eh_status eh_cpu_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                               int64_t stretch_count)
{
    return eh_host_squared_norms(backend, x, stretches, stretch_count, squared_norm);
}
