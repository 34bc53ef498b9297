// Drawing tokens from rows of logits. A row's mass is counted in whole numbers, 2^40 for its likeliest token, so that
// sums have no order; what top-k and top-p keep, and the token that a number falls on, are found by descending through
// the bits of the logits, eight at a time, with a histogram of counts and masses in shared memory: no sort.
#include <math.h>
#include <string.h>

#include "backend/cuda/device.cuh"

namespace
{

constexpr int bins = 256;
typedef unsigned long long mass_type; // what atomicAdd takes; 2^58 for 250,000 equal tokens

struct sampling_settings {
    double inverse_temperature, top_p;
    int64_t top_k; // 0: all
};

// A few dozen tokens a row: a launch.
__global__ void __launch_bounds__(eh_block_threads)
    edit_kernel(float *logits, int64_t vocab, const int32_t *edits, int64_t count, double penalty)
{
    for (int64_t e = eh_thread_index(); e < count; e += eh_thread_count()) {
        float *logit = logits + edits[3 * e] * vocab + edits[3 * e + 1];
        const double old = static_cast<double>(*logit);
        *logit = edits[3 * e + 2] != 0 ? -INFINITY : static_cast<float>(old > 0 ? old / penalty : old * penalty);
    }
}

// Bits that order as the numbers do, the largest first: 0 for +inf.
__device__ uint32_t rank_of(float x)
{
    const uint32_t bits = __float_as_uint(x == 0.0f ? 0.0f : x);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

__device__ mass_type mass_of(float logit, float top, double inverse_temperature)
{
    const double x = (static_cast<double>(logit) - static_cast<double>(top)) * inverse_temperature;
    return static_cast<mass_type>(exp(x) * 1099511627776.0 + 0.5);
}

// Where a row is cut: all ranks below `rank`, and of the tokens at `rank` the first `ties` by id.
struct cut {
    uint32_t rank;
    int64_t ties;
    mass_type before; // mass of all ranks below `rank`
};

// The rank at which, from the likeliest on, the count (`by_count`) or mass passes `goal`: the first place where the sum
// up to and with it is more than `goal`. Only tokens inside `limit` count. Ends with the same cut in all threads.
// Bound by exponentials in double, one a token in the first of four passes and only the chosen bins' in the others:
// some 40 double operations, of which a multiprocessor does 64 a clock on A100 and H100, but 2 on T4, A10 and L4.
__device__ cut descend(const float *row, int64_t vocab, float top, double inverse_temperature, bool by_count,
                       mass_type goal, const cut &limit)
{
    SHARED(mass_type, histogram, bins);
    SHARED(mass_type, masses, bins);
    SHARED(mass_type, found, 3); // bin, what is before it, mass before it
    const int t = static_cast<int>(threadIdx.x);
    uint32_t prefix = 0;
    mass_type before = 0, mass_before = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        __syncthreads();
        histogram[t] = 0;
        masses[t] = 0;
        __syncthreads();
        for (int64_t v = t; v < vocab; v += eh_block_threads) {
            const uint32_t rank = rank_of(row[v]);
            if ((shift < 24 && rank >> (shift + 8) != prefix) || rank > limit.rank)
                continue;
            const mass_type mass = mass_of(row[v], top, inverse_temperature);
            const int bin = static_cast<int>(rank >> shift & 255u);
            atomicAdd(&histogram[bin], by_count ? static_cast<mass_type>(1) : mass);
            atomicAdd(&masses[bin], mass);
        }
        __syncthreads();
        if (t == 0) {
            int bin = 0, last = -1;
            mass_type sum = before, mass = mass_before, last_sum = before, last_mass = mass_before;
            for (; bin < bins; bin++) {
                if (histogram[bin] > 0) {
                    last = bin;
                    last_sum = sum;
                    last_mass = mass;
                }
                if (sum + histogram[bin] > goal)
                    break;
                sum += histogram[bin];
                mass += masses[bin];
            }
            const bool passed = bin < bins;
            found[0] = static_cast<mass_type>(passed ? bin : last >= 0 ? last : 0); // else the last one that there is
            found[1] = passed ? sum : last_sum;
            found[2] = passed ? mass : last_mass;
        }
        __syncthreads();
        prefix = prefix << 8 | static_cast<uint32_t>(found[0]);
        before = found[1];
        mass_before = found[2];
    }
    // Among equal tokens each weighs the same.
    const float value = __uint_as_float(prefix & 0x80000000u ? prefix : ~(prefix | 0x80000000u) & 0x7fffffffu);
    const mass_type each = by_count ? 1 : mass_of(value, top, inverse_temperature);
    cut result;
    result.rank = prefix;
    result.before = mass_before;
    const mass_type over = goal > before ? goal - before : 0;
    result.ties = each > 0 ? static_cast<int64_t>(over / each) + 1 : 1;
    if (prefix == limit.rank && result.ties > limit.ties)
        result.ties = limit.ties;
    return result;
}

// The n-th token (from 1) at a rank, by id; the last one if there are fewer.
__device__ int32_t nth_at(const float *row, int64_t vocab, uint32_t rank, int64_t n)
{
    SHARED(int, per_warp, eh_block_threads / 32);
    SHARED(int, place, 1);
    const int t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32;
    int64_t seen = 0;
    __syncthreads();
    if (t == 0)
        place[0] = 0;
    for (int64_t base = 0; base < vocab && seen < n; base += eh_block_threads) {
        const int64_t v = base + t;
        const bool here = v < vocab && rank_of(row[v]) == rank;
        const unsigned votes = __ballot_sync(eh_all_lanes, here);
        __syncthreads();
        if (lane == 0)
            per_warp[warp] = __popc(votes);
        __syncthreads();
        int64_t mine = seen + __popc(votes & (0xffffffffu >> (31 - lane)));
        for (int w = 0; w < warp; w++) mine += per_warp[w];
        if (here && mine <= n)
            atomicMax(&place[0], static_cast<int>(v)); // ids ascend: the last one so far
        for (int w = 0; w < eh_block_threads / 32; w++) seen += per_warp[w];
    }
    __syncthreads();
    return place[0];
}

// The token where the mass, by ascending id, passes `goal`.
__device__ int32_t walk(const float *row, int64_t vocab, float top, double inverse_temperature, double u)
{
    SHARED(mass_type, sums, eh_block_threads);
    SHARED(int, last, 1);
    const int t = static_cast<int>(threadIdx.x);
    const int64_t part = (vocab + eh_block_threads - 1) / eh_block_threads, begin = t * part,
                  end = begin + part < vocab ? begin + part : vocab;
    mass_type sum = 0, before = 0, total = 0;
    for (int64_t v = begin; v < end; v++) {
        const mass_type mass = mass_of(row[v], top, inverse_temperature);
        sum += mass;
    }
    __syncthreads();
    sums[t] = sum;
    if (t == 0)
        last[0] = 0;
    __syncthreads();
    for (int other = 0; other < eh_block_threads; other++) {
        before += other < t ? sums[other] : 0;
        total += sums[other];
    }
    mass_type goal = static_cast<mass_type>(u * static_cast<double>(total));
    goal = goal < total ? goal : total - 1; // a rounded product
    if (goal >= before && goal < before + sum) {
        for (int64_t v = begin; v < end; v++) {
            before += mass_of(row[v], top, inverse_temperature);
            if (before > goal) {
                last[0] = static_cast<int>(v); // the only thread and token
                break;
            }
        }
    }
    __syncthreads();
    return last[0];
}

// A block per row, so a multiprocessor's double rate bounds it: up to four exponentials a word (top-k, top-p's sum and
// cut, the draw), 40 million operations for 250,880 words: 0.4 ms on A100 and H100, 13 ms on T4, A10 and L4, however
// many rows there are up to the number of multiprocessors. Its up to thirteen reads of the row come from the L2 cache.
__global__ void __launch_bounds__(eh_block_threads, 2)
    sample_kernel(const float *logits, int64_t vocab, const int32_t *draws, sampling_settings settings, int32_t *index)
{
    const float *row = logits + static_cast<int64_t>(blockIdx.x) * vocab;
    double u;
    memcpy(&u, draws + 2 * static_cast<int64_t>(blockIdx.x), sizeof u); // two words, which need not be on eight bytes
    float top = -INFINITY;
    for (int64_t v = threadIdx.x; v < vocab; v += eh_block_threads) top = isnan(row[v]) ? INFINITY : fmaxf(top, row[v]);
    top = eh_block_max(top);
    if (top == INFINITY) { // in all threads: there is nothing to draw from
        if (threadIdx.x == 0)
            index[blockIdx.x] = -1;
        return;
    }
    const double inverse = settings.inverse_temperature;
    const bool some = settings.top_k > 0 && settings.top_k < vocab;
    cut limit = {0xffffffffu, INT64_MAX, 0};
    int32_t token = 0;
    if (!some && settings.top_p >= 1) {
        token = walk(row, vocab, top, inverse, u);
    } else {
        if (some)
            limit = descend(row, vocab, top, inverse, true, static_cast<mass_type>(settings.top_k - 1), limit);
        const auto inside = [&](const cut &c) { // its mass
            const float value = __uint_as_float(c.rank & 0x80000000u ? c.rank : ~(c.rank | 0x80000000u) & 0x7fffffffu);
            return c.before + static_cast<mass_type>(c.ties) * mass_of(value, top, inverse);
        };
        if (settings.top_p < 1) {
            mass_type whole = 0;
            if (some)
                whole = inside(limit);
            else { // of all tokens
                SHARED(mass_type, sum, 1);
                if (threadIdx.x == 0)
                    sum[0] = 0;
                __syncthreads();
                mass_type own = 0;
                for (int64_t v = threadIdx.x; v < vocab; v += eh_block_threads) own += mass_of(row[v], top, inverse);
                atomicAdd(&sum[0], own);
                __syncthreads();
                whole = sum[0];
            }
            const double wanted = settings.top_p * static_cast<double>(whole);
            const mass_type goal = wanted >= 1 ? static_cast<mass_type>(ceil(wanted)) - 1 : 0;
            limit = descend(row, vocab, top, inverse, false, goal, limit);
        }
        const mass_type goal = static_cast<mass_type>(u * static_cast<double>(inside(limit)));
        const cut drawn = descend(row, vocab, top, inverse, false, goal, limit);
        token = nth_at(row, vocab, drawn.rank, drawn.ties);
    }
    if (threadIdx.x == 0)
        index[blockIdx.x] = token;
}

} // namespace

