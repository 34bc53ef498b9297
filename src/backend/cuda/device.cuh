// What the CUDA kernels share: the device's state, errors as statuses, typed loads and stores, reductions.
// A tensor's dtype is the same for a whole grid, so kernels branch on it when they load and store, eight elements at a
// time: 128 bits a load in 16-bit types, two such loads in fp32. One kernel serves all dtypes and memory still bounds
// it.
#ifndef EH_BACKEND_CUDA_DEVICE_CUH
#define EH_BACKEND_CUDA_DEVICE_CUH

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <string.h>

#include "backend/backend_internal.h"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/memory.cuh"

#define EH_CUDA_STAGING_SLOTS 4
#define EH_CUDA_STAGING_BYTES ((size_t)1 << 20)
#define EH_CUDA_TICKETS 16384 // columns of sums over rows / 256

// A product that cublasLt was asked about: its descriptions, and the algorithm that it chose.
struct eh_cuda_lt_plan {
    int64_t m, n, k;
    bool transpose_a, transpose_b, has_bias, activates;
    eh_dtype input_type, output_type;
    uint32_t a_alignment, b_alignment, y_alignment; // what the operands' addresses are multiples of, at most 256
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, y;
    cublasLtMatmulAlgo_t algorithm;
    bool usable; // false: cublasLt has none
};

// No CUDA graph of a step: a layer is some 33 launches forward and backward, which the host queues, without waiting for
// any, in less time than they take from a thousand tokens up; and each batch's lengths would need a graph of their own.
struct eh_cuda_state {
    int device;
    int multiprocessors, capability; // capability: 75, 80, ...
    // Kernels and products run on `stream`; copies between host and device on `copies`, which waits for what they read
    // and is waited for by what reads them; sums between ranks on a stream of eh_exchange.
    cudaStream_t stream, copies;
    cudaEvent_t computed, copied; // the last mark on `stream` for `copies`, and the other way round
    cublasHandle_t blas;
    cublasLtHandle_t blas_lt;
    void *lt_workspace;
    size_t lt_workspace_bytes;
    std::vector<eh_cuda_lt_plan> *lt_plans;
    // Pinned memory through which host data goes, so that copies are asynchronous; a slot is free once its event
    // passed.
    char *staging[EH_CUDA_STAGING_SLOTS];
    cudaEvent_t staged[EH_CUDA_STAGING_SLOTS];
    int slot;         // that small copies share, as far as it is free
    size_t slot_used; // its first bytes, which copies in may still read
    eh_cuda_arena arena;
    // Device scratch of the operation at work; eh_backend_reserve makes it as large as the batches to come need, so
    // that a step allocates nothing.
    void *scratch;
    size_t scratch_bytes;
    unsigned *tickets;              // [EH_CUDA_TICKETS] 0 between kernels (eh_add_columns)
    struct eh_cuda_run_table *runs; // of the optimiser, kept from step to step
    // T5's buckets by distance, one table per configuration seen.
    struct {
        int bucket_count, max_distance;
        bool bidirectional;
        void *device; // int [2 * max_distance + 1]
    } buckets[4];
    int bucket_table_count;
};

