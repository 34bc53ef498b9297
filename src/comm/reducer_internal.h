// What the files of the tree reducer share: who has which partial sums, and the buckets on their way between nodes.
#ifndef EH_COMM_REDUCER_INTERNAL_H
#define EH_COMM_REDUCER_INTERNAL_H

#include <stdatomic.h>

#include "comm/comm_internal.h"
#include "comm/tree.h"

enum { EH_TOLD_STRETCHES = 64, EH_BUCKETS_UNDER_WAY = 4 };

typedef struct {
    int node, slot; // slot: on its node, see slots
} eh_located_piece;

typedef struct {
    int64_t first, end; // elements
} eh_told_stretch;

// In memory that the ranks of a node share; counts never fall, so nothing has to be set back between steps.
typedef struct {
    _Atomic uint64_t released; // ranks that are done with a step's result, all steps together
    _Atomic uint64_t finished; // buckets whose sum is in its place, likewise
    _Atomic uint64_t counts[]; // [2 bucket_count] ranks whose part of a bucket is in; steps in which it was taken up
} eh_reducer_board;

// A bucket whose partial sums (or then, sums) are exchanged with the other nodes.
typedef struct {
    int64_t bucket;
    bool is_under_way, returns;
    int request_count;
    MPI_Request *requests;
    float *received; // [piece_count][part_count]
} eh_travelling_bucket;

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

    // The leaf that is being added:
    bool is_open;
    int fresh; // its slot, if nothing is merged
    eh_tree_merge leaf_merges[2 * EH_TREE_DEPTH];
    int leaf_merge_count;
    eh_told_stretch told[EH_TOLD_STRETCHES]; // ascending, apart from each other
    int told_count;

    int64_t bucket_elements, bucket_count; // the same on all ranks
    int64_t *missing;                      // [bucket_count] elements that this rank has not added yet
    uint64_t step;                         // sums that are finished
    eh_reducer_board *board;
    bool result_in_use;

    // Between nodes: pieces of all nodes, from left to right.
    eh_located_piece *pieces;
    int piece_count;
    eh_tree_merge *global_merges; // numbers of pieces
    int global_merge_count;
    int lanes; // ranks of a node that exchange with other nodes: the last bucket is for the first of them, and so on in
               // turn
    int64_t part_count; // elements of a bucket that one node adds up
    float **terms;      // [piece_count]
    MPI_Request *requests;
    float *received;
    eh_travelling_bucket travelling[EH_BUCKETS_UNDER_WAY];
    int64_t departed, arrived; // buckets of this rank in this step

    eh_shared_block shared;
    void *private_block;
    size_t private_bytes;
};

// The merges of the node's tree, or between nodes, and which rank's slots begin where: [local_size + 1], eh_free. Not
// collective.
EH_CHECKED eh_status eh_reducer_plan(eh_tree_reducer *reducer, int **slot_first);

// The merges in order over elements [begin, end) of their slots, block by block so that sums stay in the cache.
void eh_reducer_merge(const eh_tree_merge *merges, int merge_count, float *const *slots, int64_t begin, int64_t end);

int64_t eh_reducer_bucket_count(const eh_tree_reducer *reducer, int64_t bucket); // its elements
// Whether all ranks of the node have added their leaves' part of the bucket.
bool eh_reducer_is_complete(const eh_tree_reducer *reducer, int64_t bucket);

// Between nodes. Collective over the ranks of a lane, in that each must call eh_reducer_travel until the step's buckets
// are done; the order is the same on all of them, from the last bucket to the first.
EH_CHECKED eh_status eh_reducer_make_lanes(eh_tree_reducer *reducer); // needs part_count
void eh_reducer_free_lanes(eh_tree_reducer *reducer);
// Moves what can move without waiting; *moved: anything did.
EH_CHECKED eh_status eh_reducer_travel(eh_tree_reducer *reducer, bool *moved);

#endif