eh_status eh_cuda_sample_rows(eh_backend *backend, const eh_sampling *sampling)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t rows = sampling->logits.shape[0], vocab = sampling->logits.shape[1];
    float *logits = static_cast<float *>(eh_tensor_address(&sampling->logits));
    if (eh_tensor_exists(&sampling->edits) && sampling->edits.shape[0] > 0) {
        const int64_t count = sampling->edits.shape[0];
        LAUNCH(edit_kernel, eh_grid_for(state, count), dim3(eh_block_threads), 0, state->stream, logits, vocab,
               static_cast<const int32_t *>(eh_tensor_address(&sampling->edits)), count, sampling->penalty);
        EH_CUDA(cudaGetLastError());
    }
    if (!eh_tensor_exists(&sampling->draws))
        return eh_cuda_argmax_rows(backend, &sampling->logits, &sampling->index);
    const sampling_settings settings = {1 / sampling->temperature, sampling->top_p, sampling->top_k};
    LAUNCH(sample_kernel, dim3(static_cast<unsigned>(rows)), dim3(eh_block_threads), 0, state->stream, logits, vocab,
           static_cast<const int32_t *>(eh_tensor_address(&sampling->draws)), settings,
           static_cast<int32_t *>(eh_tensor_address(&sampling->index)));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