eh_status eh_cuda_failure(cudaError_t error, const char *call, const char *file, int line);
eh_status eh_cublas_failure(cublasStatus_t error, const char *call, const char *file, int line);
#define EH_CUDA(call)                                                         \
    do {                                                                      \
        const cudaError_t eh_cuda_error = (call);                             \
        if (eh_cuda_error != cudaSuccess)                                     \
            return eh_cuda_failure(eh_cuda_error, #call, __FILE__, __LINE__); \
    } while (0)
#define EH_CUBLAS(call)                                                           \
    do {                                                                          \
        const cublasStatus_t eh_cublas_error = (call);                            \
        if (eh_cublas_error != CUBLAS_STATUS_SUCCESS)                             \
            return eh_cublas_failure(eh_cublas_error, #call, __FILE__, __LINE__); \
    } while (0)

static inline eh_cuda_state *eh_cuda(eh_backend *backend)
{
    return static_cast<eh_cuda_state *>(backend->state);
}
// Host memory to device memory and back, in the order of what is queued; copy_out waits.
eh_status eh_cuda_copy_in(eh_cuda_state *state, const void *host, void *device, size_t bytes);
eh_status eh_cuda_copy_out(eh_cuda_state *state, const void *device, void *host, size_t bytes);
// Device scratch of at least `bytes`; valid until the next call. Several uses of one operation share one block.
eh_status eh_cuda_scratch(eh_backend *backend, size_t bytes, void **scratch);

// --- Tensors as kernels see them -----------------------------------------------------------
struct eh_array {
    void *data;
    int dtype;
    bool vectors; // rows of `width` begin where eight elements can be moved by 128-bit accesses
};

static inline eh_array eh_array_of(const eh_tensor *tensor, int64_t width)
{
    if (!eh_tensor_exists(tensor))
        return {nullptr, EH_F32, false};
    void *data = eh_tensor_address(tensor);
    return {data, static_cast<int>(tensor->dtype), reinterpret_cast<uintptr_t>(data) % 16 == 0 && width % 8 == 0};
}

static __device__ inline float eh_load(const eh_array &a, int64_t i)
{
    if (a.dtype == EH_F32)
        return static_cast<const float *>(a.data)[i];
    if (a.dtype == EH_BF16)
        return __bfloat162float(static_cast<const __nv_bfloat16 *>(a.data)[i]);
    return __half2float(static_cast<const __half *>(a.data)[i]);
}

static __device__ inline void eh_store(const eh_array &a, int64_t i, float value)
{
    if (a.dtype == EH_F32)
        static_cast<float *>(a.data)[i] = value;
    else if (a.dtype == EH_BF16)
        static_cast<__nv_bfloat16 *>(a.data)[i] = __float2bfloat16(value);
    else
        static_cast<__half *>(a.data)[i] = __float2half(value);
}

struct eh_eight {
    float v[8];
};

static __device__ inline float eh_half_bits_to_float(int dtype, uint32_t bits)
{
    if (dtype == EH_BF16)
        return __uint_as_float(bits << 16);
    return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
// Two numbers, rounded by one instruction, as a word; the first is its lower half.
static __device__ inline uint32_t eh_pair_bits(int dtype, float low, float high)
{
    uint32_t bits;
    if (dtype == EH_BF16) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
        memcpy(&bits, &pair, sizeof bits);
    } else {
        const __half2 pair = __floats2half2_rn(low, high);
        memcpy(&bits, &pair, sizeof bits);
    }
    return bits;
}

// Elements i .. i + 7; those at or past `end` are 0 (and not stored).
static __device__ inline eh_eight eh_load8(const eh_array &a, int64_t i, int64_t end)
{
    eh_eight r;
    if (!a.vectors || i + 8 > end) {
#pragma unroll
        for (int j = 0; j < 8; j++) r.v[j] = i + j < end ? eh_load(a, i + j) : 0.0f;
        return r;
    }
    if (a.dtype == EH_F32) {
        const float4 *from = reinterpret_cast<const float4 *>(static_cast<const float *>(a.data) + i);
        const float4 x = from[0], y = from[1];
        return {{x.x, x.y, x.z, x.w, y.x, y.y, y.z, y.w}};
    }
    const uint4 x = *reinterpret_cast<const uint4 *>(static_cast<const uint16_t *>(a.data) + i);
    const uint32_t words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        r.v[2 * j] = eh_half_bits_to_float(a.dtype, words[j] & 0xffffu);
        r.v[2 * j + 1] = eh_half_bits_to_float(a.dtype, words[j] >> 16);
    }
    return r;
}

static __device__ inline void eh_store8(const eh_array &a, int64_t i, int64_t end, const eh_eight &value)
{
    if (!a.vectors || i + 8 > end) {
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (i + j < end)
                eh_store(a, i + j, value.v[j]);
        return;
    }
    if (a.dtype == EH_F32) {
        float4 *to = reinterpret_cast<float4 *>(static_cast<float *>(a.data) + i);
        to[0] = make_float4(value.v[0], value.v[1], value.v[2], value.v[3]);
        to[1] = make_float4(value.v[4], value.v[5], value.v[6], value.v[7]);
        return;
    }
    uint32_t words[4];
#pragma unroll
    for (int j = 0; j < 4; j++) words[j] = eh_pair_bits(a.dtype, value.v[2 * j], value.v[2 * j + 1]);
    *reinterpret_cast<uint4 *>(static_cast<uint16_t *>(a.data) + i) =
        make_uint4(words[0], words[1], words[2], words[3]);
}

// What is read back of eight elements that were stored.
static __device__ inline eh_eight eh_rounded8(int dtype, const eh_eight &value)
{
    if (dtype == EH_F32)
        return value;
    eh_eight r;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        const uint32_t bits = eh_pair_bits(dtype, value.v[j], value.v[j + 1]);
        r.v[j] = eh_half_bits_to_float(dtype, bits & 0xffffu);
        r.v[j + 1] = eh_half_bits_to_float(dtype, bits >> 16);
    }
    return r;
}

