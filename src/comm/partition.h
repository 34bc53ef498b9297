// A block of floats that is divided among all ranks: the block is cut into units (a transformer's layers), each unit
// into stretches, one for each rank, as equal as whole pieces allow. What a rank owns lies together in its shard, unit
// after unit. Pieces depend on the unit's size alone, so sums over pieces are the same for any number of ranks. Units
// that are frozen have no gradient: the others follow each other in a block of gradients, and in shards of its sum.
#ifndef EH_COMM_PARTITION_H
#define EH_COMM_PARTITION_H

#include "comm/comm.h"

enum { EH_GRAIN = 16 }; // units begin and end at multiples of so many elements

typedef struct {
    int64_t first, count; // of the block
    bool frozen;
    int64_t gradient_first; // in the block of gradients; eh_partition_init sets it
} eh_unit;

typedef struct {
    int64_t first, count; // of the block
    int64_t at;           // where it begins in the shard
    int64_t sum_at;       // and in the shard of the gradients' sum, unless its unit is frozen
} eh_stretch;

typedef struct {
    eh_unit *units; // owned
    int64_t unit_count;
    int rank, size;
    eh_stretch *own;        // [unit_count] this rank's
    int64_t shard_count;    // elements of this rank's shard
    int64_t sum_count;      // of these, elements that have gradients
    int64_t gradient_count; // elements of the whole block of gradients
    int64_t *piece_first;   // [unit_count + 1] numbers of the units' pieces, all units together; frozen ones have none
} eh_partition;

// Elements of a unit's pieces (the last may be shorter): a power of two, at most 1024 pieces.
int64_t eh_unit_piece(int64_t count);
// The stretch of any rank; its places in shards are left 0. Not collective.
eh_stretch eh_unit_stretch(const eh_unit *unit, int rank, int size);
// Takes over `units`, in ascending order without gaps. Not collective.
EH_CHECKED eh_status eh_partition_init(eh_unit *units, int64_t unit_count, int rank, int size, eh_partition *partition);
void eh_partition_deinit(eh_partition *partition);

// --- Bringing a unit together ------------------------------------------------------------------------------
// A gathering under way; all zero: none.
typedef struct {
    MPI_Request request;
    MPI_Datatype grain;
    int *counts, *places;
    bool running;
} eh_gathering;
EH_CHECKED eh_status eh_gathering_init(int size, eh_gathering *gathering);
void eh_gathering_deinit(eh_gathering *gathering);
// Starts to collect all ranks' stretches in `unit_values`, the unit's first element first; `own` is this rank's
// stretch, which may already lie in its place there. Both stay as they are until the end. Collective, units in the same
// order.
EH_CHECKED eh_status eh_gathering_begin(eh_comm *comm, const eh_partition *partition, int64_t unit,
                                        size_t element_bytes, const void *own, void *unit_values,
                                        eh_gathering *gathering);
EH_CHECKED eh_status eh_gathering_end(eh_gathering *gathering);

// --- Fixed-tree sum whose result stays divided ----------------------------------------------------------------
// Leaf i of `leaf_count` is computed by rank i % size in round i / size, so that neighbours in the tree are there
// together. Each rank adds up its own stretches of all leaves, in the order of the tree of comm.h, with the same bits;
// or, not `tree`, one after another, which needs a single shard.
typedef struct eh_split_reducer eh_split_reducer;
EH_CHECKED eh_status eh_split_reducer_new(eh_comm *comm, const eh_partition *partition, int64_t leaf_count, bool tree,
                                          eh_split_reducer **reducer);
void eh_split_reducer_free(eh_split_reducer **reducer);
// Bytes that a rank would hold, for plans; not collective.
size_t eh_split_reducer_bytes(const eh_partition *partition, int64_t leaf_count, bool tree);
int64_t eh_split_reducer_rounds(const eh_split_reducer *reducer);
// This rank's leaf of the round at hand, -1: none.
int64_t eh_split_reducer_leaf(const eh_split_reducer *reducer);
// Starts the sum of a unit that is not frozen; `values` are this rank's leaf, from the unit's first element on, and
// stay as they are until the end; unused if it has none. One unit at a time; each such unit once in a round, on all
// ranks in the same order.
EH_CHECKED eh_status eh_split_reducer_begin(eh_split_reducer *reducer, int64_t unit, const float *values);
EH_CHECKED eh_status eh_split_reducer_end(eh_split_reducer *reducer); // of what was begun, if anything
// All units of the round are done. After the last round the result is there, and the next sum may begin.
void eh_split_reducer_end_round(eh_split_reducer *reducer);
float *eh_split_reducer_result(const eh_split_reducer *reducer); // [sum_count]

#endif
