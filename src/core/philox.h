// Counter-based random numbers, Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a
// number is a function of (seed, stream, index), never of a rank, a thread or of what was drawn before.
#ifndef EH_CORE_PHILOX_H
#define EH_CORE_PHILOX_H

#include <math.h>
#include <stdint.h>

// Streams keep uses of one seed apart. Add one here when a new use needs random numbers.
typedef enum {
    EH_STREAM_WEIGHTS = 1,
    EH_STREAM_SHUFFLE,
    EH_STREAM_SPLIT,
    EH_STREAM_DROPOUT,
    EH_STREAM_SAMPLING,
    EH_STREAM_BOOTSTRAP,
    EH_STREAM_PERMUTATION,
    EH_STREAM_DIRECTION,
    EH_STREAM_NOISE,
    EH_STREAM_PLANT,
    EH_STREAM_NULL_PICKER,
    EH_STREAM_TEST,
    EH_STREAM_DAMAGE,
    EH_STREAM_CONTEXT,
} eh_stream;

typedef struct {
    uint32_t word[4];
} eh_philox_block;

// The four 32-bit words of counter (index, sub) under key (seed mixed with stream).
static inline eh_philox_block eh_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t sub)
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = (uint32_t)stream, c3 = sub;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32) ^ (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (eh_philox_block){{c0, c1, c2, c3}};
}

static inline uint64_t eh_random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    const eh_philox_block block = eh_philox(seed, stream, index, 0);
    return (uint64_t)block.word[0] | (uint64_t)block.word[1] << 32;
}

// Uniform in [0, 1), 53 bits.
static inline double eh_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(eh_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

__extension__ typedef unsigned __int128 eh_u128; // a wide product; only here to draw below a bound

// The bound `count` > 0 applied to 64 random bits: uniform in {0 .. count - 1} (Lemire 2019; bias below count / 2^64).
static inline uint64_t eh_random_scale(uint64_t random, uint64_t count)
{
    return (uint64_t)((eh_u128)random * count >> 64);
}

// Uniform in {0 .. count - 1}, count > 0.
static inline uint64_t eh_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t count)
{
    return eh_random_scale(eh_random_u64(seed, stream, index), count);
}

// Standard normal (Box and Muller 1958).
static inline double eh_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    const eh_philox_block block = eh_philox(seed, stream, index, 1);
    const double u = ((double)(((uint64_t)block.word[1] << 32 | block.word[0]) >> 11) + 1) * 0x1p-53; // (0, 1]
    const double v = (double)(((uint64_t)block.word[3] << 32 | block.word[2]) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * v);
}

// order[0 .. count - 1] becomes a random permutation (Fisher and Yates, from the end), keyed by (seed, stream, key).
void eh_random_permutation(uint64_t seed, uint64_t stream, uint64_t key, int64_t count, int64_t *order);

#endif
