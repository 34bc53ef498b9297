// SHA-256 (FIPS 180-4): the digest by which files are recognised.
#ifndef EH_CORE_SHA256_H
#define EH_CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define EH_SHA256_BYTES 32
#define EH_SHA256_TEXT 65 // 64 hexadecimal digits and a NUL

typedef struct {
    uint32_t state[8];
    uint64_t byte_count;
    uint8_t block[64];
    bool by_instruction; // the processor has instructions for it
} eh_sha256;

void eh_sha256_begin(eh_sha256 *sha);
void eh_sha256_add(eh_sha256 *sha, const void *bytes, size_t size);
void eh_sha256_end(eh_sha256 *sha, uint8_t digest[EH_SHA256_BYTES]);

// Digests as lower-case hexadecimal text, of bytes and of a whole file (EH_INPUT if it can't be read).
void eh_sha256_text(const void *bytes, size_t size, char text[EH_SHA256_TEXT]);
EH_CHECKED eh_status eh_sha256_file(const char *path, char text[EH_SHA256_TEXT]);

void eh_sha256_to_text(const uint8_t digest[EH_SHA256_BYTES], char text[EH_SHA256_TEXT]);

#endif
