// A file mapped into memory, read only: pages come in as they are read and belong to the system's cache.
#ifndef EH_IO_MAPPED_FILE_H
#define EH_IO_MAPPED_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    char *path; // owned
    const uint8_t *bytes;
    size_t size;
} eh_mapped_file;

// EH_INPUT with path and cause if the file can't be read. An empty file has bytes NULL and size 0.
EH_CHECKED eh_status eh_mapped_file_open(const char *path, eh_mapped_file *file);
void eh_mapped_file_close(eh_mapped_file *file); // all zero is allowed, and is what it leaves
// The pages of [bytes, bytes + size) were read once and won't be soon again: they may leave this process's memory.
void eh_mapped_file_forget(const eh_mapped_file *file, const void *bytes, size_t size);

#endif
