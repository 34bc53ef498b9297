// A file that is there complete or not at all: written beside its goal, flushed to the disk, then renamed.
#ifndef EH_IO_ATOMIC_H
#define EH_IO_ATOMIC_H

#include <stddef.h>
#include <stdio.h>

#include "core/status.h"

// All zero is an empty one. `file` is open for writing between eh_atomic_begin and eh_atomic_commit.
typedef struct {
    FILE *file;
    char *path;   // the goal
    char *beside; // what is written meanwhile: PATH.part
} eh_atomic;

// Opens PATH.part for writing; folders on the way are made. EH_MACHINE if that fails.
EH_CHECKED eh_status eh_atomic_begin(const char *path, eh_atomic *atomic);
// Flushes, renames onto the goal, flushes the folder. What was printed to `file` without checking is checked here:
// EH_MACHINE ("no space left on device") and the goal is as it was.
EH_CHECKED eh_status eh_atomic_commit(eh_atomic *atomic);
// Closes and removes PATH.part unless it was committed. Safe at any time.
void eh_atomic_discard(eh_atomic *atomic);

// The three steps at once.
EH_CHECKED eh_status eh_atomic_write(const char *path, const void *bytes, size_t size);

// For files that a library wrote: flush BESIDE to the disk and rename it onto PATH.
EH_CHECKED eh_status eh_atomic_flush(const char *path);
EH_CHECKED eh_status eh_atomic_rename(const char *beside, const char *path);

// mkdir -p, of the path itself or of the folder that it lies in.
EH_CHECKED eh_status eh_make_folders(const char *path);
EH_CHECKED eh_status eh_make_parent_folders(const char *path);

#endif
