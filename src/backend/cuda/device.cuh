// What the CUDA kernels share: the device's state, errors as statuses, typed loads and stores, reductions.
// A tensor's dtype is the same for a whole grid, so kernels branch on it when they load and store, four elements at a
// time (128 bits in fp32, 64 in 16-bit types): one kernel serves all dtypes and memory still bounds it.
#ifndef EH_BACKEND_CUDA_DEVICE_CUH
#define EH_BACKEND_CUDA_DEVICE_CUH

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/backend_internal.h"
#include "backend/cuda/launch.cuh"

#define EH_CUDA_STAGING_SLOTS 4
#define EH_CUDA_STAGING_BYTES ((size_t)1 << 20)

struct eh_cuda_state {
    int device;
    int multiprocessors;
    cudaStream_t stream;
    cublasHandle_t blas;
    // Pinned memory through which host data goes, so that copies are asynchronous; a slot is free once its event
    // passed.
    char *staging[EH_CUDA_STAGING_SLOTS];
    cudaEvent_t staged[EH_CUDA_STAGING_SLOTS];
    int next_slot;
    // Device scratch of the operation at work; grows to the largest ever asked for, so that a steady step allocates
    // nothing.
    void *scratch;
    size_t scratch_bytes;
    // T5's buckets by distance, one table per configuration seen.
    struct {
        int bucket_count, max_distance;
        bool bidirectional;
        int *device; // [2 * max_distance + 1]
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
// Device scratch of at least `bytes`; valid until the next call. Several uses of one operation share one block.
eh_status eh_cuda_scratch(eh_backend *backend, size_t bytes, void **scratch);

// --- Tensors as kernels see them -----------------------------------------------------------
struct eh_array {
    void *data;
    int dtype;
    bool vectors; // rows of `width` begin where four elements can be moved at once
};

static inline eh_array eh_array_of(const eh_tensor *tensor, int64_t width)
{
    if (!eh_tensor_exists(tensor))
        return {nullptr, EH_F32, false};
    void *data = eh_tensor_address(tensor);
    const size_t four = 4 * eh_dtype_bytes(tensor->dtype);
    return {data, static_cast<int>(tensor->dtype), reinterpret_cast<uintptr_t>(data) % four == 0 && width % 4 == 0};
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

struct alignas(8) eh_four_bf16 {
    __nv_bfloat16 x, y, z, w;
};
struct alignas(8) eh_four_half {
    __half x, y, z, w;
};

// Elements i .. i + 3; those at or past `end` are 0 (and not stored).
static __device__ inline float4 eh_load4(const eh_array &a, int64_t i, int64_t end)
{
    if (!a.vectors || i + 4 > end)
        return make_float4(i < end ? eh_load(a, i) : 0.0f, i + 1 < end ? eh_load(a, i + 1) : 0.0f,
                           i + 2 < end ? eh_load(a, i + 2) : 0.0f, i + 3 < end ? eh_load(a, i + 3) : 0.0f);
    if (a.dtype == EH_F32)
        return *reinterpret_cast<const float4 *>(static_cast<const float *>(a.data) + i);
    if (a.dtype == EH_BF16) {
        const eh_four_bf16 v = *reinterpret_cast<const eh_four_bf16 *>(static_cast<const __nv_bfloat16 *>(a.data) + i);
        return make_float4(__bfloat162float(v.x), __bfloat162float(v.y), __bfloat162float(v.z), __bfloat162float(v.w));
    }
    const eh_four_half v = *reinterpret_cast<const eh_four_half *>(static_cast<const __half *>(a.data) + i);
    return make_float4(__half2float(v.x), __half2float(v.y), __half2float(v.z), __half2float(v.w));
}

static __device__ inline void eh_store4(const eh_array &a, int64_t i, int64_t end, float4 value)
{
    if (!a.vectors || i + 4 > end) {
        const float values[4] = {value.x, value.y, value.z, value.w};
        for (int64_t j = 0; j < 4 && i + j < end; j++) eh_store(a, i + j, values[j]);
    } else if (a.dtype == EH_F32)
        *reinterpret_cast<float4 *>(static_cast<float *>(a.data) + i) = value;
    else if (a.dtype == EH_BF16)
        *reinterpret_cast<eh_four_bf16 *>(static_cast<__nv_bfloat16 *>(a.data) + i) = {
            __float2bfloat16(value.x), __float2bfloat16(value.y), __float2bfloat16(value.z), __float2bfloat16(value.w)};
    else
        *reinterpret_cast<eh_four_half *>(static_cast<__half *>(a.data) + i) = {
            __float2half(value.x), __float2half(value.y), __float2half(value.z), __float2half(value.w)};
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
// Over a block of eh_block_threads; every thread gets the result. The order of the sum is fixed.
static __device__ inline float eh_block_sum(float x)
{
    SHARED(float, partial, eh_block_threads / 32);
    x = eh_warp_sum(x);
    __syncthreads(); // those who read the last sum are done
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int warp = 0; warp < eh_block_threads / 32; warp++) sum += partial[warp];
    return sum;
}
static __device__ inline float eh_block_max(float x)
{
    SHARED(float, partial, eh_block_threads / 32);
    x = eh_warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = x;
    __syncthreads();
    float top = partial[0];
    for (int warp = 1; warp < eh_block_threads / 32; warp++) top = fmaxf(top, partial[warp]);
    return top;
}

// The random word that every backend uses for dropout of element `index` (backend_internal.h: eh_dropout_word).
static __device__ inline uint32_t eh_cuda_dropout_word(uint64_t seed, uint64_t index)
{
    const uint64_t block = index >> 2;
    uint32_t c[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                     static_cast<uint32_t>(EH_STREAM_DROPOUT), 0};
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c[0], p1 = static_cast<uint64_t>(0xCD9E8D57u) * c[2];
        const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0,
                       n2 = static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1;
        c[0] = n0;
        c[1] = static_cast<uint32_t>(p1);
        c[2] = n2;
        c[3] = static_cast<uint32_t>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c[index & 3];
}

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
eh_status eh_cuda_adamw_step(eh_backend *, const eh_adamw *, const eh_tensor *, const eh_tensor *, const eh_tensor *,
                             const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_pull(eh_backend *, float, const eh_tensor *, const eh_tensor *, const eh_tensor *, const eh_tensor *);
eh_status eh_cuda_squared_norm(eh_backend *, const eh_tensor *, double *);

#endif
