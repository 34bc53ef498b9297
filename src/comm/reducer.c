// The sum of gradients over all leaves, in the order of one fixed tree (tree.h), so that any number of ranks gives the
// same bits. Partial sums live in memory that a node's ranks share: each rank adds up its stretch of elements over all
// of them, in place, in blocks that stay in the cache. Between nodes each rank is responsible for a part of its
// stretch: it receives the other nodes' partial sums of that part, adds them in the tree's order, and sends the result
// back.
#include <stdatomic.h>
#include <string.h>

#include "comm/comm.h"
#include "comm/comm_internal.h"
#include "comm/tree.h"
#include "core/memory.h"

enum {
    CACHE_BLOCK = 2048,     // floats added up at a time
    MESSAGE_BLOCK = 65536,  // floats exchanged at a time between nodes
    HEADER_BYTES = 4096,    // before the slots of a part: the node's barrier
    TAG_PARTIAL = 72,       // + number of the piece
    TAG_RESULT = 71 + 4096, // behind all of those
};

typedef struct {
    int node, slot; // slot: on its node, see slots
} located_piece;

struct eh_tree_reducer {
    eh_comm *comm;
    int64_t count, leaf_count;
    int64_t first_leaf, own_leaves, next_leaf;
    eh_tree_stack own; // what this rank has added up so far; slots count from own_slot
    float **slots;     // all slots of this node, rank after rank
    int slot_count, own_slot;
    eh_tree_merge *node_merges; // slots of this node
    int node_merge_count;
    float *result; // a slot of this node: where the sum over everything ends

    // Between nodes: pieces of all nodes, from left to right.
    located_piece *pieces;
    int piece_count;
    eh_tree_merge *global_merges; // numbers of pieces
    int global_merge_count;
    int lanes; // ranks of a node that exchange with other nodes
    float *received;
    float **terms; // [piece_count]
    MPI_Request *requests;

    eh_shared_block shared;
    void *private_block;
    size_t private_bytes;
    _Atomic uint64_t *arrivals; // of the node's barrier, ever growing; NULL: alone on the node
    uint64_t expected_arrivals;
    bool result_in_use; // until this rank's next call
};

// --- The node's barrier, in two halves --------------------------------------------------------------------

static void barrier_arrive(eh_tree_reducer *reducer)
{
    reducer->expected_arrivals += (uint64_t)reducer->comm->local_size;
    if (reducer->arrivals)
        atomic_fetch_add_explicit(reducer->arrivals, 1, memory_order_acq_rel);
}

static void barrier_wait(eh_tree_reducer *reducer)
{
    eh_backoff backoff = {0};
    while (reducer->arrivals &&
           atomic_load_explicit(reducer->arrivals, memory_order_acquire) < reducer->expected_arrivals)
        eh_backoff_pause(&backoff);
}

static void node_barrier(eh_tree_reducer *reducer)
{
    barrier_arrive(reducer);
    barrier_wait(reducer);
}

// --- The plan ---------------------------------------------------------------------------------------------

// What an owner of leaves ends with, and how many slots it needs on the way.
static eh_tree_stack plan_owner(int64_t leaf_count, int place, int places, int *slots)
{
    eh_tree_stack stack = {.leaf_count = leaf_count};
    eh_tree_merge merges[2 * EH_TREE_DEPTH];
    int64_t first, count;
    eh_tree_leaves(leaf_count, place, places, &first, &count);
    *slots = 0;
    for (int64_t leaf = first; leaf < first + count; leaf++) {
        eh_tree_push(&stack, (eh_tree_piece){.slot = stack.count, .index = leaf}, merges);
        if (stack.count > *slots)
            *slots = stack.count;
    }
    return stack;
}

int eh_tree_reducer_buffers(int64_t leaf_count, int rank, int size)
{
    int slots;
    plan_owner(leaf_count, rank, size, &slots);
    return slots > 0 ? slots : rank == 0; // a place for the result, in any case
}

// A node's pieces after its ranks' have been added up. Slots are numbered rank after rank on the node; slot_first
// (may be NULL) receives where each local rank's begin, and the total.
static eh_status plan_node(const eh_tree_reducer *reducer, int node, eh_tree_stack *stack, eh_tree_merge *merges,
                           int *merge_count, int *slot_first)
{
    const eh_comm *comm = reducer->comm;
    *stack = (eh_tree_stack){.leaf_count = reducer->leaf_count};
    *merge_count = 0;
    int slot_count = 0;
    for (int place = comm->node_first[node]; place < comm->node_first[node + 1]; place++) {
        int slots;
        const eh_tree_stack owner = plan_owner(reducer->leaf_count, place, comm->size, &slots);
        for (int p = 0; p < owner.count; p++) {
            eh_tree_piece piece = owner.pieces[p];
            piece.slot += slot_count;
            *merge_count += eh_tree_push(stack, piece, merges + *merge_count);
        }
        if (slot_first)
            slot_first[place - comm->node_first[node]] = slot_count;
        slot_count += slots > 0 ? slots : place == comm->node_first[node]; // a place for the result, in any case
    }
    if (slot_first)
        slot_first[comm->node_first[node + 1] - comm->node_first[node]] = slot_count;
    return EH_OK;
}

