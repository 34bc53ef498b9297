// What an ordinary compiler can't read of CUDA C++, as macros for both compilers: nvcc, and the host compiler against
// the emulated headers of tests/cuda_host.
//   LAUNCH(kernel, grid, block, dynamic shared bytes, stream, arguments...)   a template with commas in parentheses
//   SHARED(T, name, n)           in place of __shared__ T name[n]
//   DYNAMIC_SHARED(T, name)      the dynamic shared memory as T *name
#ifndef EH_BACKEND_CUDA_LAUNCH_CUH
#define EH_BACKEND_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>

#include <cstdint>

// The most blocks along a grid's y and z, and bytes of fp32 logits at a time: as many as make the gradients' products
// large, whose results are read and written once for each block of logits. The emulated device has fewer of both, so
// that small shapes go in several launches.
#ifdef CUDAEMU
constexpr int64_t eh_largest_grid_y = cudaemu::largest_grid_y, eh_logit_bytes = 64 << 10;
#else
constexpr int64_t eh_largest_grid_y = 65535, eh_logit_bytes = 256 << 20;
#endif

#ifdef CUDAEMU
#define LAUNCH(kernel, grid, block, shared, stream, ...) \
    cudaemu::launch_kernel(#kernel, kernel, grid, block, shared, stream, __VA_ARGS__)
#define SHARED(T, name, n)                  \
    static cudaemu::SharedSlot name##_slot; \
    T *const name = static_cast<T *>(cudaemu::shared_array(name##_slot, (n) * sizeof(T), alignof(T)))
#define DYNAMIC_SHARED(T, name) T *const name = static_cast<T *>(cudaemu::dynamic_shared())
#else
#define LAUNCH(kernel, grid, block, shared, stream, ...) (kernel)<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define SHARED(T, name, n) __shared__ T name[n]
#define DYNAMIC_SHARED(T, name)                                   \
    extern __shared__ __align__(16) unsigned char shared_bytes[]; \
    T *const name = reinterpret_cast<T *>(shared_bytes)
#endif

#endif
