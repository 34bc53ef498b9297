#include "backend/cpu/cpu_internal.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/list.h"
#include "core/memory.h"

static bool can_run(const eh_cpu_kernels *kernels)
{
#if defined(__x86_64__)
    if (kernels == &eh_cpu_kernels_avx512 || kernels == &eh_cpu_kernels_avx512_bf16)
        return (kernels == &eh_cpu_kernels_avx512 || __builtin_cpu_supports("avx512bf16")) &&
               __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (kernels == &eh_cpu_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
               __builtin_cpu_supports("bmi2");
#endif
    return kernels == &eh_cpu_kernels_base || kernels == &eh_cpu_kernels_wide;
}

// The best that the machine has, or the one that EVENHAND_CPU_ISA asks for: avx512bf16, avx512, avx2, baseline,
// or wide (for tests).
static eh_status choose_kernels(const eh_cpu_kernels **chosen)
{
    static const struct {
        const char *name;
        const eh_cpu_kernels *kernels;
    } known[] = {{"avx512bf16", &eh_cpu_kernels_avx512_bf16},
                 {"avx512", &eh_cpu_kernels_avx512},
                 {"avx2", &eh_cpu_kernels_avx2},
                 {"baseline", &eh_cpu_kernels_base},
                 {"wide", &eh_cpu_kernels_wide}};
    const char *wanted = getenv("EVENHAND_CPU_ISA");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (wanted != NULL && strcmp(wanted, known[i].name) != 0)
            continue;
        if (can_run(known[i].kernels)) {
            *chosen = known[i].kernels;
            return EH_OK;
        }
        if (wanted != NULL)
            return eh_error(EH_MACHINE, "EVENHAND_CPU_ISA asks for %s, which this machine lacks", wanted);
    }
    return eh_error(EH_INPUT, "EVENHAND_CPU_ISA is '%s'; there are avx512bf16, avx512, avx2, baseline and wide",
                    wanted);
}

static void cpu_close(eh_backend *backend)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    if (cpu == NULL)
        return;
    for (int i = 0; cpu->workers != NULL && i < cpu->threads; i++)
        eh_unmap(&cpu->workers[i].block, cpu->workers[i].bytes);
    eh_unmap(&cpu->shared.block, cpu->shared.bytes);
    eh_unmap(&cpu->logits.block, cpu->logits.bytes);
    eh_cpu_packed_free(&cpu->packed);
    eh_free(&cpu->workers);
    eh_free(&cpu);
    backend->state = NULL;
}

static eh_status cpu_open(eh_backend *backend, int local_rank, int threads)
{
    (void)local_rank;
    eh_cpu *cpu = NULL;
    EH_TRY(EH_ALLOC(1, &cpu));
    backend->state = cpu;
    backend->shares_host_memory = true;
    eh_status status = EH_OK;
    EH_TRY_OR(failed, choose_kernels(&cpu->kernels));
    backend->packs_bf16 = cpu->kernels->pairs;
    cpu->threads = threads > 0 ? threads : omp_get_max_threads(); // the binding's processors, or OMP_NUM_THREADS
    EH_TRY_OR(failed, EH_ALLOC(cpu->threads, &cpu->workers));
    snprintf(backend->description, sizeof backend->description, "%s, %d thread%s", cpu->kernels->name, cpu->threads,
             cpu->threads == 1 ? "" : "s");
    return EH_OK;
failed:
    cpu_close(backend);
    return status;
}

void eh_cpu_run(eh_cpu *cpu, int64_t count, eh_task *task, void *context)
{
    const int threads = count < cpu->threads ? (int)count : cpu->threads;
    if (threads <= 1) {
        for (int64_t i = 0; i < count; i++) task(context, i, 0);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < count; i++) task(context, i, omp_get_thread_num());
}

eh_status eh_arena_reserve(eh_arena *arena, size_t bytes)
{
    if (bytes <= arena->bytes)
        return EH_OK;
    eh_unmap(&arena->block, arena->bytes);
    arena->bytes = 0;
    bytes += bytes / 4; // a little more, so that slowly growing sizes end soon
    EH_TRY(eh_map(bytes, "scratch memory", &arena->block));
    arena->bytes = bytes;
    return EH_OK;
}

eh_status eh_cpu_reserve_workers(eh_cpu *cpu, size_t bytes)
{
    for (int i = 0; i < cpu->threads; i++) EH_TRY(eh_arena_reserve(&cpu->workers[i], bytes));
    return EH_OK;
}

const float *eh_cpu_read(const eh_cpu *cpu, const eh_tensor *x, int64_t first, int64_t count, float *scratch)
{
    if (x->dtype == EH_F32)
        return (const float *)eh_tensor_address(x) + first;
    cpu->kernels->to_float(scratch, (const uint16_t *)eh_tensor_address(x) + first, x->dtype, count);
    return scratch;
}

float *eh_cpu_place(const eh_tensor *y, int64_t first, float *scratch)
{
    return y->dtype == EH_F32 ? (float *)eh_tensor_address(y) + first : scratch;
}

void eh_cpu_write(const eh_cpu *cpu, const eh_tensor *y, int64_t first, int64_t count, const float *result)
{
    if (y->dtype == EH_F32) {
        float *place = (float *)eh_tensor_address(y) + first;
        if (place != result)
            memcpy(place, result, (size_t)count * sizeof *place);
        return;
    }
    cpu->kernels->from_float((uint16_t *)eh_tensor_address(y) + first, result, y->dtype, count);
}

static void cpu_buffer_free(eh_buffer *buffer)
{
    eh_cpu_forget_packed(eh_cpu_of(buffer->backend), buffer->serial);
    eh_host_buffer_free(buffer);
}

const eh_backend_table eh_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .buffer_new = eh_host_buffer_new,
    .buffer_view = eh_host_buffer_view,
    .buffer_free = cpu_buffer_free,
    .upload = eh_host_upload,
    .download = eh_host_download,
    .wait = eh_host_wait,
    .reserve = eh_host_reserve,
    .fill = eh_cpu_fill,
    .convert = eh_cpu_convert,
    .add = eh_cpu_add,
    .scale = eh_cpu_scale,
    .dropout = eh_cpu_dropout,
    .activation_forward = eh_cpu_activation_forward,
    .activation_backward = eh_cpu_activation_backward,
    .gather_rows = eh_cpu_gather_rows,
    .scatter_add_rows = eh_cpu_scatter_add_rows,
    .column_sum = eh_cpu_column_sum,
    .norm_forward = eh_cpu_norm_forward,
    .norm_backward = eh_cpu_norm_backward,
    .multiply = eh_cpu_multiply,
    .multiply_activate = eh_host_multiply_activate,
    .attention_forward = eh_cpu_attention_forward,
    .attention_backward = eh_cpu_attention_backward,
    .output_forward = eh_cpu_output_forward,
    .output_backward = eh_cpu_output_backward,
    .log_softmax_rows = eh_cpu_log_softmax_rows,
    .divergence_rows = eh_cpu_divergence_rows,
    .pull = eh_cpu_pull,
    .argmax_rows = eh_cpu_argmax_rows,
    .sample_rows = eh_host_sample_rows,
    .adamw_runs = eh_cpu_adamw_runs,
    .squared_norms = eh_cpu_squared_norms,
    .limits = eh_cpu_limits,
};
