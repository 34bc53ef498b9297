#include <math.h>

#include "backend/reference/reference_internal.h"

static eh_status adamw_step(eh_backend *backend, const eh_adamw *adamw, const eh_tensor *weights,
                            const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy)
{
    (void)backend;
    const double lr = adamw->learning_rate, beta1 = adamw->beta1, beta2 = adamw->beta2, decay = adamw->weight_decay;
    const double correction1 = 1 - pow(beta1, (double)adamw->step), correction2 = 1 - pow(beta2, (double)adamw->step);
    for (int64_t i = 0; i < eh_tensor_count(weights); i++) {
        const double g = (double)eh_get(gradient, i) * adamw->grad_scale;
        const double m_new = beta1 * eh_get(m, i) + (1 - beta1) * g;
        const double v_new = beta2 * eh_get(v, i) + (1 - beta2) * g * g;
        double p = eh_get(weights, i);
        if (adamw->hf_legacy) {
            p -= lr * sqrt(correction2) / correction1 * m_new / (sqrt(v_new) + adamw->eps);
            p -= lr * decay * p;
        } else {
            p -= lr * decay * p;
            p -= lr * (m_new / correction1) / (sqrt(v_new / correction2) + adamw->eps);
        }
        eh_set(weights, i, p);
        eh_set(m, i, m_new);
        eh_set(v, i, v_new);
        if (eh_tensor_exists(copy))
            eh_set(copy, i, eh_get(weights, i));
    }
    return EH_OK;
}

eh_status eh_reference_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs,
                                  int64_t run_count, const eh_tensor *weights, const eh_tensor *gradient,
                                  const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy)
{
    return eh_host_adamw_runs(backend, adamw, runs, run_count, weights, gradient, m, v, copy, adamw_step);
}

eh_status eh_reference_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                            const eh_tensor *importance, const eh_tensor *gradient)
{
    (void)backend;
    for (int64_t i = 0; i < eh_tensor_count(weights); i++) {
        const double own = eh_tensor_exists(importance) ? eh_get(importance, i) : 1;
        const double away = (double)eh_get(weights, i) - eh_get(anchor, i);
        eh_set(gradient, i, eh_get(gradient, i) + strength * own * away);
    }
    return EH_OK;
}

// A binary tree over blocks of 4096 elements, split at the greatest power of two below the count.
static double block_sum(const eh_tensor *x, int64_t begin, int64_t end)
{
    double sum = 0;
    for (int64_t i = begin; i < end; i++) sum += (double)eh_get(x, i) * eh_get(x, i);
    return sum;
}

static double tree_sum(const eh_tensor *x, int64_t count, int64_t first_block, int64_t block_count)
{
    if (block_count == 1) {
        const int64_t begin = first_block * 4096, end = begin + 4096;
        return block_sum(x, begin, end < count ? end : count);
    }
    int64_t left = 1;
    while (left * 2 < block_count) left *= 2;
    return tree_sum(x, count, first_block, left) + tree_sum(x, count, first_block + left, block_count - left);
}

static eh_status squared_norm(eh_backend *backend, const eh_tensor *x, double *sum)
{
    (void)backend;
    const int64_t count = eh_tensor_count(x);
    *sum = tree_sum(x, count, 0, (count + 4095) / 4096);
    return EH_OK;
}

eh_status eh_reference_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                                     int64_t stretch_count)
{
    return eh_host_squared_norms(backend, x, stretches, stretch_count, squared_norm);
}
