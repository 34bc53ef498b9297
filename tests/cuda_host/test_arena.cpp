// The arena of a device (cuda/memory.cu), with slabs of 1 MiB: pieces of random sizes are taken and given back in
// random order. Each begins where any vector may, lies within one slab, keeps what was written to it while others come
// and go, and in the end all memory is the driver's again.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "backend/cuda/device.cuh"

namespace
{

struct piece {
    unsigned char *address;
    size_t bytes;
    unsigned char filling;
};

int failures;

void check(const char *what, bool right)
{
    if (!right && failures++ < 10)
        std::fprintf(stderr, "FAILED: %s\n", what);
}

bool keeps(const piece &p)
{
    for (size_t i = 0; i < p.bytes; i++)
        if (p.address[i] != p.filling)
            return false;
    return true;
}

size_t free_bytes()
{
    size_t available = 0, total = 0;
    check("cudaMemGetInfo", cudaMemGetInfo(&available, &total) == cudaSuccess);
    return available;
}

} // namespace

int main()
{
    constexpr int steps = 4000;
    std::mt19937_64 random(5);
    std::vector<piece> held;
    setenv("EVENHAND_CUDA_SLAB_MIB", "1", 1);
    const size_t before = free_bytes();
    eh_cuda_arena arena = {};
    eh_cuda_arena_begin(&arena);
    size_t most = 0, asked = 0;
    for (int step = 0; step < steps; step++) {
        const size_t kinds[] = {random() % 100, random() % 5000, random() % 400000, random() % 3000000};
        if (held.size() < 40 && (held.empty() || random() % 2 == 0)) {
            piece p = {nullptr, kinds[random() % 4], static_cast<unsigned char>(step)};
            void *address = nullptr;
            check("a piece is given", eh_cuda_arena_take(&arena, p.bytes, "a piece", &address) == EH_OK);
            p.address = static_cast<unsigned char *>(address);
            check("it begins at a multiple of 256", reinterpret_cast<uintptr_t>(address) % 256 == 0);
            std::memset(p.address, p.filling, p.bytes); // past a slab's end there is a guard page
            held.push_back(p);
            asked += p.bytes;
        } else {
            const size_t k = random() % held.size();
            check("what was in it is still there", keeps(held[k]));
            eh_cuda_arena_give(&arena, held[k].address);
            asked -= held[k].bytes;
            held[k] = held.back();
            held.pop_back();
        }
        const size_t used = before - free_bytes();
        check("no less than what is asked for is in use", used >= asked);
        most = used > most ? used : most;
    }
    for (const piece &p : held) {
        check("what was in it is still there", keeps(p));
        eh_cuda_arena_give(&arena, p.address);
    }
    check("all memory is the driver's again", free_bytes() == before);
    eh_cuda_arena_end(&arena);
    std::printf("%zu MiB at most\n%d passed, %d failed\n", most >> 20, failures == 0, failures);
    return failures != 0;
}
