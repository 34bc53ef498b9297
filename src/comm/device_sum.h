// The sum of gradients over the ranks where a device has memory of its own (train.reduction: fast): in place, in
// buckets, each as soon as the backward pass is done with it, behind the rest of that pass. By NCCL where it was found
// and each rank has a GPU of its own, by CUDA-aware MPI next, else through pinned host memory.
#ifndef EH_COMM_DEVICE_SUM_H
#define EH_COMM_DEVICE_SUM_H

#include "backend/backend.h"
#include "comm/comm.h"

typedef struct eh_device_sum eh_device_sum;
// `gradients` fp32, one dimension, the same count on all ranks; borrowed. bucket_count: elements of a bucket, 0: 25
// MiB. EVENHAND_GPU_SUM=nccl, mpi or staged chooses the way; EH_INPUT where that can't be. Collective.
EH_CHECKED eh_status eh_device_sum_new(eh_comm *comm, eh_backend *backend, const eh_tensor *gradients,
                                       int64_t bucket_count, eh_device_sum **sum);
void eh_device_sum_free(eh_device_sum **sum);
const char *eh_device_sum_way(const eh_device_sum *sum); // "NCCL 2.28.3", "CUDA-aware MPI", "pinned host memory"
// Elements [first, first + count) are what they should be once all that is queued has run; each is told once a step.
// Begins the sums of buckets that are complete; never waits for other ranks. Not collective.
EH_CHECKED eh_status eh_device_sum_ready(eh_device_sum *sum, int64_t first, int64_t count);
// All elements are ready; what is queued after this finds the sums in place. Collective.
EH_CHECKED eh_status eh_device_sum_finish(eh_device_sum *sum);

#endif
