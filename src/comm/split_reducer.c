// The fixed-tree sum of gradients that stays divided: in each round all ranks have a leaf each, neighbours in the tree.
// A rank receives the others' values of its own stretch, a block of every leaf at a time, and pushes the leaves on the
// tree's stack (tree.h) in their order. So it holds partial sums of its own stretches alone.
#include <string.h>

#include "comm/comm_internal.h"
#include "comm/partition.h"
#include "comm/tree.h"
#include "core/memory.h"

enum {
    CACHE_BLOCK = 2048,       // floats added up at a time
    LARGEST_BLOCK = 16 << 20, // floats received from a rank at a time
    TAG_LEAF = 70
};

struct eh_split_reducer {
    eh_comm *comm;
    const eh_partition *partition;
    int64_t leaf_count, round;
    bool tree;
    eh_tree_stack stack; // as it was before the round; slots are numbers of shards
    float *slots;        // [slot_count][sum_count]
    size_t slot_bytes;
    float *received; // [size][block_count]: this rank's own place stays empty
    size_t received_bytes;
    int64_t block_count;
    MPI_Request *requests; // [2 size]
    // Of the unit under way:
    int64_t unit, begun; // begun: elements of every stretch that are under way or done
    const float *values; // NULL: no leaf of this rank
    int request_count;
    bool running;
};

// No rank's stretch of any unit is longer than the first one's.
static int64_t longest_stretch(const eh_partition *partition)
{
    int64_t longest = 0;
    for (int64_t u = 0; u < partition->unit_count; u++) {
        const int64_t count = eh_unit_stretch(&partition->units[u], 0, partition->size).count;
        if (!partition->units[u].frozen)
            longest = count > longest ? count : longest;
    }
    return longest;
}

static int64_t block_count_of(const eh_partition *partition)
{
    const int64_t longest = longest_stretch(partition);
    return longest < LARGEST_BLOCK ? longest : LARGEST_BLOCK;
}

static size_t slot_bytes_of(const eh_partition *partition, int64_t leaf_count, bool tree)
{
    const int slots = tree ? eh_tree_reducer_buffers(leaf_count, 0, 1) : 1;
    return (size_t)slots * (size_t)partition->sum_count * sizeof(float);
}

static size_t received_bytes_of(const eh_partition *partition)
{
    return partition->size == 1 ? 0 : (size_t)partition->size * (size_t)block_count_of(partition) * sizeof(float);
}

size_t eh_split_reducer_bytes(const eh_partition *partition, int64_t leaf_count, bool tree)
{
    const size_t received = received_bytes_of(partition); // of which the own place is never touched
    return slot_bytes_of(partition, leaf_count, tree) +
           (received > 0 ? received / (size_t)partition->size * (size_t)(partition->size - 1) : 0);
}

eh_status eh_split_reducer_new(eh_comm *comm, const eh_partition *partition, int64_t leaf_count, bool tree,
                               eh_split_reducer **reducer)
{
    eh_status status = EH_OK;
    *reducer = NULL;
    EH_TRY(EH_ALLOC(1, reducer));
    eh_split_reducer *made = *reducer;
    *made = (eh_split_reducer){.comm = comm,
                               .partition = partition,
                               .leaf_count = leaf_count,
                               .tree = tree,
                               .stack = {.leaf_count = leaf_count},
                               .block_count = block_count_of(partition),
                               .slot_bytes = slot_bytes_of(partition, leaf_count, tree),
                               .received_bytes = received_bytes_of(partition)};
    EH_TRY_OR(done, eh_map(made->slot_bytes, "sums of gradients", (void **)&made->slots));
    EH_TRY_OR(done, eh_map(made->received_bytes, "gradients of other ranks", (void **)&made->received));
    status = EH_ALLOC(2 * (int64_t)partition->size, &made->requests);
done:
    if (status != EH_OK)
        eh_split_reducer_free(reducer);
    return status;
}

void eh_split_reducer_free(eh_split_reducer **reducer)
{
    eh_split_reducer *old = *reducer;
    if (old) {
        eh_unmap((void **)&old->slots, old->slot_bytes);
        eh_unmap((void **)&old->received, old->received_bytes);
        eh_free(&old->requests);
    }
    eh_free(reducer);
}

int64_t eh_split_reducer_rounds(const eh_split_reducer *reducer)
{
    return (reducer->leaf_count + reducer->partition->size - 1) / reducer->partition->size;
}

static bool has_leaf(const eh_split_reducer *reducer, int rank)
{
    return reducer->round * reducer->partition->size + rank < reducer->leaf_count;
}

int64_t eh_split_reducer_leaf(const eh_split_reducer *reducer)
{
    const eh_partition *partition = reducer->partition;
    return has_leaf(reducer, partition->rank) ? reducer->round * partition->size + partition->rank : -1;
}

// Elements of block [begun, ...) that a stretch has.
static int64_t block_of(const eh_split_reducer *reducer, int64_t stretch_count)
{
    const int64_t left = stretch_count - reducer->begun;
    return left < 0 ? 0 : left < reducer->block_count ? left : reducer->block_count;
}

