// Buckets go out in one order on all ranks, from the block's end, where the last layers are, to its beginning: NCCL and
// MPI match collectives by their order. A bucket that is complete waits for those behind it.
#include "comm/device_sum.h"

#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/exchange.h"
#include "comm/comm_internal.h"
#include "core/memory.h"

#define USUAL_BUCKET (25 << 18) // elements: 25 MiB

typedef enum { EMPTY, COPYING, SUMMING, RETURNING } slot_state;

struct eh_device_sum {
    eh_comm *comm;
    MPI_Comm ranks; // of its own, so that nothing else comes between two sums
    eh_exchange *exchange;
    eh_exchange_way way;
    char way_text[40];
    eh_tensor gradients;
    int64_t count, bucket_count, buckets;
    int64_t *missing;   // [buckets] elements that are not ready yet
    int64_t next;       // buckets [next, buckets) have been sent
    int64_t next_slot;  // counts up; its slot is the remainder
    int64_t next_state; // slots [next_state, next_slot) are under way, the oldest first
    struct {
        slot_state state;
        int elements;
        MPI_Request request;
    } slots[EH_EXCHANGE_SLOTS];
};

static bool mpi_reads_device_memory(void)
{
#if defined(MPIX_CUDA_AWARE_SUPPORT)
    return MPIX_Query_cuda_support() == 1;
#else
    return false;
#endif
}

// Does any rank share its GPU with another one? Collective.
static eh_status gpus_are_shared(eh_comm *comm, const eh_backend *backend, bool *shared)
{
    char own[40] = "", *all = NULL;
    size_t total = 0;
    const int size = eh_comm_size(comm);
    snprintf(own, sizeof own, "%s", eh_backend_identity(backend));
    EH_TRY(eh_comm_gather(comm, own, sizeof own, -1, (void **)&all, &total, NULL));
    *shared = false;
    for (int a = 0; a < size; a++)
        for (int b = 0; b < a; b++)
            if (comm->node_of[a] == comm->node_of[b] && strncmp(all + 40 * a, all + 40 * b, sizeof own) == 0)
                *shared = true;
    eh_free(&all);
    return EH_OK;
}

static eh_status choose_way(eh_comm *comm, const eh_backend *backend, eh_exchange_way *way)
{
    const char *wish = getenv("EVENHAND_GPU_SUM");
    bool shared;
    EH_TRY(gpus_are_shared(comm, backend, &shared));
    const bool nccl = eh_exchange_nccl_version(backend) > 0;
    *way = nccl && !shared ? EH_EXCHANGE_NCCL : mpi_reads_device_memory() ? EH_EXCHANGE_MPI : EH_EXCHANGE_STAGED;
    if (wish == NULL || *wish == '\0')
        return EH_OK;
    if (strcmp(wish, "nccl") == 0 && !nccl)
        return eh_error(EH_INPUT, "EVENHAND_GPU_SUM=nccl: NCCL was not found when evenhand was configured");
    if (strcmp(wish, "nccl") == 0 && shared)
        return eh_error(EH_INPUT, "EVENHAND_GPU_SUM=nccl: NCCL needs a GPU for each rank");
    if (strcmp(wish, "nccl") != 0 && strcmp(wish, "mpi") != 0 && strcmp(wish, "staged") != 0)
        return eh_error(EH_INPUT, "EVENHAND_GPU_SUM=%s: choose nccl, mpi or staged", wish);
    *way = *wish == 'n' ? EH_EXCHANGE_NCCL : *wish == 'm' ? EH_EXCHANGE_MPI : EH_EXCHANGE_STAGED;
    return EH_OK;
}

static void name_way(eh_device_sum *sum, const eh_backend *backend)
{
    const int version = eh_exchange_nccl_version(backend);
    if (sum->way == EH_EXCHANGE_NCCL)
        snprintf(sum->way_text, sizeof sum->way_text, "NCCL %d.%d.%d", version / 10000, version / 100 % 100,
                 version % 100);
    else
        snprintf(sum->way_text, sizeof sum->way_text, "%s",
                 sum->way == EH_EXCHANGE_MPI ? "CUDA-aware MPI" : "pinned host memory");
}

static int64_t bucket_first(const eh_device_sum *sum, int64_t bucket)
{
    return bucket * sum->bucket_count;
}

