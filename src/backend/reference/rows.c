#include <math.h>

#include "backend/reference/reference_internal.h"

eh_status eh_reference_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index,
                                   eh_output_mode mode, const eh_tensor *y)
{
    (void)backend;
    const int32_t *row = eh_tensor_address(index);
    const int64_t count = eh_tensor_count(index), width = eh_tensor_count(y) / count;
    for (int64_t i = 0; i < count; i++) {
        EH_ASSERT(row[i] >= 0 && row[i] < table->shape[0]);
        for (int64_t j = 0; j < width; j++) {
            const double old = mode == EH_ADD ? eh_get(y, i * width + j) : 0;
            eh_set(y, i * width + j, old + eh_get(table, row[i] * width + j));
        }
    }
    return EH_OK;
}

eh_status eh_reference_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                        const eh_tensor *table)
{
    (void)backend;
    const int32_t *row = eh_tensor_address(index);
    const int64_t count = eh_tensor_count(index), width = eh_tensor_count(x) / count;
    for (int64_t i = 0; i < count; i++) {
        EH_ASSERT(row[i] >= 0 && row[i] < table->shape[0]);
        for (int64_t j = 0; j < width; j++)
            eh_set(table, row[i] * width + j, (double)eh_get(table, row[i] * width + j) + eh_get(x, i * width + j));
    }
    return EH_OK;
}

eh_status eh_reference_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    (void)backend;
    const int64_t rows = x->shape[0], n = x->shape[1];
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++) sum += eh_get(x, i * n + j);
        eh_set(y, j, eh_get(y, j) + sum);
    }
    return EH_OK;
}

eh_status eh_reference_log_softmax_rows(eh_backend *backend, const eh_tensor *logits)
{
    (void)backend;
    const int64_t n = logits->shape[1];
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        float *row = (float *)eh_tensor_address(logits) + i * n;
        double largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < n; j++) largest = fmax(largest, row[j]);
        for (int64_t j = 0; j < n; j++) sum += exp(row[j] - largest);
        for (int64_t j = 0; j < n; j++) row[j] = (float)(row[j] - largest - log(sum));
    }
    return EH_OK;
}

eh_status eh_reference_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                       const eh_tensor *row_weight, float strength, const eh_tensor *divergence)
{
    (void)backend;
    const int64_t n = log_p->shape[1];
    for (int64_t i = 0; i < log_p->shape[0]; i++) {
        const float *p = (const float *)eh_tensor_address(log_p) + i * n;
        float *q = (float *)eh_tensor_address(log_q) + i * n;
        const double factor = (double)strength * eh_get(row_weight, i);
        double sum = 0;
        for (int64_t v = 0; v < n; v++) {
            const double share = exp(q[v]);
            sum += share > 0 ? share * ((double)q[v] - p[v]) : 0;
            q[v] = (float)(factor * (exp(p[v]) - share));
        }
        eh_set(divergence, i, sum);
    }
    return EH_OK;
}

eh_status eh_reference_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index)
{
    (void)backend;
    const int64_t n = logits->shape[1];
    int32_t *best = eh_tensor_address(index);
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        const float *row = (const float *)eh_tensor_address(logits) + i * n;
        best[i] = 0;
        for (int64_t j = 0; j < n && best[i] >= 0; j++)
            if (isnan(row[j]))
                best[i] = -1;
            else if (row[j] > row[best[i]])
                best[i] = (int32_t)j;
    }
    return EH_OK;
}