static eh_status begin_block(eh_split_reducer *reducer)
{
    const eh_partition *partition = reducer->partition;
    const eh_unit *unit = &partition->units[reducer->unit];
    const MPI_Comm world = eh_comm_mpi(reducer->comm);
    const int64_t own = block_of(reducer, partition->own[reducer->unit].count);
    reducer->request_count = 0;
    for (int rank = 0; rank < partition->size; rank++) {
        const eh_stretch other = eh_unit_stretch(unit, rank, partition->size);
        const int64_t theirs = block_of(reducer, other.count);
        if (rank == partition->rank)
            continue;
        if (own > 0 && has_leaf(reducer, rank))
            EH_TRY(EH_MPI(MPI_Irecv(reducer->received + rank * reducer->block_count, (int)own, MPI_FLOAT, rank,
                                    TAG_LEAF, world, &reducer->requests[reducer->request_count++])));
        if (theirs > 0 && reducer->values)
            EH_TRY(EH_MPI(MPI_Isend(reducer->values + (other.first - unit->first) + reducer->begun, (int)theirs,
                                    MPI_FLOAT, rank, TAG_LEAF, world, &reducer->requests[reducer->request_count++])));
    }
    return EH_OK;
}

// Pushes the leaves of ranks [0, size) on a stack as it was before the round. into(s) += from, or a copy.
static void add_leaves(eh_split_reducer *reducer, int64_t at, const float *const own, int64_t count)
{
    const eh_partition *partition = reducer->partition;
    eh_tree_stack stack = reducer->stack;
    for (int rank = 0; rank < partition->size && has_leaf(reducer, rank); rank++) {
        const float *leaf = rank == partition->rank ? own : reducer->received + rank * reducer->block_count + at;
        const int64_t index = reducer->round * partition->size + rank;
        eh_tree_merge merges[2 * EH_TREE_DEPTH] = {{0}};
        const int fresh = reducer->tree ? stack.count : index > 0;
        int merge_count = index > 0; // not in a tree: all are added to the first one
        if (reducer->tree)
            merge_count = eh_tree_push(&stack, (eh_tree_piece){.slot = fresh, .index = index}, merges);
        float *base = reducer->slots + partition->own[reducer->unit].sum_at + reducer->begun + at;
        if (merge_count == 0)
            memcpy(base + fresh * partition->sum_count, leaf, (size_t)count * sizeof *leaf);
        for (int m = 0; m < merge_count; m++) { // the first one takes the leaf itself
            float *into = base + merges[m].into * partition->sum_count;
            const float *from = m == 0 ? leaf : base + merges[m].from * partition->sum_count;
            for (int64_t i = 0; i < count; i++) into[i] += from[i];
        }
    }
}

static eh_status end_block(eh_split_reducer *reducer)
{
    const eh_partition *partition = reducer->partition;
    const eh_stretch *own = &partition->own[reducer->unit];
    const int64_t count = block_of(reducer, own->count);
    const float *values = reducer->values
                              ? reducer->values + (own->first - partition->units[reducer->unit].first) + reducer->begun
                              : NULL;
    EH_TRY(eh_comm_wait_all(reducer->requests, reducer->request_count));
    for (int64_t at = 0; at < count; at += CACHE_BLOCK)
        add_leaves(reducer, at, values ? values + at : NULL, count - at < CACHE_BLOCK ? count - at : CACHE_BLOCK);
    reducer->begun += reducer->block_count;
    return EH_OK;
}

eh_status eh_split_reducer_begin(eh_split_reducer *reducer, int64_t unit, const float *values)
{
    EH_ASSERT(!reducer->running && !reducer->partition->units[unit].frozen);
    reducer->unit = unit;
    reducer->begun = 0;
    reducer->values = has_leaf(reducer, reducer->partition->rank) ? values : NULL;
    reducer->running = true;
    return begin_block(reducer);
}

eh_status eh_split_reducer_end(eh_split_reducer *reducer)
{
    if (!reducer->running)
        return EH_OK;
    reducer->running = false;
    const int64_t longest =
        eh_unit_stretch(&reducer->partition->units[reducer->unit], 0, reducer->partition->size).count;
    EH_TRY(end_block(reducer));
    while (reducer->begun < longest) {
        EH_TRY(begin_block(reducer));
        EH_TRY(end_block(reducer));
    }
    return EH_OK;
}

void eh_split_reducer_end_round(eh_split_reducer *reducer)
{
    const int size = reducer->partition->size;
    EH_ASSERT(!reducer->running);
    eh_tree_merge merges[2 * EH_TREE_DEPTH];
    for (int rank = 0; rank < size && has_leaf(reducer, rank); rank++) {
        const eh_tree_piece leaf = {.slot = reducer->stack.count, .index = reducer->round * size + rank};
        (void)eh_tree_push(&reducer->stack, leaf, merges);
    }
    reducer->round++;
    if (reducer->round < eh_split_reducer_rounds(reducer))
        return;
    EH_ASSERT(reducer->stack.count == 1 && reducer->stack.pieces[0].slot == 0);
    reducer->stack.count = 0;
    reducer->round = 0;
}

float *eh_split_reducer_result(const eh_split_reducer *reducer)
{
    return reducer->slots;
}
