// Element-wise operations in chunks that fit the first-level cache; a chunk is a task's unit, so that 16-bit operands
// are converted while they are there.
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum { CHUNK = 2048, CHUNKS_OF_TASK = 16 };

typedef struct elementwise {
    const eh_cpu *cpu;
    void (*chunk)(const struct elementwise *job, int64_t first, int64_t count, float *scratch);
    const eh_tensor *x, *gate, *y, *grad_y, *grad_x, *grad_gate;
    int64_t count;
    float factor;
    eh_activation kind;
    uint64_t seed, first_index;
} elementwise;

static void run_task(void *context, int64_t i, int worker)
{
    const elementwise *job = context;
    const int64_t begin = i * CHUNK * CHUNKS_OF_TASK, rest = job->count - begin;
    const int64_t end = begin + (rest < CHUNK * CHUNKS_OF_TASK ? rest : CHUNK * CHUNKS_OF_TASK);
    for (int64_t first = begin; first < end; first += CHUNK)
        job->chunk(job, first, end - first < CHUNK ? end - first : CHUNK, job->cpu->workers[worker].block);
}

static eh_status run(eh_backend *backend, elementwise *job)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    job->cpu = cpu;
    EH_TRY(eh_cpu_reserve_workers(cpu, 6 * CHUNK * sizeof(float)));
    eh_cpu_run(cpu, (job->count + CHUNK * CHUNKS_OF_TASK - 1) / (CHUNK * CHUNKS_OF_TASK), run_task, job);
    return EH_OK;
}

static void fill_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    float *y = eh_cpu_place(job->y, first, scratch);
    for (int64_t i = 0; i < count; i++) y[i] = job->factor;
    eh_cpu_write(job->cpu, job->y, first, count, y);
}

eh_status eh_cpu_fill(eh_backend *backend, float value, const eh_tensor *y)
{
    elementwise job = {.chunk = fill_chunk, .y = y, .count = eh_tensor_count(y), .factor = value};
    return run(backend, &job);
}

static void convert_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    if (job->x->dtype == job->y->dtype) { // to the bit, NaN payloads included
        const size_t size = eh_dtype_bytes(job->x->dtype);
        memmove((char *)eh_tensor_address(job->y) + (size_t)first * size,
                (const char *)eh_tensor_address(job->x) + (size_t)first * size, (size_t)count * size);
        return;
    }
    eh_cpu_write(job->cpu, job->y, first, count, eh_cpu_read(job->cpu, job->x, first, count, scratch));
}

eh_status eh_cpu_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    elementwise job = {.chunk = convert_chunk, .x = x, .y = y, .count = eh_tensor_count(y)};
    return run(backend, &job);
}

static void add_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    const float *x = eh_cpu_read(job->cpu, job->x, first, count, scratch);
    float *y = (float *)(uintptr_t)eh_cpu_read(job->cpu, job->y, first, count, scratch + CHUNK);
    job->cpu->kernels->add(y, x, count);
    eh_cpu_write(job->cpu, job->y, first, count, y);
}

eh_status eh_cpu_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    elementwise job = {.chunk = add_chunk, .x = x, .y = y, .count = eh_tensor_count(y)};
    return run(backend, &job);
}

static void scale_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    float *y = (float *)(uintptr_t)eh_cpu_read(job->cpu, job->y, first, count, scratch);
    job->cpu->kernels->scale(y, job->factor, count);
    eh_cpu_write(job->cpu, job->y, first, count, y);
}

eh_status eh_cpu_scale(eh_backend *backend, float factor, const eh_tensor *y)
{
    elementwise job = {.chunk = scale_chunk, .y = y, .count = eh_tensor_count(y), .factor = factor};
    return run(backend, &job);
}

static void dropout_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    const float *x = eh_cpu_read(job->cpu, job->x, first, count, scratch);
    float *y = eh_cpu_place(job->y, first, scratch + CHUNK);
    job->cpu->kernels->dropout(y, x, job->factor, job->seed, job->first_index + (uint64_t)first, count);
    eh_cpu_write(job->cpu, job->y, first, count, y);
}

eh_status eh_cpu_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                         const eh_tensor *y)
{
    elementwise job = {.chunk = dropout_chunk, .x = x, .y = y, .count = eh_tensor_count(y), .factor = p};
    job.seed = seed;
    job.first_index = first_index;
    return run(backend, &job);
}

static void activation_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    const float *x = eh_cpu_read(job->cpu, job->x, first, count, scratch);
    const float *gate = NULL;
    if (eh_tensor_exists(job->gate))
        gate = eh_cpu_read(job->cpu, job->gate, first, count, scratch + CHUNK);
    float *y = eh_cpu_place(job->y, first, scratch + 2 * CHUNK);
    job->cpu->kernels->activation(job->kind, x, gate, y, count);
    eh_cpu_write(job->cpu, job->y, first, count, y);
}

eh_status eh_cpu_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                    const eh_tensor *y)
{
    elementwise job = {.chunk = activation_chunk, .x = x, .gate = gate, .y = y, .kind = kind};
    job.count = eh_tensor_count(x);
    return run(backend, &job);
}

static void activation_backward_chunk(const elementwise *job, int64_t first, int64_t count, float *scratch)
{
    const bool gated = eh_tensor_exists(job->gate);
    const float *x = eh_cpu_read(job->cpu, job->x, first, count, scratch), *gate = NULL;
    const float *grad_y = eh_cpu_read(job->cpu, job->grad_y, first, count, scratch + CHUNK);
    if (gated)
        gate = eh_cpu_read(job->cpu, job->gate, first, count, scratch + 2 * CHUNK);
    float *grad_x = eh_cpu_place(job->grad_x, first, scratch + 3 * CHUNK), *grad_gate = NULL;
    if (gated)
        grad_gate = eh_cpu_place(job->grad_gate, first, scratch + 4 * CHUNK);
    job->cpu->kernels->activation_backward(job->kind, x, gate, grad_y, grad_x, grad_gate, count);
    eh_cpu_write(job->cpu, job->grad_x, first, count, grad_x);
    if (gated)
        eh_cpu_write(job->cpu, job->grad_gate, first, count, grad_gate);
}

eh_status eh_cpu_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                     const eh_tensor *grad_y, const eh_tensor *grad_x, const eh_tensor *grad_gate)
{
    elementwise job = {.chunk = activation_backward_chunk, .x = x, .gate = gate, .grad_y = grad_y, .kind = kind};
    job.grad_x = grad_x;
    job.grad_gate = grad_gate;
    job.count = eh_tensor_count(x);
    return run(backend, &job);
}
