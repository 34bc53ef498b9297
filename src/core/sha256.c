#include "core/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void add_block_plainly(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        const uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        const uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t added[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) state[i] += added[i];
}

#if defined(__x86_64__)

static bool has_instructions(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 19)) // SSE 4.1
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) != 0;
}

// The instructions keep the state as (a, b, e, f) and (c, d, g, h), and do two rounds each. 18x as fast as the plain
// way.
__attribute__((target("sha,sse4.1,ssse3"))) static void add_blocks_by_instruction(uint32_t state[8],
                                                                                  const uint8_t *block, size_t count)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xB1);
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (; count > 0; count--, block += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 16; i++) {
            const __m128i before = w[(i + 3) & 3];
            if (i < 4)
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)), big_endian);
            else
                w[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                                                              _mm_alignr_epi8(before, w[(i + 2) & 3], 4)),
                                                before);
            const __m128i constants = _mm_loadu_si128((const __m128i *)(const void *)(round_constants + 4 * i));
            const __m128i sum = _mm_add_epi32(w[i & 3], constants);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#else

static bool has_instructions(void)
{
    return false;
}

static void add_blocks_by_instruction(uint32_t state[8], const uint8_t *block, size_t count)
{
    for (; count > 0; count--, block += 64) add_block_plainly(state, block);
}

#endif

static void add_blocks(eh_sha256 *sha, const uint8_t *block, size_t count)
{
    if (sha->by_instruction)
        add_blocks_by_instruction(sha->state, block, count);
    else
        for (; count > 0; count--, block += 64) add_block_plainly(sha->state, block);
}

void eh_sha256_begin(eh_sha256 *sha)
{
    *sha = (eh_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
        .by_instruction = has_instructions()};
}

void eh_sha256_add(eh_sha256 *sha, const void *bytes, size_t size)
{
    const uint8_t *next = bytes;
    size_t filled = sha->byte_count % 64;
    sha->byte_count += size;
    while (size > 0) {
        if (filled == 0 && size >= 64) {
            const size_t blocks = size / 64;
            add_blocks(sha, next, blocks);
            next += 64 * blocks, size -= 64 * blocks;
            continue;
        }
        const size_t take = size < 64 - filled ? size : 64 - filled;
        memcpy(sha->block + filled, next, take);
        next += take, size -= take, filled += take;
        if (filled == 64) {
            add_blocks(sha, sha->block, 1);
            filled = 0;
        }
    }
}

void eh_sha256_end(eh_sha256 *sha, uint8_t digest[EH_SHA256_BYTES])
{
    const uint64_t bits = sha->byte_count * 8;
    const uint8_t one = 0x80, zero = 0;
    eh_sha256_add(sha, &one, 1);
    while (sha->byte_count % 64 != 56) eh_sha256_add(sha, &zero, 1);
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
    eh_sha256_add(sha, length, 8);
    for (int i = 0; i < EH_SHA256_BYTES; i++) digest[i] = (uint8_t)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
}

void eh_sha256_to_text(const uint8_t digest[EH_SHA256_BYTES], char text[EH_SHA256_TEXT])
{
    for (int i = 0; i < EH_SHA256_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

void eh_sha256_text(const void *bytes, size_t size, char text[EH_SHA256_TEXT])
{
    eh_sha256 sha;
    uint8_t digest[EH_SHA256_BYTES];
    eh_sha256_begin(&sha);
    eh_sha256_add(&sha, bytes, size);
    eh_sha256_end(&sha, digest);
    eh_sha256_to_text(digest, text);
}

eh_status eh_sha256_file(const char *path, char text[EH_SHA256_TEXT])
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    eh_sha256 sha;
    eh_sha256_begin(&sha);
    char buffer[1 << 16];
    size_t got = 0;
    while ((got = fread(buffer, 1, sizeof buffer, file)) > 0) eh_sha256_add(&sha, buffer, got);
    const bool failed = ferror(file) != 0;
    const int reason = errno;
    fclose(file);
    if (failed)
        return eh_error(EH_MACHINE, "%s: reading failed: %s", path, strerror(reason));
    uint8_t digest[EH_SHA256_BYTES];
    eh_sha256_end(&sha, digest);
    eh_sha256_to_text(digest, text);
    return EH_OK;
}
