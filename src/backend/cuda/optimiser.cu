// AdamW in one pass: reads gradient, weights and both moments, writes the last three and the 16-bit copy: 28 to 30
// bytes an element bound it; expect 85-90 % of the bandwidth.
#include <math.h>

#include "backend/cuda/device.cuh"

namespace
{

struct adamw_constants {
    float beta1, beta2, eps, grad_scale, decay, step_size, root_scale; // root_scale: 1 / sqrt(1 - beta2^t), or 1
    bool hf_legacy;
};

__device__ float adamw_one(const adamw_constants &c, float weight, float grad, float *m, float *v)
{
    grad *= c.grad_scale;
    *m = c.beta1 * *m + (1 - c.beta1) * grad;
    *v = c.beta2 * *v + (1 - c.beta2) * grad * grad;
    const float change = c.step_size * (*m / (sqrtf(*v) * c.root_scale + c.eps));
    if (c.hf_legacy) {
        weight -= change;
        return weight - c.decay * weight;
    }
    weight -= c.decay * weight;
    return weight - change;
}

__global__ void adamw_kernel(adamw_constants c, eh_array weights, eh_array gradient, eh_array m, eh_array v,
                             eh_array copy, int64_t n)
{
    for (int64_t i = 4 * eh_thread_index(); i < n; i += 4 * eh_thread_count()) {
        float4 w = eh_load4(weights, i, n), first = eh_load4(m, i, n), second = eh_load4(v, i, n);
        const float4 g = eh_load4(gradient, i, n);
        w = make_float4(adamw_one(c, w.x, g.x, &first.x, &second.x), adamw_one(c, w.y, g.y, &first.y, &second.y),
                        adamw_one(c, w.z, g.z, &first.z, &second.z), adamw_one(c, w.w, g.w, &first.w, &second.w));
        eh_store4(weights, i, n, w);
        eh_store4(m, i, n, first);
        eh_store4(v, i, n, second);
        if (copy.data != nullptr)
            eh_store4(copy, i, n, w);
    }
}

__global__ void pull_kernel(float strength, const float *weights, const float *anchor, const float *importance,
                            float *gradient, int64_t n)
{
    for (int64_t i = eh_thread_index(); i < n; i += eh_thread_count())
        gradient[i] += strength * (importance != nullptr ? importance[i] : 1.0f) * (weights[i] - anchor[i]);
}

constexpr int64_t norm_block = 4096;

// A block of threads per 4096 elements; the halves of the block are added as a tree.
__global__ void squares_kernel(eh_array x, int64_t n, double *sums)
{
    SHARED(double, partial, eh_block_threads);
    const int t = static_cast<int>(threadIdx.x);
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * norm_block;
    double sum = 0;
    for (int64_t i = begin + t; i < begin + norm_block && i < n; i += eh_block_threads) {
        const double value = eh_load(x, i);
        sum += value * value;
    }
    partial[t] = sum;
    __syncthreads();
    for (int step = eh_block_threads / 2; step > 0; step /= 2) {
        if (t < step)
            partial[t] += partial[t + step];
        __syncthreads();
    }
    if (t == 0)
        sums[blockIdx.x] = partial[0];
}

} // namespace

eh_status eh_cuda_adamw_step(eh_backend *backend, const eh_adamw *adamw, const eh_tensor *weights,
                             const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(weights);
    if (n == 0)
        return EH_OK;
    const double correction1 = 1 - pow(adamw->beta1, static_cast<double>(adamw->step));
    const double correction2 = 1 - pow(adamw->beta2, static_cast<double>(adamw->step));
    adamw_constants c = {};
    c.beta1 = adamw->beta1;
    c.beta2 = adamw->beta2;
    c.eps = adamw->eps;
    c.grad_scale = adamw->grad_scale;
    c.decay = adamw->learning_rate * adamw->weight_decay;
    c.hf_legacy = adamw->hf_legacy;
    c.step_size = static_cast<float>(adamw->hf_legacy ? adamw->learning_rate * sqrt(correction2) / correction1
                                                      : adamw->learning_rate / correction1);
    c.root_scale = adamw->hf_legacy ? 1.0f : static_cast<float>(1 / sqrt(correction2));
    LAUNCH(adamw_kernel, eh_grid_for(state, n / 4 + 1), dim3(eh_block_threads), 0, state->stream, c,
           eh_array_of(weights, 4), eh_array_of(gradient, 4), eh_array_of(m, 4), eh_array_of(v, 4),
           eh_array_of(copy, 4), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                       const eh_tensor *importance, const eh_tensor *gradient)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(weights);
    const float *own =
        eh_tensor_exists(importance) ? static_cast<const float *>(eh_tensor_address(importance)) : nullptr;
    LAUNCH(pull_kernel, eh_grid_for(state, n), dim3(eh_block_threads), 0, state->stream, strength,
           static_cast<const float *>(eh_tensor_address(weights)),
           static_cast<const float *>(eh_tensor_address(anchor)), own,
           static_cast<float *>(eh_tensor_address(gradient)), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_squared_norm(eh_backend *backend, const eh_tensor *x, double *sum)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(x);
    *sum = 0;
    if (n == 0)
        return EH_OK;
    const int64_t blocks = (n + norm_block - 1) / norm_block;
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, static_cast<size_t>(blocks) * sizeof(double), &scratch));
    double *sums = static_cast<double *>(scratch);
    LAUNCH(squares_kernel, dim3(static_cast<unsigned>(blocks)), dim3(eh_block_threads), 0, state->stream,
           eh_array_of(x, 4), n, sums);
    EH_CUDA(cudaGetLastError());
    // The blocks' sums are added on the host in their order, a staging slot at a time.
    const int64_t slot = static_cast<int64_t>(EH_CUDA_STAGING_BYTES / sizeof(double));
    EH_CUDA(cudaStreamSynchronize(state->stream));
    for (int64_t first = 0; first < blocks; first += slot) {
        const int64_t count = blocks - first < slot ? blocks - first : slot;
        EH_CUDA(cudaMemcpyAsync(state->staging[0], sums + first, static_cast<size_t>(count) * sizeof(double),
                                cudaMemcpyDeviceToHost, state->stream));
        EH_CUDA(cudaStreamSynchronize(state->stream));
        const double *part = reinterpret_cast<const double *>(state->staging[0]);
        for (int64_t i = 0; i < count; i++) *sum += part[i];
    }
    return EH_OK;
}
