#include "core/philox.h"

void eh_random_permutation(uint64_t seed, uint64_t stream, uint64_t key, int64_t count, int64_t *order)
{
    for (int64_t i = 0; i < count; i++) order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        const eh_philox_block block = eh_philox(seed, stream, (uint64_t)i, (uint32_t)key);
        const uint64_t random = (uint64_t)block.word[0] | (uint64_t)block.word[1] << 32;
        const int64_t j = (int64_t)eh_random_scale(random, (uint64_t)(i + 1));
        const int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}
