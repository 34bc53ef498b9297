#include "core/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

static void add_block(eh_sha256 *sha, const uint8_t *block)
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
    uint32_t s[8];
    memcpy(s, sha->state, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t s1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        const uint32_t t1 = s[7] + s1 + choice + round_constants[i] + w[i];
        const uint32_t s0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        const uint32_t t2 = s0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) sha->state[i] += s[i];
}

void eh_sha256_begin(eh_sha256 *sha)
{
    *sha = (eh_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void eh_sha256_add(eh_sha256 *sha, const void *bytes, size_t size)
{
    const uint8_t *next = bytes;
    size_t filled = sha->byte_count % 64;
    sha->byte_count += size;
    while (size > 0) {
        if (filled == 0 && size >= 64) {
            add_block(sha, next);
            next += 64, size -= 64;
            continue;
        }
        const size_t take = size < 64 - filled ? size : 64 - filled;
        memcpy(sha->block + filled, next, take);
        next += take, size -= take, filled += take;
        if (filled == 64) {
            add_block(sha, sha->block);
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