static int64_t bucket_elements(const eh_device_sum *sum, int64_t bucket)
{
    const int64_t left = sum->count - bucket_first(sum, bucket);
    return left < sum->bucket_count ? left : sum->bucket_count;
}

static void begin_step(eh_device_sum *sum)
{
    for (int64_t b = 0; b < sum->buckets; b++) sum->missing[b] = bucket_elements(sum, b);
    sum->next = sum->buckets;
}

static eh_status make(eh_device_sum *sum, eh_backend *backend)
{
    unsigned char id[EH_EXCHANGE_ID_BYTES] = {0};
    eh_status status = EH_OK;
    EH_TRY(eh_comm_agree(sum->comm, EH_ALLOC(sum->buckets, &sum->missing)));
    EH_TRY(eh_comm_agree(sum->comm, choose_way(sum->comm, backend, &sum->way)));
    name_way(sum, backend);
    EH_TRY(EH_MPI(MPI_Comm_dup(eh_comm_mpi(sum->comm), &sum->ranks)));
    if (sum->way == EH_EXCHANGE_NCCL) {
        if (eh_comm_rank(sum->comm) == 0)
            status = eh_exchange_make_id(backend, id);
        EH_TRY(eh_comm_agree(sum->comm, status));
        EH_TRY(eh_comm_broadcast(sum->comm, id, sizeof id, 0));
    }
    const eh_exchange_plan plan = {.way = sum->way,
                                   .rank = eh_comm_rank(sum->comm),
                                   .size = eh_comm_size(sum->comm),
                                   .id = id,
                                   .bucket_bytes = (size_t)sum->bucket_count * sizeof(float)};
    status = eh_exchange_new(backend, &plan, &sum->exchange);
    if (status != EH_OK && sum->way == EH_EXCHANGE_NCCL && eh_comm_size(sum->comm) > 1)
        eh_comm_abort(sum->comm, status); // the others may wait in NCCL for this rank
    return eh_comm_agree(sum->comm, status);
}

eh_status eh_device_sum_new(eh_comm *comm, eh_backend *backend, const eh_tensor *gradients, int64_t bucket_count,
                            eh_device_sum **sum)
{
    EH_ASSERT(eh_exchange_is_needed(backend) && gradients->dtype == EH_F32);
    *sum = NULL;
    eh_device_sum *made = NULL;
    EH_TRY(eh_comm_agree(comm, EH_ALLOC(1, &made)));
    made->comm = comm;
    made->ranks = MPI_COMM_NULL;
    made->gradients = *gradients;
    made->count = eh_tensor_count(gradients);
    made->bucket_count = bucket_count > 0 ? bucket_count : USUAL_BUCKET;
    made->bucket_count = made->bucket_count < made->count ? made->bucket_count : made->count > 0 ? made->count : 1;
    made->buckets = (made->count + made->bucket_count - 1) / made->bucket_count;
    for (int s = 0; s < EH_EXCHANGE_SLOTS; s++) made->slots[s].request = MPI_REQUEST_NULL;
    const eh_status status = make(made, backend);
    if (status != EH_OK) {
        eh_device_sum_free(&made);
        return status;
    }
    begin_step(made);
    *sum = made;
    return EH_OK;
}

void eh_device_sum_free(eh_device_sum **sum)
{
    if (*sum != NULL) {
        eh_exchange_free(&(*sum)->exchange);
        if ((*sum)->ranks != MPI_COMM_NULL)
            MPI_Comm_free(&(*sum)->ranks);
        eh_free(&(*sum)->missing);
    }
    eh_free(sum);
}

const char *eh_device_sum_way(const eh_device_sum *sum)
{
    return sum->way_text;
}

// Open MPI sums device memory in its blocking collectives only; MPI_Iallreduce reads it as if it were the host's and
// dies (open-mpi/ompi issue 9845). The kernels that are queued go on meanwhile.
static eh_status begin_sum(eh_device_sum *sum, int slot)
{
    float *values = eh_exchange_memory(sum->exchange, slot);
    const int count = sum->slots[slot].elements;
    if (sum->way == EH_EXCHANGE_MPI)
        return EH_MPI(MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, sum->ranks));
    return EH_MPI(
        MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, sum->ranks, &sum->slots[slot].request));
}