// --- Threads ----------------------------------------------------------------------------------
constexpr unsigned eh_all_lanes = 0xffffffffu;
constexpr int eh_block_threads = 256;

// Blocks for a grid-stride loop over `items`: enough to fill the device, never more than there is work.
static inline dim3 eh_grid_for(const eh_cuda_state *state, int64_t items)
{
    const int64_t wanted = (items + eh_block_threads - 1) / eh_block_threads,
                  most = 32 * (int64_t)state->multiprocessors;
    return dim3(static_cast<unsigned>(wanted < 1 ? 1 : wanted < most ? wanted : most));
}
static __device__ inline int64_t eh_thread_index()
{
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
static __device__ inline int64_t eh_thread_count()
{
    return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

static __device__ inline float eh_warp_sum(float x)
{
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(eh_all_lanes, x, step);
    return x;
}
static __device__ inline float eh_warp_max(float x)
{
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(eh_all_lanes, x, step));
    return x;
}
// Threads for a row of `width`, eight elements each: a multiple of a warp, at most a block's.
constexpr int eh_most_threads = 1024;
static inline dim3 eh_threads_for(int64_t width)
{
    const int64_t wanted = (width + 255) / 256 * 32;
    return dim3(static_cast<unsigned>(wanted < eh_most_threads ? wanted : eh_most_threads));
}

// Over a block of whole warps; every thread gets the result. The order of the sum is fixed.
static __device__ inline float eh_block_sum(float x)
{
    SHARED(float, partial, eh_most_threads / 32);
    const int warps = static_cast<int>(blockDim.x / 32);
    x = eh_warp_sum(x);
    __syncthreads(); // those who read the last sum are done
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int warp = 0; warp < warps; warp++) sum += partial[warp];
    return sum;
}
static __device__ inline float eh_block_max(float x)
{
    SHARED(float, partial, eh_most_threads / 32);
    const int warps = static_cast<int>(blockDim.x / 32);
    x = eh_warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = x;
    __syncthreads();
    float top = partial[0];
    for (int warp = 1; warp < warps; warp++) top = fmaxf(top, partial[warp]);
    return top;
}

// --- Sums over rows ---------------------------------------------------------------------------
// They go in chunks of rows, so that they fill the device: a block for 256 columns of each chunk, its warps taking rows
// in turn, a lane eight columns. The last block of a group of columns adds the chunks' sums, so that one launch does
// all; the order of each sum is fixed, whichever block is the last.
constexpr int eh_sum_columns = 256, eh_sum_warps = eh_block_threads / 32;
struct eh_sum_grid {
    dim3 blocks; // groups of columns, chunks
    int64_t rows_a_chunk;
    size_t partial_bytes; // of scratch, for each of the sums
};
static inline eh_sum_grid eh_sum_grid_for(int64_t rows, int64_t columns)
{
    const int64_t most = eh_largest_grid_y < 128 ? eh_largest_grid_y : 128;
    const int64_t chunks = rows / 32 < 1 ? 1 : rows / 32 < most ? rows / 32 : most; // of at least 32 rows
    const int64_t rows_a_chunk = rows > 0 ? (rows + chunks - 1) / chunks : 1,
                  groups = (columns + eh_sum_columns - 1) / eh_sum_columns;
    const dim3 blocks(static_cast<unsigned>(groups), static_cast<unsigned>((rows + rows_a_chunk - 1) / rows_a_chunk));
    return {blocks, rows_a_chunk, static_cast<size_t>(blocks.x) * blocks.y * eh_sum_columns * sizeof(float)};
}

