// The safetensors format: 8 bytes of header length, a JSON header with dtype, shape and byte range of every tensor, the
// bytes. Everything that the header says is checked before anything is read.
#ifndef EH_IO_SAFETENSORS_H
#define EH_IO_SAFETENSORS_H

#include "io/stored_tensor.h"

// Adds the tensors of one file to the list. EH_INPUT names file and tensor of what is wrong: a header that is longer
// than the file, not JSON, or has a name twice; shapes that overflow or do not fit their range; ranges that overlap,
// leave gaps or end outside the file.
EH_CHECKED eh_status eh_safetensors_open(const char *path, eh_stored_tensors *list);
// The same for bytes in memory (the fuzz target); `file` is the index that the tensors get.
EH_CHECKED eh_status eh_safetensors_parse(const char *path, const uint8_t *bytes, size_t size, int64_t file,
                                          eh_stored_tensors *list);

// What a file is written from.
typedef struct {
    const char *name;
    const char *dtype; // "F32", "BF16", "F16"
    int dimension_count;
    int64_t shape[4];
    size_t size;
    int64_t index; // the caller's, handed to `write`
} eh_safetensors_entry;
// Writes the header, then asks for each entry's bytes in order: `append` must be called with entry.size bytes in total.
typedef struct eh_safetensors_writer eh_safetensors_writer;
EH_CHECKED eh_status eh_safetensors_create(const char *path, const eh_safetensors_entry *entries, int64_t count,
                                           eh_safetensors_writer **writer);
EH_CHECKED eh_status eh_safetensors_append(eh_safetensors_writer *writer, const void *bytes, size_t size);
// Flushes to the disk. EH_ASSERT if fewer or more bytes came than announced.
EH_CHECKED eh_status eh_safetensors_finish(eh_safetensors_writer **writer);
void eh_safetensors_abandon(eh_safetensors_writer **writer); // closes; the file is left for the caller to remove

#endif
