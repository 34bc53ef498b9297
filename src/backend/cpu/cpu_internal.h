// The CPU backend: how its threads share work and scratch memory. A task's result never depends on which thread runs it
// or on how many there are; sums across tasks are added in the tasks' order.
#ifndef EH_BACKEND_CPU_CPU_INTERNAL_H
#define EH_BACKEND_CPU_CPU_INTERNAL_H

#include "backend/backend_internal.h"
#include "backend/cpu/kernels.h"
#include "backend/host.h"

typedef struct {
    void *block;
    size_t bytes;
} eh_arena;

typedef struct eh_packed eh_packed; // packed copies of constant matrices: packed.c

typedef struct {
    const eh_cpu_kernels *kernels;
    int threads;
    eh_arena *workers; // [threads]
    eh_arena shared;
    eh_arena logits; // what output_forward keeps for output_backward
    eh_output_layer logits_of;
    eh_packed *packed;
} eh_cpu;

static inline eh_cpu *eh_cpu_of(const eh_backend *backend)
{
    return backend->state;
}

// Runs task(context, i, worker) for i in 0 .. count - 1, in any order, on the backend's threads; without a parallel
// region if there is one thread or one task. worker < threads says whose scratch the task may use.
typedef void eh_task(void *context, int64_t i, int worker);
void eh_cpu_run(eh_cpu *cpu, int64_t count, eh_task *task, void *context);

// Makes an arena at least so big; what was in it is lost. Every worker's: before the tasks run.
EH_CHECKED eh_status eh_arena_reserve(eh_arena *arena, size_t bytes);
EH_CHECKED eh_status eh_cpu_reserve_workers(eh_cpu *cpu, size_t bytes);

static inline size_t eh_round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

// `count` elements from element `first` of a tensor as fp32: in place, or converted to `scratch`.
const float *eh_cpu_read(const eh_cpu *cpu, const eh_tensor *x, int64_t first, int64_t count, float *scratch);
// Where fp32 results for those elements are to be put, and, once they are there, what brings them to the tensor.
float *eh_cpu_place(const eh_tensor *y, int64_t first, float *scratch);
void eh_cpu_write(const eh_cpu *cpu, const eh_tensor *y, int64_t first, int64_t count, const float *result);

// product.c. The packed copy of a constant b, or NULL if there is none.
const float *eh_cpu_packed(eh_cpu *cpu, const eh_tensor *b, const eh_gemm *gemm, eh_status *status);
void eh_cpu_forget_packed(eh_cpu *cpu, uint64_t serial); // of a buffer
void eh_cpu_packed_free(eh_packed **packed);

eh_status eh_cpu_fill(eh_backend *backend, float value, const eh_tensor *y);
eh_status eh_cpu_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
eh_status eh_cpu_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
eh_status eh_cpu_scale(eh_backend *backend, float factor, const eh_tensor *y);
eh_status eh_cpu_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                         const eh_tensor *y);
eh_status eh_cpu_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                    const eh_tensor *y);
eh_status eh_cpu_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                     const eh_tensor *grad_y, const eh_tensor *grad_x, const eh_tensor *grad_gate);
eh_status eh_cpu_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                             const eh_tensor *y);
eh_status eh_cpu_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                  const eh_tensor *table);
eh_status eh_cpu_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
eh_status eh_cpu_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                 const eh_tensor *row_weight, float strength, const eh_tensor *divergence);
eh_status eh_cpu_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                      const eh_tensor *importance, const eh_tensor *gradient);
eh_status eh_cpu_log_softmax_rows(eh_backend *backend, const eh_tensor *logits);
eh_status eh_cpu_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index);
eh_status eh_cpu_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *residual,
                              const eh_tensor *sum, const eh_tensor *y, const eh_tensor *mean, const eh_tensor *scale);
eh_status eh_cpu_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *mean,
                               const eh_tensor *scale, const eh_tensor *grad_y, eh_output_mode mode,
                               const eh_tensor *grad_x, const eh_tensor *grad_weight, const eh_tensor *grad_bias);
eh_status eh_cpu_multiply(eh_backend *backend, const eh_product *product);
eh_status eh_cpu_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                   const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                   const eh_tensor *log_sum_exp);
eh_status eh_cpu_attention_backward(eh_backend *backend, const eh_attention *attention,
                                    const eh_attention_grads *grads);
eh_status eh_cpu_output_forward(eh_backend *backend, const eh_output_layer *layer);
eh_status eh_cpu_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                 const eh_tensor *grad_hidden, const eh_tensor *grad_weight,
                                 const eh_tensor *grad_bias);
eh_status eh_cpu_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                            const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v,
                            const eh_tensor *copy);
eh_status eh_cpu_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes);
eh_status eh_cpu_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                               int64_t stretch_count);

#endif