// The sums over a block's warps, from eight columns a lane to a column a thread; folded [512].
static __device__ inline float eh_fold_columns(const eh_eight &own, float4 *folded)
{
    float4 *to = folded + 2 * threadIdx.x;
    __syncthreads(); // those who read the last sums are done
    to[0] = make_float4(own.v[0], own.v[1], own.v[2], own.v[3]);
    to[1] = make_float4(own.v[4], own.v[5], own.v[6], own.v[7]);
    __syncthreads();
    const float *sums = reinterpret_cast<const float *>(folded) + threadIdx.x;
    float total = 0;
#pragma unroll
    for (int warp = 0; warp < eh_sum_warps; warp++) total += sums[eh_sum_columns * warp];
    return total;
}

// y[i][column] += own[i] over all blocks of a group of columns; a y may be missing. partial [n, blocks.y, 256
// blocks.x].
template <int n>
static __device__ inline void eh_add_columns(const eh_eight (&own)[n], float *partial, unsigned *tickets,
                                             const eh_array (&y)[n], int64_t columns)
{
    SHARED(float4, folded, 2 * eh_block_threads);
    SHARED(unsigned, ticket, 1);
    const int64_t stride = static_cast<int64_t>(gridDim.x) * eh_sum_columns;
    const int64_t group = static_cast<int64_t>(blockIdx.x) * eh_sum_columns, mine = group + threadIdx.x;
    float total[n];
#pragma unroll
    for (int i = 0; i < n; i++) total[i] = eh_fold_columns(own[i], folded);
    if (gridDim.y > 1) {
#pragma unroll
        for (int i = 0; i < n; i++)
            partial[(static_cast<int64_t>(i) * gridDim.y + blockIdx.y) * stride + mine] = total[i];
        __threadfence(); // before the ticket, which tells the last block that they are there
        __syncthreads();
        if (threadIdx.x == 0)
            ticket[0] = atomicAdd(&tickets[blockIdx.x], 1u);
        __syncthreads();
        if (ticket[0] + 1 != gridDim.y)
            return;
        __threadfence();
        if (threadIdx.x == 0)
            tickets[blockIdx.x] = 0; // for the next kernel
#pragma unroll
        for (int i = 0; i < n; i++) {
            eh_eight all = {};
#pragma unroll 4
            for (unsigned chunk = threadIdx.x / 32; chunk < gridDim.y; chunk += eh_sum_warps) {
                const float4 *from = reinterpret_cast<const float4 *>(
                    partial + (static_cast<int64_t>(i) * gridDim.y + chunk) * stride + group + 8 * (threadIdx.x % 32));
                const float4 low = __ldcg(from), high = __ldcg(from + 1); // from L2, where other blocks' writes are
                all.v[0] += low.x, all.v[1] += low.y, all.v[2] += low.z, all.v[3] += low.w;
                all.v[4] += high.x, all.v[5] += high.y, all.v[6] += high.z, all.v[7] += high.w;
            }
            total[i] = eh_fold_columns(all, folded);
        }
    }
    if (mine < columns)
#pragma unroll
        for (int i = 0; i < n; i++)
            if (y[i].data != nullptr)
                eh_store(y[i], mine, eh_load(y[i], mine) + total[i]);
}
// y[column] += the sum of x [rows, columns] over its rows; `partial`: eh_sum_grid_for's bytes of scratch.
eh_status eh_cuda_sum_rows(eh_cuda_state *state, const eh_array &x, int64_t rows, int64_t columns, float *partial,
                           const eh_array &y);

