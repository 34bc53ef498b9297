// The optimiser's passes over all weights: one launch serves all tensors, whose runs of equal decay are in a table on
// the device. Memory bounds them; expect 85-90 % of the bandwidth.
#include <math.h>
#include <string.h>

#include <vector>

#include "backend/cuda/device.cuh"

namespace
{

struct adamw_constants {
    float beta1, beta2, eps, grad_scale, decay, step_size, root_scale; // root_scale: 1 / sqrt(1 - beta2^t), or 1
    bool hf_legacy;
};

__device__ float adamw_one(const adamw_constants &c, float decay, float weight, float grad, float *m, float *v)
{
    grad *= c.grad_scale;
    *m = c.beta1 * *m + (1 - c.beta1) * grad;
    *v = c.beta2 * *v + (1 - c.beta2) * grad * grad;
    const float change = c.step_size * (*m / (sqrtf(*v) * c.root_scale + c.eps));
    if (c.hf_legacy) {
        weight -= change;
        return weight - decay * weight;
    }
    weight -= decay * weight;
    return weight - change;
}

// A run as the kernel sees it.
struct run {
    int64_t weights, gradient, moments, count; // first elements
    int64_t first_chunk;                       // how many chunks the runs before have
    int32_t decays, unused;
};

constexpr int64_t chunk = 8192; // elements of a block: long enough that finding its run costs nothing

struct adamw_arrays {
    float *weights, *m, *v;
    const float *gradient;
    eh_array copy;
    bool vectors; // four elements may be moved together where all of a run's places are multiples of four
};

// The last run that begins at or before the block's chunk.
__device__ run run_of_block(const run *runs, int run_count)
{
    int low = 0, high = run_count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (runs[middle].first_chunk <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    return runs[low];
}

__device__ void step_one(const adamw_constants &c, float decay, const adamw_arrays &a, const run &r, int64_t i)
{
    const float w = adamw_one(c, decay, a.weights[r.weights + i], a.gradient[r.gradient + i], &a.m[r.moments + i],
                              &a.v[r.moments + i]);
    a.weights[r.weights + i] = w;
    if (a.copy.data != nullptr)
        eh_store(a.copy, r.weights + i, w);
}

__device__ void step_four(const adamw_constants &c, float decay, const adamw_arrays &a, const run &r, int64_t i)
{
    float4 *const weights = reinterpret_cast<float4 *>(a.weights + r.weights + i);
    float4 *const at_m = reinterpret_cast<float4 *>(a.m + r.moments + i);
    float4 *const at_v = reinterpret_cast<float4 *>(a.v + r.moments + i);
    const float4 g = *reinterpret_cast<const float4 *>(a.gradient + r.gradient + i);
    float4 w = *weights, m = *at_m, v = *at_v;
    w.x = adamw_one(c, decay, w.x, g.x, &m.x, &v.x);
    w.y = adamw_one(c, decay, w.y, g.y, &m.y, &v.y);
    w.z = adamw_one(c, decay, w.z, g.z, &m.z, &v.z);
    w.w = adamw_one(c, decay, w.w, g.w, &m.w, &v.w);
    *weights = w;
    *at_m = m;
    *at_v = v;
    if (a.copy.data == nullptr)
        return;
    if (a.copy.dtype == EH_F32)
        *reinterpret_cast<float4 *>(static_cast<float *>(a.copy.data) + r.weights + i) = w;
    else
        *reinterpret_cast<uint2 *>(static_cast<uint16_t *>(a.copy.data) + r.weights + i) =
            make_uint2(eh_pair_bits(a.copy.dtype, w.x, w.y), eh_pair_bits(a.copy.dtype, w.z, w.w));
}

// All runs of a step. Bytes: gradient, weights and both moments read, the last three and the 16-bit copy written: 28 to
// 30 an element. Four elements a thread, not eight: so a warp's store of fp32 fills whole sectors.
__global__ void __launch_bounds__(eh_block_threads, 4)
    adamw_kernel(adamw_constants c, const run *runs, int run_count, adamw_arrays a)
{
    const run r = run_of_block(runs, run_count);
    const float decay = r.decays ? c.decay : 0.0f;
    const int64_t begin = (static_cast<int64_t>(blockIdx.x) - r.first_chunk) * chunk,
                  end = begin + chunk < r.count ? begin + chunk : r.count;
    const bool vectors = a.vectors && ((r.weights | r.gradient | r.moments) & 3) == 0;
    for (int64_t i = begin + 4 * static_cast<int64_t>(threadIdx.x); i < end; i += 4 * eh_block_threads)
        if (vectors && i + 4 <= end)
            step_four(c, decay, a, r, i);
        else
            for (int64_t j = i; j < end && j < i + 4; j++) step_one(c, decay, a, r, j);
}

// Bytes: four reads (five with importances) and a write.
__global__ void __launch_bounds__(eh_block_threads)
    pull_kernel(float strength, eh_array weights, eh_array anchor, eh_array importance, eh_array gradient, int64_t n)
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

constexpr int64_t norm_block = 16384;

// A block of threads for each `norm_block` elements of a piece, `blocks_a_piece` of them. Bytes: one read; two double
// operations for 4 bytes, which a T4 (1/32 of its fp32 rate) does at a third of its bandwidth, others in its shadow;
// expect 85 %.
__global__ void __launch_bounds__(eh_block_threads)
    squares_kernel(eh_array x, int64_t first, int64_t count, int64_t piece, int64_t blocks_a_piece, double *sums)
{
    SHARED(double, partial, eh_block_threads);
    const int t = static_cast<int>(threadIdx.x);
    const int64_t number = blockIdx.x / blocks_a_piece, part = blockIdx.x % blocks_a_piece;
    const int64_t piece_end = (number + 1) * piece < count ? (number + 1) * piece : count;
    const int64_t begin = number * piece + part * norm_block,
                  end = begin + norm_block < piece_end ? begin + norm_block : piece_end;
    double sum = 0;
    for (int64_t i = begin + 8 * t; i < end; i += 8 * eh_block_threads) {
        const eh_eight value = eh_load8(x, first + i, first + end);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += static_cast<double>(value.v[j]) * static_cast<double>(value.v[j]);
    }
    sum_of_block(partial, t, sum);
    if (t == 0)
        sums[blockIdx.x] = partial[0];
}

// A block of threads a piece adds its blocks' sums in a fixed order: 8 bytes for 16,384 elements, so neither bytes nor
// flops bound it.
__global__ void __launch_bounds__(eh_block_threads)
    sums_kernel(const double *sums, int64_t blocks_a_piece, double *totals)
{
    SHARED(double, partial, eh_block_threads);
    const int t = static_cast<int>(threadIdx.x);
    double sum = 0;
    for (int64_t i = t; i < blocks_a_piece; i += eh_block_threads) sum += sums[blockIdx.x * blocks_a_piece + i];
    sum_of_block(partial, t, sum);
    if (t == 0)
        totals[blockIdx.x] = partial[0];
}

int64_t pieces_of(const eh_norm_stretch &stretch)
{
    return (stretch.count + stretch.piece - 1) / stretch.piece;
}

int64_t blocks_a_piece_of(const eh_norm_stretch &stretch)
{
    const int64_t piece = stretch.piece < stretch.count ? stretch.piece : stretch.count;
    return (piece + norm_block - 1) / norm_block;
}

// Into totals [pieces]; sums: room for the sums of blocks, where a piece has several.
eh_status sum_stretch(eh_cuda_state *state, const eh_array &x, const eh_norm_stretch &stretch, double *sums,
                      double *totals)
{
    const int64_t pieces = pieces_of(stretch), blocks = blocks_a_piece_of(stretch);
    if (pieces == 0)
        return EH_OK;
    eh_array from = x;
    from.vectors = x.vectors && stretch.first % 8 == 0 && (pieces == 1 || stretch.piece % 8 == 0);
    LAUNCH(squares_kernel, dim3(static_cast<unsigned>(pieces * blocks)), dim3(eh_block_threads), 0, state->stream, from,
           stretch.first, stretch.count, stretch.piece, blocks, blocks > 1 ? sums : totals);
    EH_CUDA(cudaGetLastError());
    if (blocks > 1)
        LAUNCH(sums_kernel, dim3(static_cast<unsigned>(pieces)), dim3(eh_block_threads), 0, state->stream, sums, blocks,
               totals);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

} // namespace

// The runs that were stepped last, on the device: they are the same from step to step.
struct eh_cuda_run_table {
    std::vector<run> runs;
    run *device;
    size_t room; // runs that `device` holds
};

void eh_cuda_forget_runs(eh_cuda_state *state)
{
    delete state->runs; // its device memory goes with the arena
    state->runs = nullptr;
}

// *chunks: of all of them.
static eh_status upload_runs(eh_cuda_state *state, const eh_adamw_run *runs, int64_t run_count, int64_t *chunks)
{
    if (state->runs == nullptr)
        state->runs = new eh_cuda_run_table();
    eh_cuda_run_table *table = state->runs;
    std::vector<run> wanted;
    *chunks = 0;
    for (int64_t r = 0; r < run_count; r++) {
        if (runs[r].count == 0)
            continue;
        wanted.push_back(
            {runs[r].weights, runs[r].gradient, runs[r].moments, runs[r].count, *chunks, runs[r].decays, 0});
        *chunks += (runs[r].count + chunk - 1) / chunk;
    }
    const size_t bytes = wanted.size() * sizeof(run);
    if (table->runs.size() == wanted.size() && memcmp(table->runs.data(), wanted.data(), bytes) == 0)
        return EH_OK;
    table->runs.clear();
    if (table->room < wanted.size()) {
        void *device = nullptr;
        if (table->device != nullptr) {
            EH_CUDA(cudaStreamSynchronize(state->stream));
            eh_cuda_arena_give(&state->arena, table->device);
        }
        table->device = nullptr;
        table->room = 0;
        EH_TRY(eh_cuda_arena_take(&state->arena, bytes, "the optimiser's runs", &device));
        table->device = static_cast<run *>(device);
        table->room = wanted.size();
    }
    EH_TRY(eh_cuda_copy_in(state, wanted.data(), table->device, bytes));
    table->runs.swap(wanted);
    return EH_OK;
}

eh_status eh_cuda_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                             const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m,
                             const eh_tensor *v, const eh_tensor *copy)
{
    eh_cuda_state *state = eh_cuda(backend);
    int64_t chunks = 0;
    EH_TRY(upload_runs(state, runs, run_count, &chunks));
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
    const eh_array all[] = {eh_array_of(weights, 8), eh_array_of(m, 8), eh_array_of(v, 8), eh_array_of(gradient, 8)};
    adamw_arrays a = {};
    a.weights = static_cast<float *>(all[0].data);
    a.m = static_cast<float *>(all[1].data);
    a.v = static_cast<float *>(all[2].data);
    a.gradient = static_cast<const float *>(all[3].data);
    a.copy = eh_array_of(copy, 8);
    a.vectors = a.copy.data == nullptr || a.copy.vectors;
    for (const eh_array &array : all) a.vectors = a.vectors && array.vectors;
    LAUNCH(adamw_kernel, dim3(static_cast<unsigned>(chunks)), dim3(eh_block_threads), 0, state->stream, c,
           state->runs->device, static_cast<int>(state->runs->runs.size()), a);
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

// All sums are queued, then fetched at once: a wait costs more than most pieces do.
eh_status eh_cuda_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                                int64_t stretch_count)
{
    eh_cuda_state *state = eh_cuda(backend);
    int64_t pieces = 0, blocks = 0;
    for (int64_t s = 0; s < stretch_count; s++) {
        const int64_t more = pieces_of(stretches[s]) * blocks_a_piece_of(stretches[s]);
        pieces += pieces_of(stretches[s]);
        blocks = more > blocks ? more : blocks;
    }
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, static_cast<size_t>(pieces + blocks) * sizeof(double), &scratch));
    double *const totals = static_cast<double *>(scratch), *const sums = totals + pieces;
    int64_t done = 0;
    for (int64_t s = 0; s < stretch_count; s++) {
        EH_TRY(sum_stretch(state, eh_array_of(x, 8), stretches[s], sums, totals + done));
        done += pieces_of(stretches[s]);
    }
    std::vector<double> host(static_cast<size_t>(pieces));
    EH_TRY(eh_cuda_copy_out(state, totals, host.data(), host.size() * sizeof(double)));
    const double *next = host.data();
    for (int64_t s = 0; s < stretch_count; s++) {
        const int64_t own = pieces_of(stretches[s]);
        if (own > 0)
            memcpy(stretches[s].sums, next, static_cast<size_t>(own) * sizeof(double));
        next += own;
    }
    return EH_OK;
}
