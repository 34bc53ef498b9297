// A fast hash of short byte strings, for tables in memory only.
#ifndef EH_TEXT_HASH_H
#define EH_TEXT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t eh_hash_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static inline uint64_t eh_hash_bytes(const char *bytes, size_t size)
{
    uint64_t hash = size;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = eh_hash_mix(hash, word);
        bytes += 8;
        size -= 8;
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < size; i++) rest |= (uint64_t)(uint8_t)bytes[i] << 8 * i;
    hash = eh_hash_mix(hash, rest);
    return hash ^ hash << 32; // the lower half takes the place, the upper half tells strangers apart
}

#endif
