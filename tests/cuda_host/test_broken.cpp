// Kernels, and host code around them, that are wrong on purpose: the emulated device must notice each. One runs in a
// child process, forward and in reversed order of the threads; it is noticed if the child dies or ends with the CUDA
// error that is due, if its results differ between the orders, or if they hold NaN. What only a sanitizer sees is asked
// for in the build with that sanitizer.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/cuda/launch.cuh"

namespace
{

constexpr int threads = 64, ended_by_error = 3;
// AddressSanitizer watches the bytes just behind an allocation; what is far away may be another's, which is not
// noticed.
#if defined(BROKEN_ASAN)
constexpr int past_by = threads;
#else
constexpr int past_by = 1 << 16;
#endif

enum mistake {
    none,
    no_barrier,        // reads what other threads write, without a barrier between
    no_second_barrier, // overwrites what others may not have read yet
    no_syncwarp,       // the same within a warp
    two_barriers,      // threads of a block wait in different __syncthreads
    half_a_shuffle,    // half a warp shuffles with the full mask, the rest waits elsewhere
    past_global,       // past the end of device memory
    uninitialised,     // reads shared memory that nobody wrote
    past_shared,       // one past the end of a shared array
    no_atomic,         // += where atomicAdd is due
    misaligned,        // four floats read together where no such vector may begin
    lane_not_in_mask,  // a shuffle whose mask lacks the lane that calls it
    too_many_threads,  // a block of 1025
    no_block,          // a grid of none
    too_flat_a_grid,   // more blocks along y than there can be
    too_much_shared,   // dynamic shared memory that was not asked for (cudaFuncSetAttribute)
    too_large_arrays,  // the same with shared arrays of the kernel
    host_pointer,      // a kernel that is given the host's memory
    host_touches,      // the host reads the device's memory
    copy_past_end,     // more bytes copied than the device's memory has
    use_after_free,    // a kernel writes what was given back
    near_past_end,     // into the bytes behind an allocation that are still of its last 256
    right_order,       // no mistake: streams that wait for each other, and the host for them
    no_event,          // a stream reads what another one has yet to write
    no_wait,           // the host reads a copy that is still under way
};
// How a mistake must end where the CUDA error itself is what tells.
cudaError_t due_error(int which)
{
    switch (which) {
    case too_many_threads:
    case no_block:
    case too_flat_a_grid:
        return cudaErrorInvalidConfiguration;
    case too_much_shared:
    case copy_past_end:
        return cudaErrorInvalidValue;
    default:
        return cudaSuccess;
    }
}

__global__ void broken_kernel(int which, float *out, const float *in)
{
    SHARED(float, s, threads);
    SHARED(float, total, 1);
    const int i = static_cast<int>(threadIdx.x);
    if (i == 0)
        total[0] = 0;
    if (which != uninitialised || i == 0)
        s[which == past_shared ? i + 1 : i] = in[i];
    if (which == no_barrier)
        out[i] = s[threads - 1 - i];
    if (which == no_syncwarp)
        out[i] = s[i ^ 1];
    if (which == two_barriers && i < 32)
        __syncthreads();
    else
        __syncthreads();
    if (which == half_a_shuffle && i % 32 < 16)
        out[i] = __shfl_xor_sync(0xffffffffu, in[i], 1);
    if (which == lane_not_in_mask)
        out[i] = __shfl_xor_sync(0x7fffffffu, in[i], 1);
    for (int round = 0; round < 2 && which == no_second_barrier; round++) {
        s[i] = in[i] + static_cast<float>(round);
        __syncthreads();
        out[i] += s[(i + 1) % threads];
    }
    if (which == misaligned) {
        const float4 four = *reinterpret_cast<const float4 *>(in + i / 8);
        out[i] = four.x + four.w;
    }
    if (which == past_global)
        out[i + past_by] = in[i];
    if (which == none || which == uninitialised || which == past_shared)
        out[i] = s[i];
    if (which == no_atomic) {
        total[0] += in[i];
        __syncthreads();
        out[i] = total[0];
    }
    __syncthreads();
}

__global__ void hungry_kernel(float *out)
{
    SHARED(float, much, 13000); // 50.8 KiB; 48 are given unasked
    much[threadIdx.x] = 1;
    out[threadIdx.x] = much[threadIdx.x];
}

__global__ void fill_kernel(float *out, float value)
{
    out[threadIdx.x] = value;
}

__global__ void copy_kernel(float *out, const float *in)
{
    out[threadIdx.x] = in[threadIdx.x];
}

// The mistakes of a launch, of the host and between streams. false: not one of them. *results: what would be printed.
bool run_host_mistake(int which, float *out, float *in, float *results)
{
    cudaStream_t first = nullptr, second = nullptr;
    cudaEvent_t written = nullptr;
    float *pinned = nullptr, *fresh = nullptr;
    switch (which) {
    case too_many_threads:
        LAUNCH(fill_kernel, dim3(1), dim3(1025), 0, nullptr, out, 1.0f);
        break;
    case no_block:
        LAUNCH(fill_kernel, dim3(0), dim3(threads), 0, nullptr, out, 1.0f);
        break;
    case too_flat_a_grid:
        LAUNCH(fill_kernel, dim3(1, 65536), dim3(threads), 0, nullptr, out, 1.0f);
        break;
    case too_much_shared:
        LAUNCH(fill_kernel, dim3(1), dim3(threads), 49 * 1024, nullptr, out, 1.0f);
        break;
    case too_large_arrays:
        LAUNCH(hungry_kernel, dim3(1), dim3(threads), 0, nullptr, out);
        break;
    case host_pointer:
        LAUNCH(copy_kernel, dim3(1), dim3(threads), 0, nullptr, out, static_cast<const float *>(results));
        break;
    case copy_past_end:
        (void)cudaMemcpy(out, in, 2 * threads * sizeof(float), cudaMemcpyDeviceToDevice);
        break;
    case host_touches:
        cudaemu_set_strict(1);
        results[0] = in[0];
        break;
    case use_after_free:
        (void)cudaFree(in);
        LAUNCH(fill_kernel, dim3(1), dim3(threads), 0, nullptr, in, 1.0f);
        break;
    case near_past_end:
        (void)cudaMalloc(reinterpret_cast<void **>(&fresh), (threads - 1) * sizeof(float));
        LAUNCH(fill_kernel, dim3(1), dim3(threads), 0, nullptr, fresh, 1.0f);
        (void)cudaFree(fresh);
        break;
    case right_order:
    case no_event:
    case no_wait:
        cudaemu_set_lazy(1);
        (void)cudaMalloc(reinterpret_cast<void **>(&fresh), threads * sizeof(float));
        (void)cudaMallocHost(reinterpret_cast<void **>(&pinned), threads * sizeof(float));
        (void)cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
        (void)cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
        for (int i = 0; i < threads; i++) pinned[i] = NAN;
        LAUNCH(fill_kernel, dim3(1), dim3(threads), 0, first, fresh, 1.0f);
        if (which == no_wait)
            (void)cudaMemcpyAsync(pinned, fresh, threads * sizeof(float), cudaMemcpyDeviceToHost, first);
        if (which == right_order) {
            (void)cudaEventCreate(&written);
            (void)cudaEventRecord(written, first);
            (void)cudaStreamWaitEvent(second, written, 0);
        }
        if (which != no_wait) {
            (void)cudaMemcpyAsync(pinned, fresh, threads * sizeof(float), cudaMemcpyDeviceToHost, second);
            (void)cudaStreamSynchronize(second);
        }
        std::memcpy(results, pinned, threads * sizeof(float));
        break;
    default:
        return false;
    }
    return true;
}

// Runs one mistake in this process and prints the results' bits.
int run(int which, long order)
{
    float *in = nullptr, *out = nullptr, host[threads];
    cudaemu_set_order(order);
    for (int i = 0; i < threads; i++) host[i] = static_cast<float>(i + 1);
    if (cudaMalloc(&in, sizeof host) != cudaSuccess || cudaMalloc(&out, sizeof host) != cudaSuccess)
        return 2;
    cudaMemcpy(in, host, sizeof host, cudaMemcpyHostToDevice);
    cudaMemset(out, 0, sizeof host);
    if (run_host_mistake(which, out, in, host)) {
        const cudaError_t error = cudaGetLastError();
        if (cudaDeviceSynchronize() != cudaSuccess || (error != cudaSuccess && error != due_error(which)))
            return 2;
        if (error != cudaSuccess)
            return ended_by_error;
    } else {
        LAUNCH(broken_kernel, dim3(1), dim3(threads), 0, nullptr, which, out, in);
        if (cudaGetLastError() != cudaSuccess || cudaDeviceSynchronize() != cudaSuccess)
            return 2;
        cudaMemcpy(host, out, sizeof host, cudaMemcpyDeviceToHost);
    }
    for (int i = 0; i < threads; i++) std::printf("%a ", static_cast<double>(host[i]));
    return 0;
}

// The child's output, and whether it died or ended with the error that is due.
bool child(const char *self, int which, int order, char *output, size_t size)
{
    char command[8192];
    std::snprintf(command, sizeof command, "'%s' %d %d 2>/dev/null", self, which, order);
    FILE *pipe = popen(command, "r");
    output[std::fread(output, 1, size - 1, pipe)] = '\0';
    const int ended = pclose(pipe);
    if (due_error(which) != cudaSuccess)
        return WIFEXITED(ended) && WEXITSTATUS(ended) == ended_by_error;
    return ended != 0;
}

bool noticed(const char *self, int which)
{
    char forward[8192], reversed[8192];
    const bool died =
        child(self, which, 0, forward, sizeof forward) | child(self, which, -1, reversed, sizeof reversed);
    return died || std::strcmp(forward, reversed) != 0 || std::strstr(forward, "nan") != nullptr;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc == 3)
        return run(std::atoi(argv[1]), std::atol(argv[2]));
    char self[4096] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return 2;
#if defined(BROKEN_ASAN)
    const int expected[] = {past_global, past_shared, two_barriers, misaligned, near_past_end, use_after_free};
#elif defined(BROKEN_TSAN)
    const int expected[] = {no_barrier, no_second_barrier, no_syncwarp, no_atomic};
#else
    const int expected[] = {no_barrier,      no_second_barrier, no_syncwarp,      two_barriers,     half_a_shuffle,
                            past_global,     uninitialised,     lane_not_in_mask, too_many_threads, no_block,
                            too_flat_a_grid, too_much_shared,   too_large_arrays, host_touches,     copy_past_end,
                            use_after_free,  near_past_end,     no_event,         no_wait,          host_pointer};
#endif
    int passed = 0, failed = 0;
    for (int which : {none, right_order}) {
        const bool right_is_right = !noticed(self, which);
        std::printf("%s %d, without a mistake, is left in peace\n", right_is_right ? "ok     " : "FAILED ", which);
        right_is_right ? passed++ : failed++;
    }
    for (int which : expected) {
        const bool seen = noticed(self, which);
        std::printf("%s mistake %d is noticed\n", seen ? "ok     " : "FAILED ", which);
        seen ? passed++ : failed++;
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
