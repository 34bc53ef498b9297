// The sum of gradients over all leaves, in the order of one fixed tree (tree.h), so that any number of ranks gives the
// same bits. Partial sums live in memory that a node's ranks share. The block is cut into buckets: when all ranks of
// the node have added their leaves' part of a bucket, it is added up, in place, in blocks that stay in the cache,
// whatever the ranks do elsewhere in the block. On one node a rank that has nothing left to compute does that, while
// others are still in their backward pass; among several nodes messages must leave early, so a bucket has a rank that
// takes it up between the layers of its own backward pass (reducer_nodes.c).
#include "comm/comm.h"

#include <string.h>

#include "comm/reducer_internal.h"
#include "core/memory.h"

enum {
    CACHE_BLOCK = 2048,          // floats added up at a time
    WORTH_A_TEAM = 1 << 16,      // floats from which on a rank's threads share the work
    LONGEST_PART = 1 << 17,      // floats of a bucket that a rank or node adds up at once
    SHORTEST_PART = 1 << 12,     //
    RECEIVED_ELEMENTS = 8 << 20, // floats that a rank may hold of other nodes' partial sums
    BUCKETS_PER_RANK = 8,        // at least, so that ranks can share what is left at the end
    PAGE_BYTES = 4096
};

// --- Memory -----------------------------------------------------------------------------------------------

static void cut_into_buckets(eh_tree_reducer *reducer)
{
    const eh_comm *comm = reducer->comm;
    const int64_t nodes = comm->node_count, lanes = nodes > 1 ? reducer->lanes : comm->local_size;
    int64_t longest = LONGEST_PART, part = reducer->count / (BUCKETS_PER_RANK * lanes * nodes);
    while (longest > SHORTEST_PART && longest * reducer->piece_count * EH_BUCKETS_UNDER_WAY > RECEIVED_ELEMENTS)
        longest /= 2;
    part = part / CACHE_BLOCK * CACHE_BLOCK;
    part = part < SHORTEST_PART ? SHORTEST_PART : part;
    reducer->part_count = part < longest ? part : longest;
    reducer->bucket_elements = reducer->part_count * nodes;
    reducer->bucket_count = (reducer->count + reducer->bucket_elements - 1) / reducer->bucket_elements;
}

int64_t eh_reducer_bucket_count(const eh_tree_reducer *reducer, int64_t bucket)
{
    const int64_t left = reducer->count - bucket * reducer->bucket_elements;
    return left < reducer->bucket_elements ? left : reducer->bucket_elements;
}

