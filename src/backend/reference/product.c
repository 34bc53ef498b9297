#include "backend/reference/reference_internal.h"

eh_status eh_reference_multiply(eh_backend *backend, const eh_product *product)
{
    (void)backend;
    const eh_tensor *a = &product->a, *b = &product->b, *y = &product->y;
    const int64_t m = y->shape[0], n = y->shape[1], k = a->shape[product->transpose_a ? 0 : 1];
    const double alpha = product->alpha == 0 ? 1 : product->alpha;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += (double)eh_get(a, product->transpose_a ? l * m + i : i * k + l) *
                       eh_get(b, product->transpose_b ? j * k + l : l * n + j);
            const double bias = eh_tensor_exists(&product->bias) ? eh_get(&product->bias, j) : 0;
            const double old = product->mode == EH_ADD ? eh_get(y, i * n + j) : 0;
            eh_set(y, i * n + j, old + alpha * sum + bias);
        }
    return EH_OK;
}
