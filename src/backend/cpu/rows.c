// Rows by index, sums over rows, and softmax and maximum within rows.
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum { ROWS_OF_TASK = 16, COLUMNS_OF_TASK = 256, ROWS_OF_PARTIAL_SUM = 64 };

typedef struct {
    const eh_cpu *cpu;
    const eh_tensor *table, *index, *x, *y;
    eh_output_mode mode;
    int64_t rows, width;
} rows_job;

static void gather_task(void *context, int64_t task, int worker)
{
    const rows_job *job = context;
    const int32_t *row = eh_tensor_address(job->index);
    float *scratch = job->cpu->workers[worker].block;
    const int64_t begin = task * ROWS_OF_TASK, width = job->width;
    for (int64_t i = begin; i < job->rows && i < begin + ROWS_OF_TASK; i++) {
        EH_ASSERT(row[i] >= 0 && row[i] < job->table->shape[0]);
        const float *from = eh_cpu_read(job->cpu, job->table, row[i] * width, width, scratch);
        if (job->mode == EH_ADD) {
            float *y = (float *)(uintptr_t)eh_cpu_read(job->cpu, job->y, i * width, width, scratch + width);
            job->cpu->kernels->add(y, from, width);
            from = y;
        }
        eh_cpu_write(job->cpu, job->y, i * width, width, from);
    }
}

eh_status eh_cpu_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                             const eh_tensor *y)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    rows_job job = {.cpu = cpu, .table = table, .index = index, .y = y, .mode = mode};
    job.rows = eh_tensor_count(index);
    job.width = eh_tensor_count(y) / job.rows;
    EH_TRY(eh_cpu_reserve_workers(cpu, (size_t)(2 * job.width) * sizeof(float)));
    eh_cpu_run(cpu, (job.rows + ROWS_OF_TASK - 1) / ROWS_OF_TASK, gather_task, &job);
    return EH_OK;
}

// A task owns some columns of the table, and goes through the rows in order: equal indices are added in order.
static void scatter_task(void *context, int64_t task, int worker)
{
    const rows_job *job = context;
    const int32_t *row = eh_tensor_address(job->index);
    float *scratch = job->cpu->workers[worker].block;
    const int64_t left = task * COLUMNS_OF_TASK, rest = job->width - left;
    const int64_t count = rest < COLUMNS_OF_TASK ? rest : COLUMNS_OF_TASK;
    for (int64_t i = 0; i < job->rows; i++) {
        EH_ASSERT(row[i] >= 0 && row[i] < job->table->shape[0]);
        const int64_t to = row[i] * job->width + left;
        const float *x = eh_cpu_read(job->cpu, job->x, i * job->width + left, count, scratch);
        float *y = (float *)(uintptr_t)eh_cpu_read(job->cpu, job->table, to, count, scratch + COLUMNS_OF_TASK);
        job->cpu->kernels->add(y, x, count);
        eh_cpu_write(job->cpu, job->table, to, count, y);
    }
}

eh_status eh_cpu_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                  const eh_tensor *table)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    rows_job job = {.cpu = cpu, .table = table, .index = index, .x = x, .rows = eh_tensor_count(index)};
    job.width = eh_tensor_count(x) / job.rows;
    EH_TRY(eh_cpu_reserve_workers(cpu, 2 * COLUMNS_OF_TASK * sizeof(float)));
    eh_cpu_run(cpu, (job.width + COLUMNS_OF_TASK - 1) / COLUMNS_OF_TASK, scatter_task, &job);
    return EH_OK;
}

// Sums of 64 rows each are added up: the rounding grows with rows / 64 instead of rows.
static void column_sum_task(void *context, int64_t task, int worker)
{
    const rows_job *job = context;
    float *x_scratch = job->cpu->workers[worker].block, *sum = x_scratch + COLUMNS_OF_TASK;
    float *total_scratch = sum + COLUMNS_OF_TASK;
    const int64_t left = task * COLUMNS_OF_TASK, rest = job->width - left;
    const int64_t count = rest < COLUMNS_OF_TASK ? rest : COLUMNS_OF_TASK;
    float *total = (float *)(uintptr_t)eh_cpu_read(job->cpu, job->y, left, count, total_scratch);
    for (int64_t first = 0; first < job->rows; first += ROWS_OF_PARTIAL_SUM) {
        memset(sum, 0, (size_t)count * sizeof *sum);
        for (int64_t i = first; i < job->rows && i < first + ROWS_OF_PARTIAL_SUM; i++)
            job->cpu->kernels->add(sum, eh_cpu_read(job->cpu, job->x, i * job->width + left, count, x_scratch), count);
        job->cpu->kernels->add(total, sum, count);
    }
    eh_cpu_write(job->cpu, job->y, left, count, total);
}

