#include <math.h>
#include <string.h>

#include "backend/reference/reference_internal.h"

#define PI 3.14159265358979323846
#define SQRT_HALF 0.70710678118654752440

eh_status eh_reference_fill(eh_backend *backend, float value, const eh_tensor *y)
{
    (void)backend;
    for (int64_t i = 0; i < eh_tensor_count(y); i++) eh_set(y, i, value);
    return EH_OK;
}

eh_status eh_reference_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    (void)backend;
    if (x->dtype == y->dtype) { // to the bit, NaN payloads included
        memmove(eh_tensor_address(y), eh_tensor_address(x), eh_tensor_bytes(x));
        return EH_OK;
    }
    for (int64_t i = 0; i < eh_tensor_count(y); i++) eh_set(y, i, eh_get(x, i));
    return EH_OK;
}

eh_status eh_reference_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    (void)backend;
    for (int64_t i = 0; i < eh_tensor_count(y); i++) eh_set(y, i, (double)eh_get(y, i) + eh_get(x, i));
    return EH_OK;
}

eh_status eh_reference_scale(eh_backend *backend, float factor, const eh_tensor *y)
{
    (void)backend;
    for (int64_t i = 0; i < eh_tensor_count(y); i++) eh_set(y, i, (double)eh_get(y, i) * factor);
    return EH_OK;
}

eh_status eh_reference_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                               const eh_tensor *y)
{
    (void)backend;
    const uint32_t threshold = eh_dropout_threshold(p);
    for (int64_t i = 0; i < eh_tensor_count(y); i++) {
        const bool kept = eh_dropout_word(seed, first_index + (uint64_t)i) >= threshold;
        eh_set(y, i, kept ? (double)eh_get(x, i) / (1 - (double)p) : 0);
    }
    return EH_OK;
}

// Hendrycks & Gimpel 2016: x Phi(x), and its approximation by tanh.
static double activation(eh_activation kind, double x)
{
    switch (kind) {
    case EH_GELU_ERF:
        return 0.5 * x * erfc(-x * SQRT_HALF);
    case EH_GELU_TANH:
        return x / (1 + exp(-2 * sqrt(2 / PI) * (x + 0.044715 * x * x * x)));
    case EH_RELU:
        return x > 0 ? x : x <= 0 ? 0 : x; // NaN stays
    case EH_SILU:
        return x / (1 + exp(-x));
    case EH_TANH:
        return tanh(x);
    }
    return NAN;
}

static double activation_slope(eh_activation kind, double x)
{
    switch (kind) {
    case EH_GELU_ERF:
        return 0.5 * erfc(-x * SQRT_HALF) + x * exp(-0.5 * x * x) / sqrt(2 * PI);
    case EH_GELU_TANH: {
        const double inner = sqrt(2 / PI) * (x + 0.044715 * x * x * x), t = tanh(inner);
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / PI) * (1 + 3 * 0.044715 * x * x);
    }
    case EH_RELU:
        return x > 0 ? 1 : x <= 0 ? 0 : x;
    case EH_SILU: {
        const double sigmoid = 1 / (1 + exp(-x));
        return sigmoid * (1 + x * (1 - sigmoid));
    }
    case EH_TANH:
        return 1 - tanh(x) * tanh(x);
    }
    return NAN;
}

eh_status eh_reference_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                          const eh_tensor *gate, const eh_tensor *y)
{
    (void)backend;
    for (int64_t i = 0; i < eh_tensor_count(x); i++)
        eh_set(y, i, activation(kind, eh_get(x, i)) * (eh_tensor_exists(gate) ? eh_get(gate, i) : 1));
    return EH_OK;
}

eh_status eh_reference_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                           const eh_tensor *gate, const eh_tensor *grad_y, const eh_tensor *grad_x,
                                           const eh_tensor *grad_gate)
{
    (void)backend;
    for (int64_t i = 0; i < eh_tensor_count(x); i++) {
        const double at = eh_get(x, i), grad = eh_get(grad_y, i); // read first: an output may be grad_y
        const double open = eh_tensor_exists(gate) ? eh_get(gate, i) : 1;
        eh_set(grad_x, i, grad * open * activation_slope(kind, at));
        if (eh_tensor_exists(gate))
            eh_set(grad_gate, i, grad * activation(kind, at));
    }
    return EH_OK;
}