static eh_status plan_between_nodes(eh_tree_reducer *reducer)
{
    eh_comm *comm = reducer->comm;
    const int64_t most_pieces = 2L * EH_TREE_DEPTH * comm->node_count, most_merges = most_pieces;
    eh_tree_merge *scratch = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(2L * EH_TREE_DEPTH * comm->size, &scratch));
    EH_TRY_OR(done, EH_ALLOC(most_pieces, &reducer->pieces));
    EH_TRY_OR(done, EH_ALLOC(most_merges, &reducer->global_merges));
    eh_tree_stack everything = {.leaf_count = reducer->leaf_count};
    reducer->lanes = comm->local_size;
    for (int node = 0; node < comm->node_count; node++) {
        eh_tree_stack stack;
        int merge_count;
        EH_TRY_OR(done, plan_node(reducer, node, &stack, scratch, &merge_count, NULL));
        for (int p = 0; p < stack.count; p++) {
            reducer->pieces[reducer->piece_count] = (located_piece){node, stack.pieces[p].slot};
            stack.pieces[p].slot = reducer->piece_count++;
            reducer->global_merge_count +=
                eh_tree_push(&everything, stack.pieces[p], reducer->global_merges + reducer->global_merge_count);
        }
        const int ranks = comm->node_first[node + 1] - comm->node_first[node];
        reducer->lanes = ranks < reducer->lanes ? ranks : reducer->lanes;
    }
    EH_ASSERT(everything.count == 1 && everything.pieces[0].slot == 0);
    EH_TRY_OR(done, EH_ALLOC((int64_t)reducer->piece_count * MESSAGE_BLOCK, &reducer->received));
    EH_TRY_OR(done, EH_ALLOC(reducer->piece_count, &reducer->terms));
    EH_TRY_OR(done, EH_ALLOC((int64_t)(reducer->piece_count + 2) * comm->node_count, &reducer->requests));
done:
    eh_free(&scratch);
    return status;
}

static eh_status plan(eh_tree_reducer *reducer, int **slot_first)
{
    eh_comm *comm = reducer->comm;
    const int place = comm->node_first[comm->node_index] + comm->local_rank;
    eh_tree_leaves(reducer->leaf_count, place, comm->size, &reducer->first_leaf, &reducer->own_leaves);
    reducer->own.leaf_count = reducer->leaf_count;
    EH_TRY(EH_ALLOC(comm->local_size + 1, slot_first));
    EH_TRY(EH_ALLOC(2L * EH_TREE_DEPTH * comm->local_size, &reducer->node_merges));
    eh_tree_stack stack;
    EH_TRY(plan_node(reducer, comm->node_index, &stack, reducer->node_merges, &reducer->node_merge_count, *slot_first));
    reducer->slot_count = (*slot_first)[comm->local_size];
    reducer->own_slot = (*slot_first)[comm->local_rank];
    EH_TRY(EH_ALLOC(reducer->slot_count, &reducer->slots));
    return comm->node_count > 1 ? plan_between_nodes(reducer) : EH_OK;
}

