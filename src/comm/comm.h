// The ranks of a run: who am I, agreeing on errors, exchanging values, adding gradients in a fixed tree, handing out
// work. Everything here is collective unless said otherwise. Waiting yields the core, it never spins.
#ifndef EH_COMM_COMM_H
#define EH_COMM_COMM_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct eh_comm eh_comm;

// MPI_Init_thread (serialized), errors returned, not fatal. Without mpirun there is one rank.
EH_CHECKED eh_status eh_comm_begin(int *argc, char ***argv, eh_comm **comm);
void eh_comm_end(eh_comm **comm); // MPI_Finalize

int eh_comm_rank(const eh_comm *comm);
int eh_comm_size(const eh_comm *comm);
int eh_comm_local_rank(const eh_comm *comm); // among the ranks of this node
int eh_comm_local_size(const eh_comm *comm);
MPI_Comm eh_comm_mpi(const eh_comm *comm); // for parallel HDF5 and MPI-IO

// Turns an MPI return code into a status with MPI's own words.
EH_CHECKED eh_status eh_comm_status(int mpi_code, const char *call);
#define EH_MPI(call) eh_comm_status((call), #call)

// The end of a phase in which ranks may fail on their own: all get the worst status, and every rank's message becomes
// that of the lowest rank that has it, with "rank R: " before it if there are several ranks.
EH_CHECKED eh_status eh_comm_agree(eh_comm *comm, eh_status status);
// Inside a phase, not collective: prints one line with the rank and the stored message, ends all ranks with the
// status's exit code within seconds.
void eh_comm_abort(eh_comm *comm, eh_status status) __attribute__((noreturn));

EH_CHECKED eh_status eh_comm_barrier(eh_comm *comm);
// Sizes may pass INT_MAX.
EH_CHECKED eh_status eh_comm_broadcast(eh_comm *comm, void *bytes, size_t size, int root);
// Broadcast of a block whose size only the root knows; on the other ranks *block is allocated (eh_free).
EH_CHECKED eh_status eh_comm_broadcast_block(eh_comm *comm, void **block, size_t *size, int root);
EH_CHECKED eh_status eh_comm_sum_i64(eh_comm *comm, int64_t *values, int count);   // in place
EH_CHECKED eh_status eh_comm_sum_double(eh_comm *comm, double *values, int count); // exact where all but one are 0
// In place, bit by bit: puts together what ranks know the parts of, 0 elsewhere.
EH_CHECKED eh_status eh_comm_or_u32(eh_comm *comm, uint32_t *values, int64_t count);
EH_CHECKED eh_status eh_comm_max_i64(eh_comm *comm, int64_t *values, int count);
EH_CHECKED eh_status eh_comm_max_double(eh_comm *comm, double *values, int count);
// first = sum of `value` over lower ranks, total over all.
EH_CHECKED eh_status eh_comm_scan_i64(eh_comm *comm, int64_t value, int64_t *first, int64_t *total);
// Every rank's block, one after another in rank order, to all ranks (root -1) or to the root only (others get NULL, 0).
// sizes[rank] may be NULL. *all is allocated.
EH_CHECKED eh_status eh_comm_gather(eh_comm *comm, const void *block, size_t size, int root, void **all, size_t *total,
                                    size_t *sizes);

// [first, first + count) of `total` things in contiguous, nearly equal parts; not collective.
void eh_comm_slice(const eh_comm *comm, int64_t total, int64_t *first, int64_t *count);
void eh_comm_slice_of(int rank, int ranks, int64_t total, int64_t *first, int64_t *count); // another rank's

// --- Fixed-tree sum of gradients (DESIGN section 8) -------------------------------------------------------
// `leaf_count` micro-batches have one gradient each; leaf i belongs to rank floor(i * size / leaf_count), ranks counted
// node by node. The sum is that of one binary tree over the leaves (tree.h), whatever rank holds which. A rank adds up
// its own leaves first (partial sums of complete subtrees, like a binary counter), then the ranks add theirs.
typedef struct eh_tree_reducer eh_tree_reducer;
// Buffers of `count` floats. EH_MACHINE with the size if they do not fit.
EH_CHECKED eh_status eh_tree_reducer_new(eh_comm *comm, int64_t count, int64_t leaf_count, eh_tree_reducer **reducer);
// How many buffers of `count` floats rank `rank` of `size` holds, for plans; not collective.
int eh_tree_reducer_buffers(int64_t leaf_count, int rank, int size);
void eh_tree_reducer_free(eh_tree_reducer **reducer);
// Which leaves this rank computes; not collective.
void eh_tree_reducer_leaves(const eh_tree_reducer *reducer, int64_t *first, int64_t *count);
// Takes elements [first, first + count) of this rank's next leaf, values[0] being the first, as soon as they are known;
// each at most once. Never waits for ranks that compute, so that parts of the sum are made while others are still
// computed; with several nodes each call, an empty one too, moves messages on. Not collective.
EH_CHECKED eh_status eh_tree_reducer_add_stretch(eh_tree_reducer *reducer, int64_t first, int64_t count,
                                                 const float *values);
// Takes the gradient of this rank's next leaf (in order), or what is left of it; not collective.
EH_CHECKED eh_status eh_tree_reducer_add(eh_tree_reducer *reducer, const float *leaf);
// This rank reads the last result no more: others that write to its place need not wait. Not collective, never waits;
// the next add says the same.
void eh_tree_reducer_release(eh_tree_reducer *reducer);
// The sum over all leaves of all ranks, written to `sum` on every rank; ready for the next step.
EH_CHECKED eh_status eh_tree_reducer_finish(eh_tree_reducer *reducer, float *sum);
// The same without the copy: *sum is borrowed, in memory that the node shares, until this rank's next call. Ranks that
// write to it must write to parts of their own, and wait for each other before it is read.
EH_CHECKED eh_status eh_tree_reducer_finish_view(eh_tree_reducer *reducer, const float **sum);
// Where eh_tree_reducer_finish_view's result always is.
float *eh_tree_reducer_result(const eh_tree_reducer *reducer);

// --- Work handed out on demand --------------------------------------------------------------------------------
// Items 0 .. count - 1 (order and chunk sizes from the estimated `costs`, the dearest first). A rank asks for its next
// chunk without waiting for others (an MPI-3 shared counter). Creation and end are collective, next is not.
typedef struct eh_work_queue eh_work_queue;
EH_CHECKED eh_status eh_work_queue_new(eh_comm *comm, int64_t count, const double *costs, eh_work_queue **queue);
// Sets the item indices of the next chunk (borrowed until the next call); *item_count 0 at the end.
EH_CHECKED eh_status eh_work_queue_next(eh_work_queue *queue, const int64_t **items, int64_t *item_count);
// Notes that this rank has finished `count` of its items; how many all ranks together have, for the progress line. Not
// collective.
EH_CHECKED eh_status eh_work_queue_finish(eh_work_queue *queue, int64_t count);
int64_t eh_work_queue_finished(eh_work_queue *queue);
void eh_work_queue_free(eh_work_queue **queue);

#endif
