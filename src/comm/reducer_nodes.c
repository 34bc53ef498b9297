// Between nodes: each node adds up one part of a bucket. It receives the other nodes' partial sums of that part, adds
// all in the tree's order, and sends the result back. A few buckets are under way at a time, while the backward pass
// goes on; messages of a bucket are told from those of its neighbours by their order and by its place among the few.
#include <string.h>

#include "comm/reducer_internal.h"
#include "core/memory.h"

enum {
    TAG_RESULT = 80,                                 // + place of the bucket
    TAG_PARTIAL = TAG_RESULT + EH_BUCKETS_UNDER_WAY, // + number of the piece
};

eh_status eh_reducer_make_lanes(eh_tree_reducer *reducer)
{
    const eh_comm *comm = reducer->comm;
    const int64_t requests = (int64_t)(reducer->piece_count + 2) * comm->node_count;
    const int64_t elements = reducer->piece_count * reducer->part_count;
    if (comm->node_count == 1 || comm->local_rank >= reducer->lanes)
        return EH_OK;
    EH_TRY(EH_ALLOC(reducer->piece_count, &reducer->terms));
    EH_TRY(EH_ALLOC(EH_BUCKETS_UNDER_WAY * requests, &reducer->requests));
    EH_TRY(EH_ALLOC(EH_BUCKETS_UNDER_WAY * elements, &reducer->received));
    for (int place = 0; place < EH_BUCKETS_UNDER_WAY; place++) {
        reducer->travelling[place].requests = reducer->requests + place * requests;
        reducer->travelling[place].received = reducer->received + place * elements;
    }
    return EH_OK;
}

void eh_reducer_free_lanes(eh_tree_reducer *reducer)
{
    eh_free(&reducer->pieces);
    eh_free(&reducer->global_merges);
    eh_free(&reducer->terms);
    eh_free(&reducer->requests);
    eh_free(&reducer->received);
}

// The part of a bucket that node `node` adds up.
static int part_of(const eh_tree_reducer *reducer, int64_t bucket, int node, int64_t *first)
{
    const int64_t elements = eh_reducer_bucket_count(reducer, bucket), skipped = node * reducer->part_count;
    const int64_t left = elements > skipped ? elements - skipped : 0;
    *first = bucket * reducer->bucket_elements + skipped;
    return (int)(left < reducer->part_count ? left : reducer->part_count);
}

static int peer_on(const eh_comm *comm, int node)
{
    return comm->by_node[comm->node_first[node] + comm->local_rank];
}

// Sends this node's pieces of everybody's part of the bucket and receives the others' of its own part.
static eh_status send_partials(eh_tree_reducer *reducer, eh_travelling_bucket *its)
{
    const eh_comm *comm = reducer->comm;
    its->request_count = 0;
    for (int p = 0; p < reducer->piece_count; p++) {
        const eh_located_piece *piece = &reducer->pieces[p];
        for (int node = 0; node < comm->node_count; node++) {
            const bool sends = piece->node == comm->node_index && node != comm->node_index;
            const bool receives = piece->node != comm->node_index && node == comm->node_index;
            int64_t first;
            const int count = part_of(reducer, its->bucket, node, &first);
            if (count == 0 || !(sends || receives))
                continue;
            const int rank = peer_on(comm, sends ? node : piece->node);
            MPI_Request *request = &its->requests[its->request_count++];
            if (sends)
                EH_TRY(EH_MPI(MPI_Isend(reducer->slots[piece->slot] + first, count, MPI_FLOAT, rank, TAG_PARTIAL + p,
                                        comm->world, request)));
            else
                EH_TRY(EH_MPI(MPI_Irecv(its->received + p * reducer->part_count, count, MPI_FLOAT, rank,
                                        TAG_PARTIAL + p, comm->world, request)));
        }
    }
    return EH_OK;
}

