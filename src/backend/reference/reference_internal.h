// The reference backend: every operation as its equation says, in plain loops, with sums in double. It is what the
// other backends are judged by, and a device of its own, so that a wrong number is bisected by switching devices.
#ifndef EH_BACKEND_REFERENCE_REFERENCE_INTERNAL_H
#define EH_BACKEND_REFERENCE_REFERENCE_INTERNAL_H

#include "backend/backend_internal.h"
#include "backend/host.h"

// elementwise.c
eh_status eh_reference_fill(eh_backend *backend, float value, const eh_tensor *y);
eh_status eh_reference_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
eh_status eh_reference_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
eh_status eh_reference_scale(eh_backend *backend, float factor, const eh_tensor *y);
eh_status eh_reference_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                               const eh_tensor *y);
eh_status eh_reference_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                          const eh_tensor *gate, const eh_tensor *y);
eh_status eh_reference_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                           const eh_tensor *gate, const eh_tensor *grad_y, const eh_tensor *grad_x,
                                           const eh_tensor *grad_gate);
// rows.c
eh_status eh_reference_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index,
                                   eh_output_mode mode, const eh_tensor *y);
eh_status eh_reference_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                        const eh_tensor *table);
eh_status eh_reference_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
eh_status eh_reference_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                       const eh_tensor *row_weight, float strength, const eh_tensor *divergence);
eh_status eh_reference_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                            const eh_tensor *importance, const eh_tensor *gradient);
eh_status eh_reference_log_softmax_rows(eh_backend *backend, const eh_tensor *logits);
eh_status eh_reference_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index);
// norm.c
eh_status eh_reference_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x,
                                    const eh_tensor *residual, const eh_tensor *sum, const eh_tensor *y,
                                    const eh_tensor *mean, const eh_tensor *scale);
eh_status eh_reference_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x,
                                     const eh_tensor *mean, const eh_tensor *scale, const eh_tensor *grad_y,
                                     eh_output_mode mode, const eh_tensor *grad_x, const eh_tensor *grad_weight,
                                     const eh_tensor *grad_bias);
// product.c
eh_status eh_reference_multiply(eh_backend *backend, const eh_product *product);
// attention.c
eh_status eh_reference_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                         const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                         const eh_tensor *log_sum_exp);
eh_status eh_reference_attention_backward(eh_backend *backend, const eh_attention *attention,
                                          const eh_attention_grads *grads);
// output.c
eh_status eh_reference_output_forward(eh_backend *backend, const eh_output_layer *layer);
eh_status eh_reference_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                       const eh_tensor *grad_hidden, const eh_tensor *grad_weight,
                                       const eh_tensor *grad_bias);
// optimiser.c
eh_status eh_reference_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs,
                                  int64_t run_count, const eh_tensor *weights, const eh_tensor *gradient,
                                  const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy);
eh_status eh_reference_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes);
eh_status eh_reference_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                                     int64_t stretch_count);

#endif
