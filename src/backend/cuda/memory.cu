// The arena: best fit among the free blocks, neighbours joined when they become free. There are some tens of blocks.
#include "backend/cuda/memory.cuh"
#include <cstddef>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/device.cuh"

namespace
{

constexpr size_t grain = 256; // what cudaMalloc aligns to: any vector load is aligned
constexpr size_t usual_slab = (size_t)64 << 20;

// What needs less memory, by what did not fit; `evenhand plan` computes the sizes.
const char *advice(const char *purpose)
{
    if (strstr(purpose, "activations") != nullptr || strstr(purpose, "scratch") != nullptr)
        return "more train.micro_batches, memory.recompute: blocks or a smaller train.batch need less";
    if (strstr(purpose, "weight") != nullptr || strstr(purpose, "gradient") != nullptr ||
        strstr(purpose, "moment") != nullptr)
        return "precision: auto, a higher memory.zero on more ranks, or an adapter (train.method) need less";
    return "a smaller batch or model needs less";
}

// "weights 1.1 GiB, gradients 2.2 GiB": the blocks in use, by purpose.
void list_holders(const eh_cuda_arena *arena, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < arena->blocks.size() && used < size; i++) {
        const eh_cuda_block &block = arena->blocks[i];
        bool told = !block.used;
        size_t together = 0;
        for (size_t j = 0; j < arena->blocks.size() && !told; j++) {
            const eh_cuda_block &other = arena->blocks[j];
            if (!other.used || strcmp(other.purpose, block.purpose) != 0)
                continue;
            told = j < i;
            together += other.bytes;
        }
        if (!told)
            used += static_cast<size_t>(snprintf(text + used, size - used, "%s%s %.1f MiB", used > 0 ? ", " : "",
                                                 block.purpose, static_cast<double>(together) / 0x1p20));
    }
    if (used == 0)
        snprintf(text, size, "nothing");
}

eh_status out_of_memory(const eh_cuda_arena *arena, size_t bytes, const char *purpose)
{
    char holders[512];
    size_t available = 0, total = 0;
    cudaGetLastError(); // the failure is handled here
    EH_CUDA(cudaMemGetInfo(&available, &total));
    list_holders(arena, holders, sizeof holders);
    return eh_error(EH_MACHINE,
                    "the GPU is out of memory: %.1f MiB for %s were asked for, %.1f of %.1f MiB are free; this rank "
                    "holds %s; %s: `evenhand plan JOB` shows what would fit",
                    static_cast<double>(bytes) / 0x1p20, purpose, static_cast<double>(available) / 0x1p20,
                    static_cast<double>(total) / 0x1p20, holders, advice(purpose));
}

eh_status add_slab(eh_cuda_arena *arena, size_t bytes, const char *purpose, size_t *index)
{
    size_t asked = bytes > arena->slab_bytes ? bytes : arena->slab_bytes;
    void *address = nullptr;
    cudaError_t error = cudaMalloc(&address, asked);
    if (error == cudaErrorMemoryAllocation && asked > bytes) {
        cudaGetLastError();
        error = cudaMalloc(&address, asked = bytes);
    }
    if (error == cudaErrorMemoryAllocation)
        return out_of_memory(arena, bytes, purpose);
    EH_CUDA(error);
    arena->slabs.push_back(static_cast<char *>(address));
    arena->blocks.push_back(
        {static_cast<char *>(address), asked, static_cast<int>(arena->slabs.size()) - 1, false, ""});
    *index = arena->blocks.size() - 1;
    return EH_OK;
}

} // namespace

void eh_cuda_arena_begin(eh_cuda_arena *arena)
{
    const char *text = getenv("EVENHAND_CUDA_SLAB_MIB");
    arena->slab_bytes = text != nullptr ? static_cast<size_t>(strtoul(text, nullptr, 10)) << 20 : usual_slab;
}

void eh_cuda_arena_end(eh_cuda_arena *arena)
{
    for (char *slab : arena->slabs)
        if (slab != nullptr)
            cudaFree(slab);
    arena->slabs.clear();
    arena->blocks.clear();
}

eh_status eh_cuda_arena_take(eh_cuda_arena *arena, size_t bytes, const char *purpose, void **address)
{
    const size_t wanted = (bytes > 0 ? bytes + grain - 1 : grain) / grain * grain;
    size_t best = arena->blocks.size();
    for (size_t i = 0; i < arena->blocks.size(); i++)
        if (!arena->blocks[i].used && arena->blocks[i].bytes >= wanted &&
            (best == arena->blocks.size() || arena->blocks[i].bytes < arena->blocks[best].bytes))
            best = i;
    if (best == arena->blocks.size())
        EH_TRY(add_slab(arena, arena->slab_bytes > 0 || bytes == 0 ? wanted : bytes, purpose, &best));
    if (arena->slab_bytes > 0 && arena->blocks[best].bytes > wanted) {
        eh_cuda_block rest = arena->blocks[best];
        rest.address += wanted;
        rest.bytes -= wanted;
        arena->blocks[best].bytes = wanted;
        arena->blocks.insert(arena->blocks.begin() + static_cast<std::ptrdiff_t>(best) + 1, rest);
    }
    eh_cuda_block &block = arena->blocks[best];
    block.used = true;
    snprintf(block.purpose, sizeof block.purpose, "%s", purpose);
    *address = block.address;
    return EH_OK;
}

// A slab that is free as a whole goes back to the driver: `auto` and tests open and close many.
void eh_cuda_arena_give(eh_cuda_arena *arena, void *address)
{
    std::vector<eh_cuda_block> &blocks = arena->blocks;
    size_t at = 0;
    while (at < blocks.size() && blocks[at].address != address) at++;
    if (at == blocks.size())
        return;
    blocks[at].used = false;
    const auto join = [&blocks](size_t first) { // with the block behind it
        blocks[first].bytes += blocks[first + 1].bytes;
        blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(first) + 1);
    };
    if (at + 1 < blocks.size() && !blocks[at + 1].used && blocks[at + 1].slab == blocks[at].slab)
        join(at);
    if (at > 0 && !blocks[at - 1].used && blocks[at - 1].slab == blocks[at].slab)
        join(--at);
    const int slab = blocks[at].slab;
    const bool alone =
        (at == 0 || blocks[at - 1].slab != slab) && (at + 1 == blocks.size() || blocks[at + 1].slab != slab);
    if (!alone)
        return;
    cudaFree(arena->slabs[static_cast<size_t>(slab)]);
    arena->slabs[static_cast<size_t>(slab)] = nullptr;
    blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
}
