// Matrix products by cuBLAS. Row-major C = A B is column-major C^T = B^T A^T, so the operands change places.
#include <limits.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/product.cuh"

namespace
{

__global__ void bias_kernel(eh_array bias, eh_array y, int64_t rows, int64_t columns, bool add)
{
    const int64_t quads = (columns + 3) / 4;
    for (int64_t at = eh_thread_index(); at < rows * quads; at += eh_thread_count()) {
        const int64_t row = at / quads, column = 4 * (at % quads), begin = row * columns, end = begin + columns;
        float4 value = eh_load4(bias, column, columns);
        if (add) {
            const float4 old = eh_load4(y, begin + column, end);
            value = make_float4(value.x + old.x, value.y + old.y, value.z + old.z, value.w + old.w);
        }
        eh_store4(y, begin + column, end, value);
    }
}

cudaDataType cuda_type(eh_dtype dtype)
{
    return dtype == EH_F32 ? CUDA_R_32F : dtype == EH_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

} // namespace

eh_status eh_cuda_gemm(eh_backend *backend, const eh_cuda_gemm_call *call)
{
    EH_ASSERT(call->m <= INT_MAX && call->n <= INT_MAX && call->k <= INT_MAX);
    const int m = static_cast<int>(call->m), n = static_cast<int>(call->n), k = static_cast<int>(call->k);
    EH_CUBLAS(cublasGemmEx(eh_cuda(backend)->blas, call->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                           call->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &call->alpha, call->b,
                           cuda_type(call->input_type), call->transpose_b ? k : n, call->a, cuda_type(call->input_type),
                           call->transpose_a ? m : k, &call->beta, call->y, cuda_type(call->output_type), n,
                           CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    return EH_OK;
}

namespace
{

size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

// The tensor in another type, converted into scratch memory at *next, which moves on.
eh_status converted(eh_backend *backend, const eh_tensor *x, eh_dtype dtype, eh_buffer *scratch, size_t *next,
                    eh_tensor *y)
{
    *y = *x;
    y->buffer = scratch;
    y->offset = *next;
    y->dtype = dtype;
    *next += aligned(eh_tensor_bytes(y));
    return eh_cuda_convert(backend, x, y);
}

} // namespace

// cuBLAS wants a and b of one type, and y in fp32 or like them. Operands of different types meet in fp32.
eh_status eh_cuda_multiply(eh_backend *backend, const eh_product *product)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t m = product->y.shape[0], n = product->y.shape[1];
    const int64_t k = product->transpose_a ? product->a.shape[0] : product->a.shape[1];
    if (m == 0 || n == 0)
        return EH_OK;
    eh_tensor a = product->a, b = product->b, y = product->y;
    const eh_dtype type = a.dtype == b.dtype ? a.dtype : EH_F32;
    const bool has_bias = eh_tensor_exists(&product->bias);
    // What is there already must not be rounded before the product is added to it.
    const bool y_differs = y.dtype != EH_F32 && (y.dtype != type || has_bias || product->mode == EH_ADD);
    const auto floats = [](const eh_tensor &t) {
        return aligned(static_cast<size_t>(eh_tensor_count(&t)) * sizeof(float));
    };
    const size_t bytes =
        (a.dtype != type ? floats(a) : 0) + (b.dtype != type ? floats(b) : 0) + (y_differs ? floats(y) : 0);
    eh_buffer scratch = {};
    scratch.backend = backend;
    size_t next = 0;
    if (bytes > 0)
        EH_TRY(eh_cuda_scratch(backend, bytes, &scratch.address));
    if (a.dtype != type)
        EH_TRY(converted(backend, &product->a, type, &scratch, &next, &a));
    if (b.dtype != type)
        EH_TRY(converted(backend, &product->b, type, &scratch, &next, &b));
    if (y_differs)
        EH_TRY(converted(backend, &product->y, EH_F32, &scratch, &next, &y));
    if (has_bias) {
        LAUNCH(bias_kernel, eh_grid_for(state, m * ((n + 3) / 4)), dim3(eh_block_threads), 0, state->stream,
               eh_array_of(&product->bias, n), eh_array_of(&y, n), m, n, product->mode == EH_ADD);
        EH_CUDA(cudaGetLastError());
    }
    if (k > 0) {
        const eh_cuda_gemm_call call = {m,
                                        n,
                                        k,
                                        eh_tensor_address(&a),
                                        eh_tensor_address(&b),
                                        eh_tensor_address(&y),
                                        product->transpose_a,
                                        product->transpose_b,
                                        product->alpha == 0 ? 1.0f : product->alpha,
                                        has_bias || product->mode == EH_ADD ? 1.0f : 0.0f,
                                        type,
                                        y.dtype};
        EH_TRY(eh_cuda_gemm(backend, &call));
    } else if (!has_bias && product->mode == EH_WRITE)
        EH_TRY(eh_cuda_fill(backend, 0, &y));
    return y_differs ? eh_cuda_convert(backend, &y, &product->y) : EH_OK;
}
