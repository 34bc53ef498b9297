#include "core/numpy_random.h"

#include <stdbool.h>

#include "core/philox.h"

// --- SeedSequence: a seed becomes a pool of four words, the pool as many words as are wanted ---

enum { POOL = 4, STATE_WORDS = 8 };

// The constant moves on with every word that is hashed.
static uint32_t hash_word(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    const uint32_t mixed = 0xca01f9ddu * x - 0x4973f715u * y;
    return mixed ^ mixed >> 16;
}

static void make_state(uint64_t seed, uint32_t state[STATE_WORDS])
{
    const uint32_t entropy[POOL] = {(uint32_t)seed, (uint32_t)(seed >> 32), 0, 0};
    uint32_t pool[POOL], constant = 0x43b0d7e5u;
    for (int i = 0; i < POOL; i++) pool[i] = hash_word(entropy[i], &constant, 0x931e8875u);
    for (int from = 0; from < POOL; from++) {
        for (int to = 0; to < POOL; to++) {
            if (from != to)
                pool[to] = mix(pool[to], hash_word(pool[from], &constant, 0x931e8875u));
        }
    }
    constant = 0x8b51f9ddu;
    for (int i = 0; i < STATE_WORDS; i++) state[i] = hash_word(pool[i % POOL], &constant, 0x58f38dedu);
}

// --- PCG64 ---

typedef struct {
    eh_u128 state, increment;
    uint32_t kept; // the high half of a number whose low half was given out
    bool has_kept;
} generator;

static void step(generator *g)
{
    const eh_u128 multiplier = (eh_u128)2549297995355413924u << 64 | 4865540595714422341u;
    g->state = g->state * multiplier + g->increment;
}

static generator begin(uint64_t seed)
{
    uint32_t words[STATE_WORDS];
    uint64_t values[STATE_WORDS / 2];
    make_state(seed, words);
    for (int i = 0; i < STATE_WORDS / 2; i++) values[i] = (uint64_t)words[2 * i + 1] << 32 | words[2 * i];
    generator g = {.increment = ((eh_u128)values[2] << 64 | values[3]) << 1 | 1};
    step(&g);
    g.state += (eh_u128)values[0] << 64 | values[1];
    step(&g);
    return g;
}

static uint32_t next_32(generator *g)
{
    if (g->has_kept) {
        g->has_kept = false;
        return g->kept;
    }
    step(g);
    const uint64_t folded = (uint64_t)(g->state >> 64) ^ (uint64_t)g->state;
    const unsigned turn = (unsigned)(g->state >> 122);
    const uint64_t number = folded >> turn | folded << (-turn & 63);
    g->kept = (uint32_t)(number >> 32);
    g->has_kept = true;
    return (uint32_t)number;
}

// At most `most`: numbers of as many bits until one is not above it.
static uint32_t next_to(generator *g, uint32_t most)
{
    uint32_t mask = most, number;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    do number = next_32(g) & mask;
    while (number > most);
    return number;
}

void eh_numpy_permutation(uint64_t seed, int64_t count, int64_t *order)
{
    generator g = begin(seed);
    for (int64_t i = 0; i < count; i++) order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t j = next_to(&g, (uint32_t)i);
        const int64_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}
