// What the files of this folder share: the communicator's insides, and waiting that leaves the core to others.
#ifndef EH_COMM_COMM_INTERNAL_H
#define EH_COMM_COMM_INTERNAL_H

#include "comm/comm.h"

struct eh_comm {
    MPI_Comm world, node; // node: the ranks that share memory with this one
    int rank, size, local_rank, local_size;
    int node_index, node_count; // nodes in the order of their lowest rank
    int *node_of, *local_of;    // [size] of every rank
    int *by_node;               // [size] all ranks, node by node, in a node by local rank
    int *node_first;            // [node_count + 1] where a node begins in by_node
};

// How long to leave the core: nothing at first, then ever longer, at most a millisecond. All zero is a fresh wait.
typedef struct {
    unsigned rounds;
} eh_backoff;
void eh_backoff_pause(eh_backoff *backoff);

// Waits for all of the requests, yielding.
EH_CHECKED eh_status eh_comm_wait_all(MPI_Request *requests, int count);

// A block of memory that all ranks of a node map; every rank has its own part, which the others may read and write.
typedef struct {
    MPI_Win window;
    void **parts; // [local_size] this process's address of every rank's part
    size_t *bytes;
} eh_shared_block;
// `bytes` for this rank's part (may differ); `purpose` is for the message when there is no room. Collective on the
// node.
EH_CHECKED eh_status eh_shared_block_new(eh_comm *comm, size_t bytes, const char *purpose, eh_shared_block *block);
void eh_shared_block_free(eh_shared_block *block);

#endif
