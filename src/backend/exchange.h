// Buckets of a device's gradients on their way to the other ranks, on streams of their own behind the computation. For
// devices whose memory is not the host's; comm/device_sum.c decides which bucket goes when. Not for use by others.
#ifndef EH_BACKEND_EXCHANGE_H
#define EH_BACKEND_EXCHANGE_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    EH_EXCHANGE_STAGED, // through pinned host memory: MPI sums there
    EH_EXCHANGE_MPI,    // MPI sums in device memory
    EH_EXCHANGE_NCCL    // NCCL sums in device memory, on a stream
} eh_exchange_way;
enum { EH_EXCHANGE_SLOTS = 4, EH_EXCHANGE_ID_BYTES = 128 };
typedef struct eh_exchange eh_exchange;

bool eh_exchange_is_needed(const eh_backend *backend); // the device's memory is its own
// NCCL's release as a number (22800), 0 where it was not built in.
int eh_exchange_nccl_version(const eh_backend *backend);
// What all ranks of a sum by NCCL must share: rank 0 makes it.
EH_CHECKED eh_status eh_exchange_make_id(eh_backend *backend, unsigned char id[EH_EXCHANGE_ID_BYTES]);

typedef struct {
    eh_exchange_way way;
    int rank, size;
    const unsigned char *id; // NCCL only
    size_t bucket_bytes;     // the largest
} eh_exchange_plan;
// NCCL: collective, returns when all ranks have called it.
EH_CHECKED eh_status eh_exchange_new(eh_backend *backend, const eh_exchange_plan *plan, eh_exchange **exchange);
void eh_exchange_free(eh_exchange **exchange);

// The fp32 bucket is what it should be once all that is queued so far has run. NCCL: its sum over the ranks is queued.
// STAGED: its copy to the slot's host memory is; the slot must be free. MPI: only the moment is noted.
EH_CHECKED eh_status eh_exchange_send(eh_exchange *exchange, int slot, const eh_tensor *bucket);
// Is the bucket where MPI can sum it? `wait`: until it is. NCCL: true.
EH_CHECKED eh_status eh_exchange_arrived(eh_exchange *exchange, int slot, bool wait, bool *arrived);
// Where MPI sums it in place: host memory (STAGED) or the device's (MPI).
float *eh_exchange_memory(const eh_exchange *exchange, int slot);
// MPI is done with it: STAGED: its copy back to the device is queued.
EH_CHECKED eh_status eh_exchange_receive(eh_exchange *exchange, int slot);
// STAGED: waits for the copy back, so that the slot can be used again.
EH_CHECKED eh_status eh_exchange_release(eh_exchange *exchange, int slot);
// What is queued after this finds all that was received in place.
EH_CHECKED eh_status eh_exchange_finish(eh_exchange *exchange);

#ifdef __cplusplus
}
#endif
#endif
