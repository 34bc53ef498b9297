// What the machine can do at most, measured: multiplications in registers and reading memory, on all threads at once.
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "core/clock.h"
#include "core/memory.h"

enum { ROUNDS = 200000, REPEATS = 5, PARTS = 16 };         // a repeat takes a few milliseconds
static const int64_t floats_of_thread = (int64_t)24 << 20; // 96 MiB: more than the caches hold

typedef struct {
    const eh_cpu_kernels *kernels;
    bool pairs;
    double *done; // [threads]
    float *memory;
    int64_t part; // floats
} probe;

static void multiply_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const probe *p = context;
    float sums[10 * 16];
    p->done[i] = p->kernels->multiply_in_registers(p->pairs, ROUNDS, sums);
}

static void write_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const probe *p = context;
    memset(p->memory + i * p->part, 0, (size_t)p->part * sizeof *p->memory); // else all pages are one page of zeros
}

static void read_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const probe *p = context;
    const volatile double sum = p->kernels->sum_of_squares(p->memory + i * p->part, p->part);
    (void)sum;
}

static double quickest(eh_cpu *cpu, int64_t count, eh_task *task, probe *p)
{
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        const double began = eh_seconds();
        eh_cpu_run(cpu, count, task, p);
        const double taken = eh_seconds() - began;
        if (r == 0 || taken < best)
            best = taken;
    }
    return best;
}

eh_status eh_cpu_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    const size_t block_bytes = (size_t)(floats_of_thread * cpu->threads) * sizeof(float);
    probe p = {.kernels = cpu->kernels, .pairs = dtype == EH_BF16 && cpu->kernels->pairs};
    void *block = NULL;
    EH_TRY(EH_ALLOC(cpu->threads, &p.done));
    const eh_status status = eh_map(block_bytes, "a probe of the memory's speed", &block);
    if (status != EH_OK) {
        eh_free(&p.done);
        return status;
    }
    double sum = 0;
    const double multiplied = quickest(cpu, cpu->threads, multiply_task, &p);
    for (int i = 0; i < cpu->threads; i++) sum += p.done[i];
    *flops = sum / multiplied;
    p.memory = block;
    p.part = floats_of_thread / PARTS;
    eh_cpu_run(cpu, (int64_t)cpu->threads * PARTS, write_task, &p);
    *bytes = (double)block_bytes / quickest(cpu, (int64_t)cpu->threads * PARTS, read_task, &p);
    eh_unmap(&block, block_bytes);
    eh_free(&p.done);
    return EH_OK;
}