static eh_status map_slots(eh_tree_reducer *reducer, const int *slot_first)
{
    eh_comm *comm = reducer->comm;
    const int64_t stride = (reducer->count + 15) / 16 * 16; // a cache line's worth
    const int own_slots = slot_first[comm->local_rank + 1] - reducer->own_slot;
    const size_t bytes = HEADER_BYTES + (size_t)stride * (size_t)own_slots * sizeof(float);
    if (comm->local_size == 1) {
        EH_TRY(eh_map(bytes, "partial sums of gradients", &reducer->private_block));
        reducer->private_bytes = bytes;
    } else {
        EH_TRY(eh_shared_block_new(comm, bytes, "partial sums of gradients (train.reduction: fast needs less)",
                                   &reducer->shared));
        reducer->arrivals = reducer->shared.parts[0];
        if (comm->local_rank == 0)
            atomic_init(reducer->arrivals, 0);
    }
    for (int local = 0; local < comm->local_size; local++) {
        char *part = reducer->private_block ? reducer->private_block : reducer->shared.parts[local];
        for (int slot = slot_first[local]; slot < slot_first[local + 1]; slot++)
            reducer->slots[slot] = (float *)(void *)(part + HEADER_BYTES) + stride * (slot - slot_first[local]);
    }
    reducer->result = reducer->slots[0];
    return EH_OK;
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
        status = plan(made, &slot_first);
    }
    status = eh_comm_agree(comm, status);
    if (status == EH_OK)
        status = eh_comm_agree(comm, map_slots(made, slot_first)); // its end also shows the barrier to all, set to 0
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
        eh_free(&old->slots);
        eh_free(&old->node_merges);
        eh_free(&old->pieces);
        eh_free(&old->global_merges);
        eh_free(&old->received);
        eh_free(&old->terms);
        eh_free(&old->requests);
    }
    eh_free(reducer);
}

void eh_tree_reducer_leaves(const eh_tree_reducer *reducer, int64_t *first, int64_t *count)
{
    *first = reducer->first_leaf;
    *count = reducer->own_leaves;
}

// --- Adding up --------------------------------------------------------------------------------------------

static void add_block(float *restrict into, const float *restrict from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) into[i] += from[i];
}

// The merges in order over elements [begin, end) of their slots, block by block so that sums stay in the cache.
static void merge_range(const eh_tree_merge *merges, int merge_count, float *const *slots, int64_t begin, int64_t end)
{
    for (int64_t block = begin; block < end; block += CACHE_BLOCK) {
        const int64_t count = end - block < CACHE_BLOCK ? end - block : CACHE_BLOCK;
        for (int m = 0; m < merge_count; m++)
            add_block(slots[merges[m].into] + block, slots[merges[m].from] + block, count);
    }
}

// After this, no rank of the node reads the last result any more.
static void release_result(eh_tree_reducer *reducer)
{
    if (!reducer->result_in_use)
        return;
    reducer->result_in_use = false;
    node_barrier(reducer);
}

eh_status eh_tree_reducer_add(eh_tree_reducer *reducer, const float *leaf)
{
    EH_ASSERT(reducer->next_leaf < reducer->own_leaves);
    release_result(reducer);
    float *const *slots = reducer->slots + reducer->own_slot;
    eh_tree_merge merges[2 * EH_TREE_DEPTH];
    const int fresh = reducer->own.count;
    const eh_tree_piece piece = {.slot = fresh, .index = reducer->first_leaf + reducer->next_leaf++};
    const int merge_count = eh_tree_push(&reducer->own, piece, merges);
    if (merge_count == 0) {
        memcpy(slots[fresh], leaf, (size_t)reducer->count * sizeof *leaf);
        return EH_OK;
    }
    for (int64_t block = 0; block < reducer->count; block += CACHE_BLOCK) {
        const int64_t left = reducer->count - block, count = left < CACHE_BLOCK ? left : CACHE_BLOCK;
        for (int m = 0; m < merge_count; m++) // the first one takes the leaf itself
            add_block(slots[merges[m].into] + block, (m == 0 ? leaf : slots[merges[m].from]) + block, count);
    }
    return EH_OK;
}

static int64_t cut(int64_t total, int part, int parts)
{
    return total / parts * part + total % parts * part / parts;
}

// Sends this node's pieces of everybody's part of the stretch and receives the others' of its own part.
static eh_status exchange_partials(eh_tree_reducer *reducer, int64_t begin, int64_t length, int64_t block)
{
    const eh_comm *comm = reducer->comm;
    int request_count = 0;
    for (int p = 0; p < reducer->piece_count; p++) {
        const located_piece *piece = &reducer->pieces[p];
        for (int node = 0; node < comm->node_count; node++) {
            const bool sends = piece->node == comm->node_index && node != comm->node_index;
            const bool receives = piece->node != comm->node_index && node == comm->node_index;
            const int64_t first = cut(length, node, comm->node_count) + block;
            const int64_t left = cut(length, node + 1, comm->node_count) - first;
            const int count = (int)(left < MESSAGE_BLOCK ? left : MESSAGE_BLOCK);
            if (count <= 0 || !(sends || receives))
                continue;
            const int other = sends ? node : piece->node;
            const int rank = comm->by_node[comm->node_first[other] + comm->local_rank];
            MPI_Request *request = &reducer->requests[request_count++];
            if (sends)
                EH_TRY(EH_MPI(MPI_Isend(reducer->slots[piece->slot] + begin + first, count, MPI_FLOAT, rank,
                                        TAG_PARTIAL + p, comm->world, request)));
            else
                EH_TRY(EH_MPI(MPI_Irecv(reducer->received + (int64_t)p * MESSAGE_BLOCK, count, MPI_FLOAT, rank,
                                        TAG_PARTIAL + p, comm->world, request)));
        }
    }
    return eh_comm_wait_all(reducer->requests, request_count);
}