// The board lies before the slots of the node's first rank; the others leave the same room, whose pages are not
// touched.
static eh_status map_slots(eh_tree_reducer *reducer, const int *slot_first)
{
    eh_comm *comm = reducer->comm;
    const int64_t stride = (reducer->count + 15) / 16 * 16; // a cache line's worth
    const int own_slots = slot_first[comm->local_rank + 1] - reducer->own_slot;
    const size_t counts = 2 * (size_t)reducer->bucket_count;
    const size_t board =
        (sizeof *reducer->board + counts * sizeof *reducer->board->counts + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    const size_t bytes = board + (size_t)stride * (size_t)own_slots * sizeof(float);
    if (comm->local_size == 1) {
        EH_TRY(eh_map(bytes, "partial sums of gradients", &reducer->private_block));
        reducer->private_bytes = bytes;
    } else {
        EH_TRY(eh_shared_block_new(comm, bytes, "partial sums of gradients (train.reduction: fast needs less)",
                                   &reducer->shared));
    }
    for (int local = 0; local < comm->local_size; local++) {
        char *part = reducer->private_block ? reducer->private_block : reducer->shared.parts[local];
        for (int slot = slot_first[local]; slot < slot_first[local + 1]; slot++)
            reducer->slots[slot] = (float *)(void *)(part + board) + stride * (slot - slot_first[local]);
    }
    reducer->board = reducer->private_block ? reducer->private_block : reducer->shared.parts[0];
    reducer->result = reducer->slots[0];
    if (comm->local_rank > 0)
        return EH_OK;
    atomic_init(&reducer->board->released, 0);
    atomic_init(&reducer->board->finished, 0);
    for (size_t i = 0; i < counts; i++) atomic_init(&reducer->board->counts[i], 0);
    return EH_OK;
}

static void begin_step(eh_tree_reducer *reducer)
{
    for (int64_t b = 0; b < reducer->bucket_count; b++) reducer->missing[b] = eh_reducer_bucket_count(reducer, b);
    reducer->departed = reducer->arrived = 0;
    reducer->own.count = 0;
    reducer->next_leaf = 0;
}

static eh_status make(eh_tree_reducer *reducer, int **slot_first)
{
    EH_TRY(eh_reducer_plan(reducer, slot_first));
    cut_into_buckets(reducer);
    EH_TRY(EH_ALLOC(reducer->bucket_count, &reducer->missing));
    begin_step(reducer);
    return eh_reducer_make_lanes(reducer);
}

eh_status eh_tree_reducer_new(eh_comm *comm, int64_t count, int64_t leaf_count, eh_tree_reducer **reducer)
{
    *reducer = NULL;
    EH_ASSERT(count >= 0 && leaf_count > 0);
    eh_tree_reducer *made = NULL;
    int *slot_first = NULL;
    eh_status status = EH_ALLOC(1, &made);
    if (status == EH_OK) {
        made->comm = comm;
        made->count = count;
        made->leaf_count = leaf_count;
        status = make(made, &slot_first);
    }
    status = eh_comm_agree(comm, status);
    if (status == EH_OK)
        status = eh_comm_agree(comm, map_slots(made, slot_first)); // its end also shows the board to all, set to 0
    eh_free(&slot_first);
    if (status != EH_OK) {
        eh_tree_reducer_free(&made);
        return status;
    }
    *reducer = made;
    return EH_OK;
}

void eh_tree_reducer_free(eh_tree_reducer **reducer)
{
    eh_tree_reducer *old = *reducer;
    if (old) {
        eh_shared_block_free(&old->shared);
        eh_unmap(&old->private_block, old->private_bytes);
        eh_reducer_free_lanes(old);
        eh_free(&old->slots);
        eh_free(&old->node_merges);
        eh_free(&old->missing);
    }
    eh_free(reducer);
}

void eh_tree_reducer_leaves(const eh_tree_reducer *reducer, int64_t *first, int64_t *count)
{
    *first = reducer->first_leaf;
    *count = reducer->own_leaves;
}

float *eh_tree_reducer_result(const eh_tree_reducer *reducer)
{
    return reducer->result;
}

// --- Adding up --------------------------------------------------------------------------------------------

static void add_block(float *restrict into, const float *restrict from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) into[i] += from[i];
}

void eh_reducer_merge(const eh_tree_merge *merges, int merge_count, float *const *slots, int64_t begin, int64_t end)
{
    if (merge_count == 0)
        return;
#pragma omp parallel for if (end - begin >= WORTH_A_TEAM)
    for (int64_t block = begin; block < end; block += CACHE_BLOCK) {
        const int64_t count = end - block < CACHE_BLOCK ? end - block : CACHE_BLOCK;
        for (int m = 0; m < merge_count; m++)
            add_block(slots[merges[m].into] + block, slots[merges[m].from] + block, count);
    }
}

// Elements [first, end) of the leaf that is open; values[0] is element `first`.
static void add_to_slots(eh_tree_reducer *reducer, int64_t first, int64_t end, const float *values)
{
    float *const *slots = reducer->slots + reducer->own_slot;
    const eh_tree_merge *merges = reducer->leaf_merges;
#pragma omp parallel for if (end - first >= WORTH_A_TEAM)
    for (int64_t block = first; block < end; block += CACHE_BLOCK) {
        const int64_t count = end - block < CACHE_BLOCK ? end - block : CACHE_BLOCK;
        if (reducer->leaf_merge_count == 0)
            memcpy(slots[reducer->fresh] + block, values + (block - first), (size_t)count * sizeof *values);
        for (int m = 0; m < reducer->leaf_merge_count; m++) // the first one takes the leaf itself
            add_block(slots[merges[m].into] + block, m == 0 ? values + (block - first) : slots[merges[m].from] + block,
                      count);
    }
}