static void add_own_part(eh_tree_reducer *reducer, const eh_travelling_bucket *its)
{
    const int own = reducer->comm->node_index;
    int64_t first;
    const int count = part_of(reducer, its->bucket, own, &first);
    if (count == 0)
        return;
    for (int p = 0; p < reducer->piece_count; p++)
        reducer->terms[p] = reducer->pieces[p].node == own ? reducer->slots[reducer->pieces[p].slot] + first
                                                           : its->received + p * reducer->part_count;
    eh_reducer_merge(reducer->global_merges, reducer->global_merge_count, reducer->terms, 0, count);
    if (reducer->terms[0] != reducer->result + first)
        memcpy(reducer->result + first, reducer->terms[0], (size_t)count * sizeof(float));
}

static eh_status send_results(eh_tree_reducer *reducer, eh_travelling_bucket *its, int place)
{
    const eh_comm *comm = reducer->comm;
    its->request_count = 0;
    for (int node = 0; node < comm->node_count; node++) {
        int64_t own_first, first;
        const int own_count = part_of(reducer, its->bucket, comm->node_index, &own_first);
        const int count = part_of(reducer, its->bucket, node, &first), rank = peer_on(comm, node);
        if (node == comm->node_index)
            continue;
        if (own_count > 0)
            EH_TRY(EH_MPI(MPI_Isend(reducer->result + own_first, own_count, MPI_FLOAT, rank, TAG_RESULT + place,
                                    comm->world, &its->requests[its->request_count++])));
        if (count > 0)
            EH_TRY(EH_MPI(MPI_Irecv(reducer->result + first, count, MPI_FLOAT, rank, TAG_RESULT + place, comm->world,
                                    &its->requests[its->request_count++])));
    }
    return EH_OK;
}

static eh_status depart(eh_tree_reducer *reducer, int64_t bucket, eh_travelling_bucket *its)
{
    const int64_t begin = bucket * reducer->bucket_elements;
    eh_reducer_merge(reducer->node_merges, reducer->node_merge_count, reducer->slots, begin,
                     begin + eh_reducer_bucket_count(reducer, bucket));
    its->bucket = bucket;
    its->is_under_way = true;
    its->returns = false;
    return send_partials(reducer, its);
}

// One step further, if its messages are through.
static eh_status move_on(eh_tree_reducer *reducer, int place, bool *moved)
{
    eh_travelling_bucket *its = &reducer->travelling[place];
    int through = 0;
    if (!its->is_under_way)
        return EH_OK;
    EH_TRY(EH_MPI(MPI_Testall(its->request_count, its->requests, &through, MPI_STATUSES_IGNORE)));
    if (!through)
        return EH_OK;
    *moved = true;
    if (its->returns) {
        its->is_under_way = false;
        atomic_fetch_add_explicit(&reducer->board->finished, 1, memory_order_acq_rel);
        return EH_OK;
    }
    its->returns = true;
    add_own_part(reducer, its);
    return send_results(reducer, its, place);
}

eh_status eh_reducer_travel(eh_tree_reducer *reducer, bool *moved)
{
    const eh_comm *comm = reducer->comm;
    *moved = false;
    if (comm->local_rank >= reducer->lanes)
        return EH_OK;
    for (; reducer->arrived < reducer->departed; reducer->arrived++) { // the oldest first
        const int place = (int)(reducer->arrived % EH_BUCKETS_UNDER_WAY);
        EH_TRY(move_on(reducer, place, moved));
        if (reducer->travelling[place].is_under_way)
            break;
    }
    for (int64_t b = reducer->arrived + 1; b < reducer->departed; b++)
        EH_TRY(move_on(reducer, (int)(b % EH_BUCKETS_UNDER_WAY), moved));
    while (reducer->departed < reducer->arrived + EH_BUCKETS_UNDER_WAY) {
        const int64_t bucket =
            reducer->bucket_count - 1 - comm->local_rank - reducer->departed * (int64_t)reducer->lanes;
        if (bucket < 0 || !eh_reducer_is_complete(reducer, bucket))
            break;
        EH_TRY(depart(reducer, bucket, &reducer->travelling[reducer->departed % EH_BUCKETS_UNDER_WAY]));
        reducer->departed++;
        *moved = true;
    }
    return EH_OK;
}