static eh_status exchange_results(eh_tree_reducer *reducer, int64_t begin, int64_t length, int64_t block)
{
    const eh_comm *comm = reducer->comm;
    int request_count = 0;
    for (int node = 0; node < comm->node_count; node++)
        for (int other = 0; other < comm->node_count; other++) { // the part of `node`, to or from `other`
            const int64_t first = cut(length, node, comm->node_count) + block;
            const int64_t left = cut(length, node + 1, comm->node_count) - first;
            const int count = (int)(left < MESSAGE_BLOCK ? left : MESSAGE_BLOCK);
            const bool mine = node == comm->node_index && other != node;
            const bool theirs = node != comm->node_index && other == node;
            if (count <= 0 || !(mine || theirs))
                continue;
            const int rank = comm->by_node[comm->node_first[other] + comm->local_rank];
            float *where = reducer->result + begin + first;
            MPI_Request *request = &reducer->requests[request_count++];
            if (mine)
                EH_TRY(EH_MPI(MPI_Isend(where, count, MPI_FLOAT, rank, TAG_RESULT, comm->world, request)));
            else
                EH_TRY(EH_MPI(MPI_Irecv(where, count, MPI_FLOAT, rank, TAG_RESULT, comm->world, request)));
        }
    return eh_comm_wait_all(reducer->requests, request_count);
}

static eh_status reduce_between_nodes(eh_tree_reducer *reducer)
{
    const eh_comm *comm = reducer->comm;
    if (comm->local_rank >= reducer->lanes)
        return EH_OK;
    const int64_t begin = cut(reducer->count, comm->local_rank, reducer->lanes);
    const int64_t length = cut(reducer->count, comm->local_rank + 1, reducer->lanes) - begin;
    const int64_t longest = (length + comm->node_count - 1) / comm->node_count;
    for (int64_t block = 0; block < longest; block += MESSAGE_BLOCK) {
        EH_TRY(exchange_partials(reducer, begin, length, block));
        const int64_t first = cut(length, comm->node_index, comm->node_count) + block;
        const int64_t left = cut(length, comm->node_index + 1, comm->node_count) - first;
        const int64_t count = left < MESSAGE_BLOCK ? left : MESSAGE_BLOCK;
        if (count > 0) {
            for (int p = 0; p < reducer->piece_count; p++)
                reducer->terms[p] = reducer->pieces[p].node == comm->node_index
                                        ? reducer->slots[reducer->pieces[p].slot] + begin + first
                                        : reducer->received + (int64_t)p * MESSAGE_BLOCK;
            merge_range(reducer->global_merges, reducer->global_merge_count, reducer->terms, 0, count);
            if (reducer->terms[0] != reducer->result + begin + first)
                memcpy(reducer->result + begin + first, reducer->terms[0], (size_t)count * sizeof(float));
        }
        EH_TRY(exchange_results(reducer, begin, length, block));
    }
    return EH_OK;
}

eh_status eh_tree_reducer_finish_view(eh_tree_reducer *reducer, const float **sum)
{
    const eh_comm *comm = reducer->comm;
    EH_ASSERT(reducer->next_leaf == reducer->own_leaves);
    release_result(reducer);
    node_barrier(reducer); // all leaves are in
    merge_range(reducer->node_merges, reducer->node_merge_count, reducer->slots,
                cut(reducer->count, comm->local_rank, comm->local_size),
                cut(reducer->count, comm->local_rank + 1, comm->local_size));
    node_barrier(reducer);
    if (comm->node_count > 1) {
        EH_TRY(reduce_between_nodes(reducer));
        node_barrier(reducer);
    }
    reducer->result_in_use = true;
    reducer->own.count = 0;
    reducer->next_leaf = 0;
    *sum = reducer->result;
    return EH_OK;
}

float *eh_tree_reducer_result(const eh_tree_reducer *reducer)
{
    return reducer->result;
}

eh_status eh_tree_reducer_finish(eh_tree_reducer *reducer, float *sum)
{
    const float *shared;
    EH_TRY(eh_tree_reducer_finish_view(reducer, &shared));
    memcpy(sum, shared, (size_t)reducer->count * sizeof *sum);
    return EH_OK;
}