// --- Which parts are in -----------------------------------------------------------------------------------

static _Atomic uint64_t *ranks_in(const eh_tree_reducer *reducer, int64_t bucket)
{
    return &reducer->board->counts[2 * bucket];
}

static _Atomic uint64_t *steps_taken_up(const eh_tree_reducer *reducer, int64_t bucket)
{
    return &reducer->board->counts[2 * bucket + 1];
}

bool eh_reducer_is_complete(const eh_tree_reducer *reducer, int64_t bucket)
{
    return atomic_load_explicit(ranks_in(reducer, bucket), memory_order_acquire) >=
           (reducer->step + 1) * (uint64_t)reducer->comm->local_size;
}

static void count_in(eh_tree_reducer *reducer, int64_t first, int64_t end)
{
    for (int64_t at = first; at < end;) {
        const int64_t bucket = at / reducer->bucket_elements;
        const int64_t bucket_end = bucket * reducer->bucket_elements + eh_reducer_bucket_count(reducer, bucket);
        const int64_t stop = bucket_end < end ? bucket_end : end;
        reducer->missing[bucket] -= stop - at;
        EH_ASSERT(reducer->missing[bucket] >= 0);
        if (reducer->missing[bucket] == 0)
            atomic_fetch_add_explicit(ranks_in(reducer, bucket), 1, memory_order_acq_rel);
        at = stop;
    }
}

