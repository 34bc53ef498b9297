// The layout of a checkpoint file, shared by its writer and its reader.
#ifndef EH_IO_CHECKPOINT_INTERNAL_H
#define EH_IO_CHECKPOINT_INTERNAL_H

#include <stdint.h>
#include <zlib.h>

#include "core/sha256.h"
#include "core/status.h"

#define EH_CHECKPOINT_FORMAT "evenhand checkpoint 1"
enum { EH_CHECKPOINT_BLOCK = 1 << 20, EH_CHECKPOINT_CRC_TEXT = 8 };

static inline int64_t eh_checkpoint_block_count(int64_t data_bytes)
{
    return (data_bytes + EH_CHECKPOINT_BLOCK - 1) / EH_CHECKPOINT_BLOCK;
}

// CRC-32 of blocks [first, first + count) of the data, read from the file. EH_MACHINE if it can't be read, EH_INPUT if
// it ends too early.
EH_CHECKED eh_status eh_checkpoint_crcs(int file, const char *path, int64_t data_begin, int64_t data_bytes,
                                        int64_t first, int64_t count, uint32_t *crcs);
// Digest of a header in which the digest's own place holds zeros ('0').
void eh_checkpoint_header_digest(char *header, int64_t header_bytes, char *digest_place, char digest[EH_SHA256_TEXT]);

#endif
