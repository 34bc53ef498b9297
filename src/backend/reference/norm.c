#include <math.h>

#include "backend/reference/reference_internal.h"

// s = x + residual; y = weight (s - mean) scale + bias. RMS normalisation is the same with mean = 0.
eh_status eh_reference_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x,
                                    const eh_tensor *residual, const eh_tensor *sum, const eh_tensor *y,
                                    const eh_tensor *mean, const eh_tensor *scale)
{
    (void)backend;
    const int64_t rows = x->shape[0], n = x->shape[1];
    for (int64_t r = 0; r < rows; r++) {
        const eh_tensor *s = x;
        if (eh_tensor_exists(residual)) {
            for (int64_t i = r * n; i < r * n + n; i++) eh_set(sum, i, (double)eh_get(x, i) + eh_get(residual, i));
            s = sum;
        }
        double average = 0, square = 0;
        if (norm->kind == EH_LAYER_NORM)
            for (int64_t i = 0; i < n; i++) average += (double)eh_get(s, r * n + i) / (double)n;
        for (int64_t i = 0; i < n; i++) square += pow(eh_get(s, r * n + i) - average, 2) / (double)n;
        const double factor = 1 / sqrt(square + norm->eps);
        if (norm->kind == EH_LAYER_NORM)
            eh_set(mean, r, average);
        eh_set(scale, r, factor);
        for (int64_t i = 0; i < n; i++) {
            const double bias = eh_tensor_exists(&norm->bias) ? eh_get(&norm->bias, i) : 0;
            eh_set(y, r * n + i, eh_get(&norm->weight, i) * (eh_get(s, r * n + i) - average) * factor + bias);
        }
    }
    return EH_OK;
}

// With h = (x - mean) scale and g = grad_y weight: grad_x = scale (g - mean(g) - h mean(g h)), without mean(g) for RMS.
eh_status eh_reference_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x,
                                     const eh_tensor *mean, const eh_tensor *scale, const eh_tensor *grad_y,
                                     eh_output_mode mode, const eh_tensor *grad_x, const eh_tensor *grad_weight,
                                     const eh_tensor *grad_bias)
{
    (void)backend;
    const int64_t rows = x->shape[0], n = x->shape[1];
    const bool centred = norm->kind == EH_LAYER_NORM;
    for (int64_t j = 0; j < n; j++) {
        double weight_sum = 0, bias_sum = 0;
        for (int64_t r = 0; r < rows; r++) {
            const double grad = eh_get(grad_y, r * n + j);
            weight_sum += grad * (eh_get(x, r * n + j) - (centred ? (double)eh_get(mean, r) : 0)) * eh_get(scale, r);
            bias_sum += grad;
        }
        if (eh_tensor_exists(grad_weight))
            eh_set(grad_weight, j, eh_get(grad_weight, j) + weight_sum);
        if (eh_tensor_exists(grad_bias))
            eh_set(grad_bias, j, eh_get(grad_bias, j) + bias_sum);
    }
    for (int64_t r = 0; r < rows; r++) { // after the sums: grad_x may be grad_y
        const double average = centred ? eh_get(mean, r) : 0, factor = eh_get(scale, r);
        double g_mean = 0, gh_mean = 0;
        for (int64_t i = 0; i < n; i++) {
            const double g = (double)eh_get(grad_y, r * n + i) * eh_get(&norm->weight, i);
            g_mean += centred ? g / (double)n : 0;
            gh_mean += g * (eh_get(x, r * n + i) - average) * factor / (double)n;
        }
        for (int64_t i = 0; i < n; i++) {
            const double g = (double)eh_get(grad_y, r * n + i) * eh_get(&norm->weight, i);
            const double h = (eh_get(x, r * n + i) - average) * factor;
            const double old = mode == EH_ADD ? eh_get(grad_x, r * n + i) : 0;
            eh_set(grad_x, r * n + i, old + factor * (g - g_mean - h * gh_mean));
        }
    }
    return EH_OK;
}
