// The output layer with cross-entropy: logits z_v = scale h.w_v + bias_v, log p_v = z_v - log sum_u exp(z_u).
#include <math.h>

#include "backend/reference/reference_internal.h"
#include "core/memory.h"

static double logits_of_row(const eh_output_layer *layer, int64_t i, double *z)
{
    const int64_t width = layer->hidden.shape[1], vocabulary = layer->weight.shape[0];
    double largest = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocabulary; v++) {
        z[v] = 0;
        for (int64_t e = 0; e < width; e++)
            z[v] += (double)eh_get(&layer->hidden, i * width + e) * eh_get(&layer->weight, v * width + e);
        z[v] = layer->scale * z[v] + (eh_tensor_exists(&layer->bias) ? eh_get(&layer->bias, v) : 0);
        largest = fmax(largest, z[v]);
    }
    for (int64_t v = 0; v < vocabulary; v++) sum += exp(z[v] - largest);
    return largest + log(sum);
}

eh_status eh_reference_output_forward(eh_backend *backend, const eh_output_layer *layer)
{
    (void)backend;
    const int32_t *target = eh_tensor_address(&layer->target);
    double *z = NULL;
    EH_TRY(EH_ALLOC(layer->weight.shape[0], &z));
    for (int64_t i = 0; i < layer->hidden.shape[0]; i++) {
        EH_ASSERT(target[i] >= 0 && target[i] < layer->weight.shape[0]);
        const double log_sum_exp = logits_of_row(layer, i, z);
        eh_set(&layer->log_sum_exp, i, log_sum_exp);
        eh_set(&layer->log_probability, i, z[target[i]] - log_sum_exp);
    }
    eh_free(&z);
    return EH_OK;
}

// grad_z_v = row_weight (p_v - [v = target]).
eh_status eh_reference_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                       const eh_tensor *grad_hidden, const eh_tensor *grad_weight,
                                       const eh_tensor *grad_bias)
{
    (void)backend;
    const int32_t *target = eh_tensor_address(&layer->target);
    const int64_t n = layer->hidden.shape[0], width = layer->hidden.shape[1], vocabulary = layer->weight.shape[0];
    double *z = NULL;
    EH_TRY(EH_ALLOC(n * vocabulary, &z));
    for (int64_t i = 0; i < n; i++) {
        double *row = z + i * vocabulary;
        (void)logits_of_row(layer, i, row);
        const double log_sum_exp = eh_get(&layer->log_sum_exp, i), weight = eh_get(row_weight, i);
        for (int64_t v = 0; v < vocabulary; v++)
            row[v] = weight * (exp(row[v] - log_sum_exp) - (v == target[i] ? 1 : 0));
        for (int64_t e = 0; e < width; e++) {
            double sum = 0;
            for (int64_t v = 0; v < vocabulary; v++) sum += row[v] * eh_get(&layer->weight, v * width + e);
            eh_set(grad_hidden, i * width + e, layer->scale * sum);
        }
    }
    for (int64_t v = 0; v < vocabulary; v++) {
        for (int64_t e = 0; e < width && eh_tensor_exists(grad_weight); e++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++) sum += z[i * vocabulary + v] * eh_get(&layer->hidden, i * width + e);
            const double before = layer->gradient_is_fresh ? 0 : eh_get(grad_weight, v * width + e);
            eh_set(grad_weight, v * width + e, before + layer->scale * sum);
        }
        double bias_sum = 0;
        for (int64_t i = 0; i < n; i++) bias_sum += z[i * vocabulary + v];
        if (eh_tensor_exists(grad_bias))
            eh_set(grad_bias, v, eh_get(grad_bias, v) + bias_sum);
    }
    eh_free(&z);
    return EH_OK;
}