// Moves a slot on by as much as can be without waiting, or (`wait`) until it is empty.
static eh_status advance(eh_device_sum *sum, int slot, bool wait)
{
    bool arrived = false;
    int summed = 0;
    if (sum->slots[slot].state == COPYING) {
        EH_TRY(eh_exchange_arrived(sum->exchange, slot, wait, &arrived));
        if (!arrived)
            return EH_OK;
        sum->slots[slot].state = SUMMING;
        EH_TRY(begin_sum(sum, slot));
    }
    if (sum->slots[slot].state == SUMMING) {
        if (wait) {
            EH_TRY(eh_comm_wait_all(&sum->slots[slot].request, 1));
            summed = 1;
        } else {
            EH_TRY(EH_MPI(MPI_Test(&sum->slots[slot].request, &summed, MPI_STATUS_IGNORE)));
        }
        if (!summed)
            return EH_OK;
        sum->slots[slot].state = RETURNING;
        EH_TRY(eh_exchange_receive(sum->exchange, slot));
    }
    return EH_OK;
}

// All that are under way: their sums must begin in their order.
static eh_status advance_all(eh_device_sum *sum)
{
    for (int64_t s = sum->next_state; s < sum->next_slot; s++) {
        EH_TRY(advance(sum, (int)(s % EH_EXCHANGE_SLOTS), false));
        if (sum->slots[s % EH_EXCHANGE_SLOTS].state == COPYING)
            break;
    }
    return EH_OK;
}

static eh_status empty_oldest(eh_device_sum *sum)
{
    const int slot = (int)(sum->next_state++ % EH_EXCHANGE_SLOTS);
    EH_TRY(advance(sum, slot, true));
    sum->slots[slot].state = EMPTY;
    return eh_exchange_release(sum->exchange, slot);
}

static eh_status send(eh_device_sum *sum, int64_t bucket)
{
    const eh_tensor part = eh_tensor_rows(&sum->gradients, bucket_first(sum, bucket), bucket_elements(sum, bucket));
    if (sum->way != EH_EXCHANGE_NCCL && sum->next_slot - sum->next_state == EH_EXCHANGE_SLOTS)
        EH_TRY(empty_oldest(sum));
    const int slot = (int)(sum->next_slot % EH_EXCHANGE_SLOTS);
    EH_TRY(eh_exchange_send(sum->exchange, slot, &part));
    if (sum->way == EH_EXCHANGE_NCCL)
        return EH_OK; // its stream does the rest
    sum->slots[slot].state = COPYING;
    sum->slots[slot].elements = (int)bucket_elements(sum, bucket);
    sum->next_slot++;
    return EH_OK;
}

// With all slots taken, a bucket can wait: `patient` false sends it all the same, after the oldest slot is done.
static eh_status send_complete(eh_device_sum *sum, bool patient)
{
    while (sum->next > 0 && sum->missing[sum->next - 1] == 0) {
        EH_TRY(advance_all(sum));
        const int64_t oldest = sum->next_state % EH_EXCHANGE_SLOTS;
        if (sum->next_slot - sum->next_state == EH_EXCHANGE_SLOTS && patient && sum->slots[oldest].state != RETURNING)
            return EH_OK;
        EH_TRY(send(sum, --sum->next));
    }
    return advance_all(sum);
}

eh_status eh_device_sum_ready(eh_device_sum *sum, int64_t first, int64_t count)
{
    EH_ASSERT(first >= 0 && count >= 0 && first + count <= sum->count);
    for (int64_t at = first; at < first + count;) {
        const int64_t bucket = at / sum->bucket_count, end = bucket_first(sum, bucket) + bucket_elements(sum, bucket);
        const int64_t stop = end < first + count ? end : first + count;
        sum->missing[bucket] -= stop - at;
        EH_ASSERT(sum->missing[bucket] >= 0);
        at = stop;
    }
    return send_complete(sum, true);
}

eh_status eh_device_sum_finish(eh_device_sum *sum)
{
    for (int64_t b = 0; b < sum->next; b++) sum->missing[b] = 0;
    EH_TRY(send_complete(sum, false));
    while (sum->next_state < sum->next_slot) EH_TRY(empty_oldest(sum));
    begin_step(sum);
    return eh_exchange_finish(sum->exchange);
}