eh_status eh_cpu_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    rows_job job = {.cpu = cpu, .x = x, .y = y, .rows = x->shape[0], .width = x->shape[1]};
    EH_TRY(eh_cpu_reserve_workers(cpu, 3 * COLUMNS_OF_TASK * sizeof(float)));
    eh_cpu_run(cpu, (job.width + COLUMNS_OF_TASK - 1) / COLUMNS_OF_TASK, column_sum_task, &job);
    return EH_OK;
}

static void log_softmax_task(void *context, int64_t i, int worker)
{
    const rows_job *job = context;
    const eh_cpu_kernels *kernels = job->cpu->kernels;
    float *row = (float *)eh_tensor_address(job->y) + i * job->width, *part = job->cpu->workers[worker].block;
    const float most = kernels->largest(row, job->width);
    double sum = 0;
    for (int64_t first = 0; first < job->width; first += COLUMNS_OF_TASK) {
        const int64_t rest = job->width - first, count = rest < COLUMNS_OF_TASK ? rest : COLUMNS_OF_TASK;
        memcpy(part, row + first, (size_t)count * sizeof *part);
        sum += kernels->exp_sum(part, most, count);
    }
    kernels->subtract(row, most, job->width); // first the exact part
    kernels->subtract(row, (float)log(sum), job->width);
}

eh_status eh_cpu_log_softmax_rows(eh_backend *backend, const eh_tensor *logits)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    rows_job job = {.cpu = cpu, .y = logits, .rows = logits->shape[0], .width = logits->shape[1]};
    EH_TRY(eh_cpu_reserve_workers(cpu, COLUMNS_OF_TASK * sizeof(float)));
    eh_cpu_run(cpu, job.rows, log_softmax_task, &job);
    return EH_OK;
}

typedef struct {
    eh_cpu *cpu;
    const eh_tensor *log_p, *log_q, *row_weight, *divergence;
    float strength;
    int64_t width;
} divergence_job;

static void divergence_task(void *context, int64_t i, int worker)
{
    const divergence_job *job = context;
    const float *p = (const float *)eh_tensor_address(job->log_p) + i * job->width;
    float *q = (float *)eh_tensor_address(job->log_q) + i * job->width;
    float *p_share = job->cpu->workers[worker].block, *q_share = p_share + COLUMNS_OF_TASK;
    const float factor = job->strength * ((const float *)eh_tensor_address(job->row_weight))[i];
    double sum = 0;
    for (int64_t first = 0; first < job->width; first += COLUMNS_OF_TASK) {
        const int64_t rest = job->width - first, count = rest < COLUMNS_OF_TASK ? rest : COLUMNS_OF_TASK;
        job->cpu->kernels->exponential(p_share, p + first, count);
        job->cpu->kernels->exponential(q_share, q + first, count);
        for (int64_t v = 0; v < count; v++) {
            if (q_share[v] > 0) // 0 log 0 is 0
                sum += (double)q_share[v] * ((double)q[first + v] - (double)p[first + v]);
            q[first + v] = factor * (p_share[v] - q_share[v]);
        }
    }
    ((float *)eh_tensor_address(job->divergence))[i] = (float)sum;
}

eh_status eh_cpu_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                 const eh_tensor *row_weight, float strength, const eh_tensor *divergence)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    divergence_job job = {cpu, log_p, log_q, row_weight, divergence, strength, log_p->shape[1]};
    EH_TRY(eh_cpu_reserve_workers(cpu, 2 * COLUMNS_OF_TASK * sizeof(float)));
    eh_cpu_run(cpu, log_p->shape[0], divergence_task, &job);
    return EH_OK;
}

static bool has_nan(const float *x, int64_t count)
{
    int found = 0; // no early end: vectors
    for (int64_t i = 0; i < count; i++) found |= x[i] != x[i];
    return found != 0;
}

static void argmax_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const rows_job *job = context;
    const float *row = (const float *)eh_tensor_address(job->x) + i * job->width;
    int64_t best = 0;
    for (int64_t first = 0; first < job->width; first += COLUMNS_OF_TASK) { // only a block that has more is searched
        const int64_t rest = job->width - first, count = rest < COLUMNS_OF_TASK ? rest : COLUMNS_OF_TASK;
        if (has_nan(row + first, count)) {
            best = -1;
            break;
        }
        if (job->cpu->kernels->largest(row + first, count) <= row[best])
            continue;
        for (int64_t j = first; j < first + count; j++)
            if (row[j] > row[best])
                best = j;
    }
    ((int32_t *)eh_tensor_address(job->index))[i] = (int32_t)best;
}

eh_status eh_cpu_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    rows_job job = {.cpu = cpu, .x = logits, .index = index, .rows = logits->shape[0], .width = logits->shape[1]};
    eh_cpu_run(cpu, job.rows, argmax_task, &job);
    return EH_OK;
}
