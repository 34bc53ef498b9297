// Kernels that are wrong on purpose: the emulated device must notice each. A kernel runs in a child process, forward
// and in reversed order of the threads; it is noticed if the child dies, if its results differ between the orders, or
// if they hold NaN. What only a sanitizer sees is asked for in the build with that sanitizer.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/cuda/launch.cuh"

namespace
{

constexpr int threads = 64;
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
};

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
    LAUNCH(broken_kernel, dim3(1), dim3(threads), 0, nullptr, which, out, in);
    if (cudaDeviceSynchronize() != cudaSuccess)
        return 2;
    cudaMemcpy(host, out, sizeof host, cudaMemcpyDeviceToHost);
    for (int i = 0; i < threads; i++) std::printf("%a ", static_cast<double>(host[i]));
    return 0;
}

// The child's output, and whether it died.
bool child(const char *self, int which, int order, char *output, size_t size)
{
    char command[4096];
    std::snprintf(command, sizeof command, "'%s' %d %d 2>/dev/null", self, which, order);
    FILE *pipe = popen(command, "r");
    output[std::fread(output, 1, size - 1, pipe)] = '\0';
    return pclose(pipe) != 0;
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
    const int expected[] = {past_global, past_shared, two_barriers, misaligned};
#elif defined(BROKEN_TSAN)
    const int expected[] = {no_barrier, no_second_barrier, no_syncwarp, no_atomic};
#else
    const int expected[] = {no_barrier,     no_second_barrier, no_syncwarp,  two_barriers,
                            half_a_shuffle, past_global,       uninitialised};
#endif
    int passed = 0, failed = 0;
    const bool right_is_right = !noticed(self, none);
    std::printf("%s a kernel without a mistake is left in peace\n", right_is_right ? "ok     " : "FAILED ");
    right_is_right ? passed++ : failed++;
    for (int which : expected) {
        const bool seen = noticed(self, which);
        std::printf("%s mistake %d is noticed\n", seen ? "ok     " : "FAILED ", which);
        seen ? passed++ : failed++;
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