// Four random words that every backend uses for dropout (backend_internal.h: eh_dropout_word).
static __device__ inline uint4 eh_cuda_dropout_block(uint64_t seed, uint64_t block)
{
    uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32),
             c2 = static_cast<uint32_t>(EH_STREAM_DROPOUT), c3 = 0;
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0, p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
        const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = static_cast<uint32_t>(p1);
        c2 = n2;
        c3 = static_cast<uint32_t>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}
// The word of element `index`.
static __device__ inline uint32_t eh_cuda_dropout_word(uint64_t seed, uint64_t index)
{
    const uint4 words = eh_cuda_dropout_block(seed, index >> 2);
    const uint32_t place = index & 3;
    return place == 0 ? words.x : place == 1 ? words.y : place == 2 ? words.z : words.w;
}

// The mark of all that is queued on one stream, for another to wait for.
eh_status eh_cuda_order(cudaStream_t first, cudaEvent_t mark, cudaStream_t second);
extern const eh_exchange_table eh_cuda_exchange;

// --- The operations, by file ----------------------------------------------------------------------
eh_status eh_cuda_fill(eh_backend *, float, const eh_tensor *);
eh_status eh_cuda_convert(eh_backend *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_add(eh_backend *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_scale(eh_backend *, float, const eh_tensor *);
eh_status eh_cuda_dropout(eh_backend *, const eh_tensor *, float, uint64_t, uint64_t, const eh_tensor *);
eh_status eh_cuda_activation_forward(eh_backend *, eh_activation, const eh_tensor *, const eh_tensor *,
                                     const eh_tensor *);
eh_status eh_cuda_activation_backward(eh_backend *, eh_activation, const eh_tensor *, const eh_tensor *,
                                      const eh_tensor *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_gather_rows(eh_backend *, const eh_tensor *, const eh_tensor *, eh_output_mode, const eh_tensor *);
eh_status eh_cuda_scatter_add_rows(eh_backend *, const eh_tensor *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_column_sum(eh_backend *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_norm_forward(eh_backend *, const eh_norm *, const eh_tensor *, const eh_tensor *, const eh_tensor *,
                               const eh_tensor *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_norm_backward(eh_backend *, const eh_norm *, const eh_tensor *, const eh_tensor *, const eh_tensor *,
                                const eh_tensor *, eh_output_mode, const eh_tensor *, const eh_tensor *,
                                const eh_tensor *);
eh_status eh_cuda_multiply(eh_backend *, const eh_product *);
eh_status eh_cuda_multiply_activate(eh_backend *, const eh_product *, eh_activation, const eh_tensor *);
void eh_cuda_forget_products(eh_cuda_state *state); // what eh_cuda_multiply remembers
eh_status eh_cuda_attention_forward(eh_backend *, const eh_attention *, const eh_heads *, const eh_heads *,
                                    const eh_heads *, const eh_heads *, const eh_tensor *);
eh_status eh_cuda_attention_backward(eh_backend *, const eh_attention *, const eh_attention_grads *);
eh_status eh_cuda_output_forward(eh_backend *, const eh_output_layer *);
eh_status eh_cuda_output_backward(eh_backend *, const eh_output_layer *, const eh_tensor *, const eh_tensor *,
                                  const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_log_softmax_rows(eh_backend *, const eh_tensor *);
eh_status eh_cuda_divergence_rows(eh_backend *, const eh_tensor *, const eh_tensor *, const eh_tensor *, float,
                                  const eh_tensor *);
eh_status eh_cuda_argmax_rows(eh_backend *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_sample_rows(eh_backend *, const eh_sampling *);
size_t eh_cuda_output_scratch(int64_t rows, int64_t width, int64_t vocab, eh_dtype type); // the most that it takes
eh_status eh_cuda_adamw_runs(eh_backend *, const eh_adamw *, const eh_adamw_run *, int64_t, const eh_tensor *,
                             const eh_tensor *, const eh_tensor *, const eh_tensor *, const eh_tensor *);
void eh_cuda_forget_runs(eh_cuda_state *state);
eh_status eh_cuda_pull(eh_backend *, float, const eh_tensor *, const eh_tensor *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_squared_norms(eh_backend *, const eh_tensor *, const eh_norm_stretch *, int64_t);

#endif
