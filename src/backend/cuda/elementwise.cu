// Element-wise operations, eight elements a thread and turn. Memory bounds all of them: bytes read plus bytes written
// over the bandwidth; expect 85-90 % of it, less below a million elements, where the launch takes longer than the work.
// Dropout's ten Philox rounds a block of four words take some 90 integer instructions, which two words a load still
// hide behind 4 bytes an element.
#include "backend/cuda/device.cuh"

namespace
{

// Bytes: one write.
__global__ void __launch_bounds__(eh_block_threads) fill_kernel(eh_array y, int64_t n, float value)
{
    const eh_eight all = {{value, value, value, value, value, value, value, value}};
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) eh_store8(y, i, n, all);
}

// Bytes: a read and a write.
__global__ void __launch_bounds__(eh_block_threads) convert_kernel(eh_array x, eh_array y, int64_t n)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) eh_store8(y, i, n, eh_load8(x, i, n));
}

// Bytes: two reads and a write.
__global__ void __launch_bounds__(eh_block_threads) add_kernel(eh_array x, eh_array y, int64_t n)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        const eh_eight a = eh_load8(x, i, n);
        eh_eight b = eh_load8(y, i, n);
#pragma unroll
        for (int j = 0; j < 8; j++) b.v[j] += a.v[j];
        eh_store8(y, i, n, b);
    }
}

// Bytes: a read and a write.
__global__ void __launch_bounds__(eh_block_threads) scale_kernel(eh_array y, int64_t n, float factor)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        eh_eight a = eh_load8(y, i, n);
#pragma unroll
        for (int j = 0; j < 8; j++) a.v[j] *= factor;
        eh_store8(y, i, n, a);
    }
}

// Bytes: a read and a write; two or three Philox blocks for eight elements.
__global__ void __launch_bounds__(eh_block_threads)
    dropout_kernel(eh_array x, eh_array y, int64_t n, uint32_t threshold, float factor, uint64_t seed,
                   uint64_t first_index)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        eh_eight a = eh_load8(x, i, n);
        uint4 words = make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const uint64_t index = first_index + static_cast<uint64_t>(i + j);
            if (j == 0 || index % 4 == 0)
                words = eh_cuda_dropout_block(seed, index >> 2);
            const uint32_t place = index & 3;
            const uint32_t word = place == 0 ? words.x : place == 1 ? words.y : place == 2 ? words.z : words.w;
            a.v[j] = word >= threshold ? a.v[j] * factor : 0.0f;
        }
        eh_store8(y, i, n, a);
    }
}

// 1 / (1 + exp(-x)): half the instructions of tanhf, and without its cancellation where 1 + tanh nears 0.
__device__ float logistic(float x)
{
    return __fdividef(1.0f, 1 + expf(-x));
}

// 2 sqrt(2 / pi) (x + 0.044715 x^3): 0.5 (1 + tanh(z / 2)) = logistic(z).
__device__ float gelu_argument(float x)
{
    return 1.59576912160573071f * x * (1 + 0.044715f * x * x);
}

__device__ float activate(int kind, float x)
{
    switch (kind) {
    case EH_GELU_ERF:
        return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
    case EH_GELU_TANH:
        return x * logistic(gelu_argument(x));
    case EH_RELU:
        return x > 0 ? x : x != x ? x : 0.0f; // NaN stays NaN
    case EH_SILU:
        return x * logistic(x);
    default:
        return tanhf(x);
    }
}

__device__ float activation_slope(int kind, float x)
{
    switch (kind) {
    case EH_GELU_ERF:
        return 0.5f * (1 + erff(x * 0.70710678118654752f)) + x * 0.39894228040143268f * expf(-0.5f * x * x);
    case EH_GELU_TANH: {
        const float s = logistic(gelu_argument(x));
        return s + x * s * (1 - s) * 1.59576912160573071f * (1 + 0.134145f * x * x);
    }
    case EH_RELU:
        return x > 0 ? 1.0f : 0.0f;
    case EH_SILU: {
        const float s = logistic(x);
        return s * (1 + x * (1 - s));
    }
    default: {
        const float t = tanhf(x);
        return 1 - t * t;
    }
    }
}

// Bytes: a read (two with a gate) and a write.
__global__ void __launch_bounds__(eh_block_threads)
    activation_forward_kernel(int kind, eh_array x, eh_array gate, eh_array y, int64_t n)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        eh_eight a = eh_load8(x, i, n);
#pragma unroll
        for (int j = 0; j < 8; j++) a.v[j] = activate(kind, a.v[j]);
        if (gate.data != nullptr) {
            const eh_eight g = eh_load8(gate, i, n);
#pragma unroll
            for (int j = 0; j < 8; j++) a.v[j] *= g.v[j];
        }
        eh_store8(y, i, n, a);
    }
}

// Bytes: two reads and a write; three and two with a gate.
__global__ void __launch_bounds__(eh_block_threads)
    activation_backward_kernel(int kind, eh_array x, eh_array gate, eh_array grad_y, eh_array grad_x,
                               eh_array grad_gate, int64_t n)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        const eh_eight a = eh_load8(x, i, n), grad = eh_load8(grad_y, i, n); // read before either output is written
        eh_eight to_x, to_gate;
#pragma unroll
        for (int j = 0; j < 8; j++) to_x.v[j] = grad.v[j] * activation_slope(kind, a.v[j]);
        if (gate.data != nullptr) {
            const eh_eight g = eh_load8(gate, i, n);
#pragma unroll
            for (int j = 0; j < 8; j++) to_x.v[j] *= g.v[j];
        }
        if (grad_gate.data != nullptr) {
#pragma unroll
            for (int j = 0; j < 8; j++) to_gate.v[j] = grad.v[j] * activate(kind, a.v[j]);
            eh_store8(grad_gate, i, n, to_gate);
        }
        eh_store8(grad_x, i, n, to_x);
    }
}

} // namespace

eh_status eh_cuda_fill(eh_backend *backend, float value, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(y);
    LAUNCH(fill_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(y, 8), n,
           value);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    if (x->dtype == y->dtype) {
        EH_CUDA(cudaMemcpyAsync(eh_tensor_address(y), eh_tensor_address(x), eh_tensor_bytes(x),
                                cudaMemcpyDeviceToDevice, state->stream));
        return EH_OK;
    }
    LAUNCH(convert_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(x, 8),
           eh_array_of(y, 8), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(add_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(x, 8),
           eh_array_of(y, 8), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_scale(eh_backend *backend, float factor, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(y);
    LAUNCH(scale_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(y, 8), n,
           factor);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                          const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(dropout_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(x, 8),
           eh_array_of(y, 8), n, eh_dropout_threshold(p), 1 / (1 - p), seed, first_index);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                     const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(activation_forward_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream,
           static_cast<int>(kind), eh_array_of(x, 8), eh_array_of(gate, 8), eh_array_of(y, 8), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                      const eh_tensor *gate, const eh_tensor *grad_y, const eh_tensor *grad_x,
                                      const eh_tensor *grad_gate)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(activation_backward_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream,
           static_cast<int>(kind), eh_array_of(x, 8), eh_array_of(gate, 8), eh_array_of(grad_y, 8),
           eh_array_of(grad_x, 8), eh_array_of(grad_gate, 8), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
