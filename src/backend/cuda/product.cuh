// One row-major product on the device, for operations that call cuBLAS on parts of tensors.
#ifndef EH_BACKEND_CUDA_PRODUCT_CUH
#define EH_BACKEND_CUDA_PRODUCT_CUH

#include "backend/cuda/device.cuh"

// y[m, n] = alpha A B + beta y; a [m, k] or, transposed, [k, m]; b [k, n] or, transposed, [n, k]. fp32 sums.
struct eh_cuda_gemm_call {
    int64_t m, n, k;
    const void *a, *b;
    void *y;
    bool transpose_a, transpose_b;
    float alpha, beta;
    eh_dtype input_type, output_type;
};
eh_status eh_cuda_gemm(eh_backend *backend, const eh_cuda_gemm_call *call);

#endif
