// A fast hash of short byte strings, for tables in memory only.
#ifndef EH_TEXT_HASH_H
#define EH_TEXT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// A product's low bits know only its factors' low bits, so the high ones are folded back after each step,
static inline uint64_t eh_hash_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

// and once more at the end: every bit of the result depends on all bytes.
static inline uint64_t eh_hash_end(uint64_t hash)
{
    hash *= 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 32;
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
    return eh_hash_end(hash);
}

#endif
