// A rank's one arena of device memory: slabs that the driver gave, cut into blocks. What is asked for once (weights,
// gradients, moments, activations, scratch) lies in it for the whole run; a step asks for nothing.
#ifndef EH_BACKEND_CUDA_MEMORY_CUH
#define EH_BACKEND_CUDA_MEMORY_CUH

#include <stddef.h>

#include <vector>

#include "core/status.h"

struct eh_cuda_block {
    char *address;
    size_t bytes; // a multiple of 256
    int slab;
    bool used;
    char purpose[40];
};

struct eh_cuda_arena {
    std::vector<char *> slabs;         // NULL: given back
    std::vector<eh_cuda_block> blocks; // by slab, then address: neighbours in a slab are neighbours here
    size_t slab_bytes;                 // the least that is asked of the driver; 0: every block is a slab of its own, so
                                       // that compute-sanitizer and the emulated device's guard pages see its end
};

void eh_cuda_arena_begin(eh_cuda_arena *arena);
void eh_cuda_arena_end(eh_cuda_arena *arena);
// EH_MACHINE if there is none: what was asked for, by whom, what is free, who holds the rest, and what would need less.
eh_status eh_cuda_arena_take(eh_cuda_arena *arena, size_t bytes, const char *purpose, void **address);
// Nothing that is queued may use it any more.
void eh_cuda_arena_give(eh_cuda_arena *arena, void *address);

#endif
