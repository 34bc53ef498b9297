// numpy's random permutations, number for number, for what the study shuffled with them: SeedSequence (M. E. O'Neill's
// seed_seq), PCG64 (O'Neill 2014, XSL-RR 128/64) and bounded integers by masked rejection, as
// numpy.random.default_rng permutes. Everything of our own draws from philox.h.
#ifndef EH_CORE_NUMPY_RANDOM_H
#define EH_CORE_NUMPY_RANDOM_H

#include <stdint.h>

// order = numpy.random.default_rng(seed).permutation(count); count below 2^32.
void eh_numpy_permutation(uint64_t seed, int64_t count, int64_t *order);

#endif
