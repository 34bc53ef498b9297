// What the backends on the host share: buffers in host memory, and reading or writing one element of any float type.
#ifndef EH_BACKEND_HOST_H
#define EH_BACKEND_HOST_H

#include "backend/backend_internal.h"
#include "core/half.h"

eh_status eh_host_buffer_new(eh_buffer *buffer, const char *purpose);
eh_status eh_host_buffer_view(eh_buffer *buffer, const void *host);
void eh_host_buffer_free(eh_buffer *buffer);
eh_status eh_host_upload(eh_backend *backend, const void *host, const eh_tensor *tensor);
eh_status eh_host_download(eh_backend *backend, const eh_tensor *tensor, void *host);
eh_status eh_host_wait(eh_backend *backend);
eh_status eh_host_reserve(eh_backend *backend, const eh_work_sizes *sizes);
// The product, then the activation, by the backend's own functions.
eh_status eh_host_multiply_activate(eh_backend *backend, const eh_product *product, eh_activation kind,
                                    const eh_tensor *activated);
eh_status eh_host_sample_rows(eh_backend *backend, const eh_sampling *sampling); // sampling.c

// Zeroes the gradients of all rows of the segments.
void eh_host_clear_attention(const eh_attention *attention, const eh_attention_grads *grads);
// Runs and pieces one after the other, by a function for one of them.
typedef eh_status eh_host_adamw(eh_backend *backend, const eh_adamw *adamw, const eh_tensor *weights,
                                const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v,
                                const eh_tensor *copy);
eh_status eh_host_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                             const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m,
                             const eh_tensor *v, const eh_tensor *copy, eh_host_adamw *step);
eh_status eh_host_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                                int64_t stretch_count,
                                eh_status (*squared_norm)(eh_backend *, const eh_tensor *, double *));

// Host addresses of a tensor's elements; NULL where there is no tensor.
static inline void *eh_host_address(const eh_tensor *tensor)
{
    return eh_tensor_exists(tensor) ? eh_tensor_address(tensor) : NULL;
}

static inline float eh_load(const void *address, eh_dtype dtype, int64_t i)
{
    return dtype == EH_F32    ? ((const float *)address)[i]
           : dtype == EH_BF16 ? eh_bf16_to_float(((const uint16_t *)address)[i])
                              : eh_fp16_to_float(((const uint16_t *)address)[i]);
}

static inline void eh_store(void *address, eh_dtype dtype, int64_t i, float value)
{
    if (dtype == EH_F32)
        ((float *)address)[i] = value;
    else
        ((uint16_t *)address)[i] = dtype == EH_BF16 ? eh_bf16_from_float(value) : eh_fp16_from_float(value);
}

static inline float eh_get(const eh_tensor *tensor, int64_t i)
{
    return eh_load(eh_tensor_address(tensor), tensor->dtype, i);
}

static inline void eh_set(const eh_tensor *tensor, int64_t i, double value)
{
    eh_store(eh_tensor_address(tensor), tensor->dtype, i, (float)value);
}

#endif