// Adds up the bucket if it is complete and no other rank of the node has taken it up.
static void take_up_bucket(eh_tree_reducer *reducer, int64_t bucket, bool *moved)
{
    uint64_t steps = reducer->step;
    const int64_t begin = bucket * reducer->bucket_elements;
    if (atomic_load_explicit(steps_taken_up(reducer, bucket), memory_order_relaxed) > steps ||
        !eh_reducer_is_complete(reducer, bucket) ||
        !atomic_compare_exchange_strong_explicit(steps_taken_up(reducer, bucket), &steps, reducer->step + 1,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    eh_reducer_merge(reducer->node_merges, reducer->node_merge_count, reducer->slots, begin,
                     begin + eh_reducer_bucket_count(reducer, bucket));
    atomic_fetch_add_explicit(&reducer->board->finished, 1, memory_order_acq_rel);
    *moved = true;
}

// This rank's share of the buckets first, so that ranks of one speed each touch their share of the memory; then what
// slower ranks have not come to.
static void take_up(eh_tree_reducer *reducer, bool *moved)
{
    const int ranks = reducer->comm->local_size;
    for (int turn = 0; turn < ranks && !*moved; turn++) {
        const int share = (reducer->comm->local_rank + turn) % ranks;
        for (int64_t b = reducer->bucket_count - 1; b >= 0; b--)
            if (b % ranks == share)
                take_up_bucket(reducer, b, moved);
    }
}

// --- The interface ----------------------------------------------------------------------------------------

void eh_tree_reducer_release(eh_tree_reducer *reducer)
{
    if (!reducer->result_in_use)
        return;
    reducer->result_in_use = false;
    atomic_fetch_add_explicit(&reducer->board->released, 1, memory_order_acq_rel);
}

// The node's first rank writes where the last result is: when all have read it.
static void open_leaf(eh_tree_reducer *reducer)
{
    eh_backoff backoff = {0};
    if (reducer->is_open)
        return;
    eh_tree_reducer_release(reducer);
    while (reducer->comm->local_rank == 0 && atomic_load_explicit(&reducer->board->released, memory_order_acquire) <
                                                 reducer->step * (uint64_t)reducer->comm->local_size)
        eh_backoff_pause(&backoff);
    EH_ASSERT(reducer->next_leaf < reducer->own_leaves);
    reducer->fresh = reducer->own.count;
    const eh_tree_piece piece = {.slot = reducer->fresh, .index = reducer->first_leaf + reducer->next_leaf};
    reducer->leaf_merge_count = eh_tree_push(&reducer->own, piece, reducer->leaf_merges);
    reducer->is_open = true;
}

static void add_stretch(eh_tree_reducer *reducer, int64_t first, int64_t end, const float *values)
{
    add_to_slots(reducer, first, end, values);
    if (reducer->next_leaf + 1 == reducer->own_leaves) // else there are more to come
        count_in(reducer, first, end);
}

// Keeps in mind that [first, end) has been added; false: there is no room left to keep it in.
static bool remember(eh_tree_reducer *reducer, int64_t first, int64_t end)
{
    eh_told_stretch *told = reducer->told;
    int at = 0;
    while (at < reducer->told_count && told[at].end < first) at++;
    EH_ASSERT(at == reducer->told_count || told[at].end == first || told[at].first >= end);
    if (at < reducer->told_count && told[at].end == first) {
        told[at].end = end;
    } else if (at < reducer->told_count && told[at].first == end) {
        told[at].first = first;
    } else {
        if (reducer->told_count == EH_TOLD_STRETCHES)
            return false;
        memmove(told + at + 1, told + at, (size_t)(reducer->told_count - at) * sizeof *told);
        told[at] = (eh_told_stretch){first, end};
        reducer->told_count++;
    }
    return true;
}

eh_status eh_tree_reducer_add_stretch(eh_tree_reducer *reducer, int64_t first, int64_t count, const float *values)
{
    bool moved;
    EH_ASSERT(first >= 0 && count >= 0 && first + count <= reducer->count);
    if (count > 0) {
        open_leaf(reducer);
        if (remember(reducer, first, first + count))
            add_stretch(reducer, first, first + count, values);
    }
    return reducer->comm->node_count > 1 ? eh_reducer_travel(reducer, &moved) : EH_OK;
}

eh_status eh_tree_reducer_add(eh_tree_reducer *reducer, const float *leaf)
{
    open_leaf(reducer);
    int64_t end = reducer->count;
    for (int at = reducer->told_count; at >= 0; at--) { // what lies behind stretch at - 1, from the block's end
        const int64_t first = at > 0 ? reducer->told[at - 1].end : 0;
        if (first < end)
            add_stretch(reducer, first, end, leaf + first);
        end = at > 0 ? reducer->told[at - 1].first : 0;
    }
    reducer->told_count = 0;
    reducer->is_open = false;
    reducer->next_leaf++;
    return EH_OK;
}

eh_status eh_tree_reducer_finish_view(eh_tree_reducer *reducer, const float **sum)
{
    const uint64_t goal = (reducer->step + 1) * (uint64_t)reducer->bucket_count;
    eh_backoff backoff = {0};
    EH_ASSERT(reducer->next_leaf == reducer->own_leaves && !reducer->is_open);
    eh_tree_reducer_release(reducer);
    if (reducer->own_leaves == 0)
        count_in(reducer, 0, reducer->count);
    while (atomic_load_explicit(&reducer->board->finished, memory_order_acquire) < goal) {
        bool moved = false;
        if (reducer->comm->node_count > 1)
            EH_TRY(eh_reducer_travel(reducer, &moved));
        else
            take_up(reducer, &moved);
        if (moved)
            backoff = (eh_backoff){0};
        else
            eh_backoff_pause(&backoff);
    }
    reducer->step++;
    begin_step(reducer);
    reducer->result_in_use = true;
    *sum = reducer->result;
    return EH_OK;
}

eh_status eh_tree_reducer_finish(eh_tree_reducer *reducer, float *sum)
{
    const float *shared;
    EH_TRY(eh_tree_reducer_finish_view(reducer, &shared));
    memcpy(sum, shared, (size_t)reducer->count * sizeof *sum);
    return EH_OK;
}
