// Element-wise operations. Memory bounds all of them: bytes read plus bytes written over the bandwidth; expect 85-90 %
// of it, less below a million elements, where the launch takes longer than the work.
#include "backend/cuda/device.cuh"

namespace
{

__global__ void fill_kernel(eh_array y, int64_t n, float value)
{
    for (int64_t i = 4 * eh_thread_index(); i < n; i += 4 * eh_thread_count())
        eh_store4(y, i, n, make_float4(value, value, value, value));
}

__global__ void convert_kernel(eh_array x, eh_array y, int64_t n)
{
    for (int64_t i = 4 * eh_thread_index(); i < n; i += 4 * eh_thread_count()) eh_store4(y, i, n, eh_load4(x, i, n));
}

__global__ void add_kernel(eh_array x, eh_array y, int64_t n)
{
    for (int64_t i = 4 * eh_thread_index(); i < n; i += 4 * eh_thread_count()) {
        const float4 a = eh_load4(x, i, n), b = eh_load4(y, i, n);
        eh_store4(y, i, n, make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w));
    }
}

__global__ void scale_kernel(eh_array y, int64_t n, float factor)
{
    for (int64_t i = 4 * eh_thread_index(); i < n; i += 4 * eh_thread_count()) {
        const float4 a = eh_load4(y, i, n);
        eh_store4(y, i, n, make_float4(factor * a.x, factor * a.y, factor * a.z, factor * a.w));
    }
}

__global__ void dropout_kernel(eh_array x, eh_array y, int64_t n, uint32_t threshold, float factor, uint64_t seed,
                               uint64_t first_index)
{
    for (int64_t i = eh_thread_index(); i < n; i += eh_thread_count()) {
        const uint32_t word = eh_cuda_dropout_word(seed, first_index + static_cast<uint64_t>(i));
        eh_store(y, i, word >= threshold ? eh_load(x, i) * factor : 0.0f);
    }
}

__device__ float activate(int kind, float x)
{
    switch (kind) {
    case EH_GELU_ERF:
        return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
    case EH_GELU_TANH:
        return 0.5f * x * (1 + tanhf(0.79788456080286536f * x * (1 + 0.044715f * x * x)));
    case EH_RELU:
        return x > 0 ? x : x != x ? x : 0.0f; // NaN stays NaN
    case EH_SILU:
        return x / (1 + expf(-x));
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
        const float t = tanhf(0.79788456080286536f * x * (1 + 0.044715f * x * x));
        return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456080286536f * (1 + 0.134145f * x * x);
    }
    case EH_RELU:
        return x > 0 ? 1.0f : 0.0f;
    case EH_SILU: {
        const float s = 1 / (1 + expf(-x));
        return s * (1 + x * (1 - s));
    }
    default: {
        const float t = tanhf(x);
        return 1 - t * t;
    }
    }
}

__global__ void activation_forward_kernel(int kind, eh_array x, eh_array gate, eh_array y, int64_t n)
{
    for (int64_t i = 4 * eh_thread_index(); i < n; i += 4 * eh_thread_count()) {
        const float4 a = eh_load4(x, i, n);
        float4 result = make_float4(activate(kind, a.x), activate(kind, a.y), activate(kind, a.z), activate(kind, a.w));
        if (gate.data != nullptr) {
            const float4 g = eh_load4(gate, i, n);
            result = make_float4(result.x * g.x, result.y * g.y, result.z * g.z, result.w * g.w);
        }
        eh_store4(y, i, n, result);
    }
}

__global__ void activation_backward_kernel(int kind, eh_array x, eh_array gate, eh_array grad_y, eh_array grad_x,
                                           eh_array grad_gate, int64_t n)
{
    for (int64_t i = eh_thread_index(); i < n; i += eh_thread_count()) {
        const float a = eh_load(x, i), grad = eh_load(grad_y, i); // both read before either output is written
        const float g = gate.data != nullptr ? eh_load(gate, i) : 1.0f;
        eh_store(grad_x, i, grad * g * activation_slope(kind, a));
        if (grad_gate.data != nullptr)
            eh_store(grad_gate, i, grad * activate(kind, a));
    }
}

} // namespace

eh_status eh_cuda_fill(eh_backend *backend, float value, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(y);
    if (y->dtype == EH_I32) { // only 0 means the same in every type
        EH_ASSERT(value == 0);
        EH_CUDA(cudaMemsetAsync(eh_tensor_address(y), 0, eh_tensor_bytes(y), state->stream));
        return EH_OK;
    }
    LAUNCH(fill_kernel, eh_grid_for(state, n / 4 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(y, 4), n,
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
    LAUNCH(convert_kernel, eh_grid_for(state, n / 4 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(x, 4),
           eh_array_of(y, 4), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(add_kernel, eh_grid_for(state, n / 4 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(x, 4),
           eh_array_of(y, 4), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_scale(eh_backend *backend, float factor, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(y);
    LAUNCH(scale_kernel, eh_grid_for(state, n / 4 + 1), dim3(eh_block_threads), 0, state->stream, eh_array_of(y, 4), n,
           factor);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                          const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(dropout_kernel, eh_grid_for(state, n), dim3(eh_block_threads), 0, state->stream, eh_array_of(x, 4),
           eh_array_of(y, 4), n, eh_dropout_threshold(p), 1 / (1 - p), seed, first_index);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                     const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(activation_forward_kernel, eh_grid_for(state, n / 4 + 1), dim3(eh_block_threads), 0, state->stream,
           static_cast<int>(kind), eh_array_of(x, 4), eh_array_of(gate, 4), eh_array_of(y, 4), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                      const eh_tensor *gate, const eh_tensor *grad_y, const eh_tensor *grad_x,
                                      const eh_tensor *grad_gate)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    LAUNCH(activation_backward_kernel, eh_grid_for(state, n), dim3(eh_block_threads), 0, state->stream,
           static_cast<int>(kind), eh_array_of(x, 4), eh_array_of(gate, 4), eh_array_of(grad_y, 4),
           eh_array_of(grad_x, 4), eh_array_of(grad_gate, 4), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
