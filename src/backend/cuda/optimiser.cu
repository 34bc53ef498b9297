// The optimiser's passes over all weights: a rank's parameters lie in one block, so one launch serves all tensors that
// decay alike. Memory bounds them; expect 85-90 % of the bandwidth.
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

// Bytes: gradient, weights and both moments read, the last three and the 16-bit copy written: 28 to 30 an element.
__global__ void adamw_kernel(adamw_constants c, eh_array weights, eh_array gradient, eh_array m, eh_array v,
                             eh_array copy, int64_t n)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        eh_eight w = eh_load8(weights, i, n), first = eh_load8(m, i, n), second = eh_load8(v, i, n);
        const eh_eight g = eh_load8(gradient, i, n);
#pragma unroll
        for (int j = 0; j < 8; j++) w.v[j] = adamw_one(c, w.v[j], g.v[j], &first.v[j], &second.v[j]);
        eh_store8(weights, i, n, w);
        eh_store8(m, i, n, first);
        eh_store8(v, i, n, second);
        if (copy.data != nullptr)
            eh_store8(copy, i, n, w);
    }
}

// Bytes: four reads (five with importances) and a write.
__global__ void pull_kernel(float strength, eh_array weights, eh_array anchor, eh_array importance, eh_array gradient,
                            int64_t n)
{
    for (int64_t i = 8 * eh_thread_index(); i < n; i += 8 * eh_thread_count()) {
        const eh_eight w = eh_load8(weights, i, n), from = eh_load8(anchor, i, n);
        eh_eight g = eh_load8(gradient, i, n), own = {{1, 1, 1, 1, 1, 1, 1, 1}};
        if (importance.data != nullptr)
            own = eh_load8(importance, i, n);
#pragma unroll
        for (int j = 0; j < 8; j++) g.v[j] += strength * own.v[j] * (w.v[j] - from.v[j]);
        eh_store8(gradient, i, n, g);
    }
}

// The sum over a block's threads, as a tree of halves; it is in partial[0].
__device__ void sum_of_block(double *partial, int t, double own)
{
    partial[t] = own;
    __syncthreads();
    for (int step = eh_block_threads / 2; step > 0; step /= 2) {
        if (t < step)
            partial[t] += partial[t + step];
        __syncthreads();
    }
}

constexpr int64_t norm_block = 4096;

// A block of threads per 4096 elements. Bytes: one read; two double
// operations for 4 bytes, which a T4 (1/32 of its fp32 rate) does at a third of its bandwidth, others in its shadow.
__global__ void squares_kernel(eh_array x, int64_t n, double *sums)
{
    SHARED(double, partial, eh_block_threads);
    const int t = static_cast<int>(threadIdx.x);
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * norm_block;
    double sum = 0;
    const int64_t end = begin + norm_block < n ? begin + norm_block : n;
    for (int64_t i = begin + 8 * t; i < end; i += 8 * eh_block_threads) {
        const eh_eight value = eh_load8(x, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += static_cast<double>(value.v[j]) * static_cast<double>(value.v[j]);
    }
    sum_of_block(partial, t, sum);
    if (t == 0)
        sums[blockIdx.x] = partial[0];
}

// One block adds the blocks' sums in a fixed order: 8 bytes for 4096 elements, so neither bytes nor flops bound it.
__global__ void sums_kernel(const double *sums, int64_t count, double *total)
{
    SHARED(double, partial, eh_block_threads);
    const int t = static_cast<int>(threadIdx.x);
    double sum = 0;
    for (int64_t i = t; i < count; i += eh_block_threads) sum += sums[i];
    sum_of_block(partial, t, sum);
    if (t == 0)
        *total = partial[0];
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
    LAUNCH(adamw_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, c,
           eh_array_of(weights, 8), eh_array_of(gradient, 8), eh_array_of(m, 8), eh_array_of(v, 8),
           eh_array_of(copy, 8), n);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                       const eh_tensor *importance, const eh_tensor *gradient)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t n = eh_tensor_count(weights);
    LAUNCH(pull_kernel, eh_grid_for(state, n / 8 + 1), dim3(eh_block_threads), 0, state->stream, strength,
           eh_array_of(weights, 8), eh_array_of(anchor, 8), eh_array_of(importance, 8), eh_array_of(gradient, 8), n);
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
    EH_TRY(eh_cuda_scratch(backend, static_cast<size_t>(blocks + 1) * sizeof(double), &scratch));
    double *sums = static_cast<double *>(scratch);
    LAUNCH(squares_kernel, dim3(static_cast<unsigned>(blocks)), dim3(eh_block_threads), 0, state->stream,
           eh_array_of(x, 8), n, sums);
    EH_CUDA(cudaGetLastError());
    LAUNCH(sums_kernel, dim3(1), dim3(eh_block_threads), 0, state->stream, sums, blocks, sums + blocks);
    EH_CUDA(cudaGetLastError());
    return eh_cuda_copy_out(state, sums + blocks, sum, sizeof *sum);
}
