// Work handed out on demand. Every rank computes the same list of chunks from the estimated costs; what is shared is
// two counters, the numbers of chunks taken and of items finished. On one node they lie in shared memory and are bumped
// by a processor atomic; between nodes by a one-sided MPI_Fetch_and_op, which rank 0 answers whenever it enters MPI,
// that is, with its own next.
#include <stdatomic.h>
#include <stdlib.h>

#include "comm/comm.h"
#include "comm/comm_internal.h"
#include "core/memory.h"

struct eh_work_queue {
    eh_comm *comm;
    int64_t chunk_count;
    int64_t *order;       // [count] items, the dearest first
    int64_t *chunk_first; // [chunk_count + 1]
    eh_shared_block shared;
    _Atomic int64_t *counters; // [COUNTERS] on one node
    MPI_Win window;            // between nodes
};

enum { CHUNKS_TAKEN, ITEMS_FINISHED, COUNTERS };

typedef struct {
    double cost;
    int64_t item;
} priced_item;

static int by_falling_cost(const void *left, const void *right)
{
    const priced_item *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost > b->cost ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

// Guided chunks (Polychronopoulos & Kuck 1987): each about a quarter of an equal share of what is left, so that the
// last ones are small and ranks end together.
static eh_status plan_chunks(eh_work_queue *queue, int64_t count, const double *costs)
{
    eh_status status = EH_OK;
    priced_item *items = NULL;
    double left = 0;
    EH_TRY_OR(done, EH_ALLOC(count, &items));
    EH_TRY_OR(done, EH_ALLOC(count, &queue->order));
    EH_TRY_OR(done, EH_ALLOC(count + 1, &queue->chunk_first));
    for (int64_t i = 0; i < count; i++) {
        const double cost = costs ? costs[i] : 1;
        items[i] = (priced_item){cost > 0 ? cost : 0, i}; // NaN too becomes 0
        left += items[i].cost;
    }
    for (int64_t i = 0; left <= 0 && i < count; i++) // nothing is known
        items[i].cost = 1;
    if (left <= 0)
        left = (double)count;
    qsort(items, (size_t)count, sizeof *items, by_falling_cost);
    for (int64_t i = 0; i < count;) {
        const double goal = left / (4.0 * queue->comm->size);
        double taken = 0;
        queue->chunk_first[queue->chunk_count++] = i;
        do {
            taken += items[i].cost;
            queue->order[i] = items[i].item;
            i++;
        } while (i < count && taken + items[i].cost <= goal);
        left -= taken;
    }
    queue->chunk_first[queue->chunk_count] = count;
done:
    eh_free(&items);
    return status;
}

static eh_status make_counter(eh_work_queue *queue)
{
    eh_comm *comm = queue->comm;
    if (comm->node_count == 1) {
        const size_t bytes = comm->local_rank == 0 ? COUNTERS * sizeof *queue->counters : 0;
        EH_TRY(eh_shared_block_new(comm, bytes, "the work queue", &queue->shared));
        queue->counters = queue->shared.parts[0];
        for (int c = 0; c < COUNTERS && comm->local_rank == 0; c++) atomic_init(&queue->counters[c], 0);
    } else {
        int64_t *memory = NULL;
        const MPI_Aint bytes = comm->rank == 0 ? COUNTERS * (MPI_Aint)sizeof *memory : 0;
        EH_TRY(EH_MPI(MPI_Win_allocate(bytes, sizeof *memory, MPI_INFO_NULL, comm->world, &memory, &queue->window)));
        EH_TRY(EH_MPI(MPI_Win_lock_all(0, queue->window)));
        const int64_t zeros[COUNTERS] = {0};
        if (comm->rank == 0) {
            EH_TRY(EH_MPI(MPI_Put(zeros, COUNTERS, MPI_INT64_T, 0, 0, COUNTERS, MPI_INT64_T, queue->window)));
            EH_TRY(EH_MPI(MPI_Win_flush(0, queue->window)));
        }
    }
    return eh_comm_barrier(comm);
}

eh_status eh_work_queue_new(eh_comm *comm, int64_t count, const double *costs, eh_work_queue **queue)
{
    *queue = NULL;
    eh_work_queue *made = NULL;
    eh_status status = EH_ALLOC(1, &made);
    if (status == EH_OK) {
        made->comm = comm;
        made->window = MPI_WIN_NULL;
        status = plan_chunks(made, count, costs);
    }
    status = eh_comm_agree(comm, status);
    if (status == EH_OK)
        status = make_counter(made);
    if (status != EH_OK) {
        eh_work_queue_free(&made);
        return status;
    }
    *queue = made;
    return EH_OK;
}

// Adds `step` to a counter and returns what it was; 0 only reads.
static eh_status fetch_and_add(eh_work_queue *queue, int counter, int64_t step, int64_t *before)
{
    if (queue->counters) {
        *before = atomic_fetch_add(&queue->counters[counter], step);
        return EH_OK;
    }
    EH_TRY(EH_MPI(MPI_Fetch_and_op(&step, before, MPI_INT64_T, 0, counter, MPI_SUM, queue->window)));
    return EH_MPI(MPI_Win_flush(0, queue->window));
}

eh_status eh_work_queue_next(eh_work_queue *queue, const int64_t **items, int64_t *item_count)
{
    int64_t chunk;
    *items = NULL;
    *item_count = 0;
    EH_TRY(fetch_and_add(queue, CHUNKS_TAKEN, 1, &chunk));
    if (chunk < queue->chunk_count) {
        *items = queue->order + queue->chunk_first[chunk];
        *item_count = queue->chunk_first[chunk + 1] - queue->chunk_first[chunk];
    }
    return EH_OK;
}

eh_status eh_work_queue_finish(eh_work_queue *queue, int64_t count)
{
    int64_t ignored;
    return fetch_and_add(queue, ITEMS_FINISHED, count, &ignored);
}

int64_t eh_work_queue_finished(eh_work_queue *queue)
{
    int64_t items = 0;
    return fetch_and_add(queue, ITEMS_FINISHED, 0, &items) == EH_OK ? items : 0; // only a progress line asks
}

void eh_work_queue_free(eh_work_queue **queue)
{
    eh_work_queue *old = *queue;
    if (old) {
        if (old->window != MPI_WIN_NULL) {
            MPI_Win_unlock_all(old->window);
            MPI_Win_free(&old->window);
        }
        eh_shared_block_free(&old->shared);
        eh_free(&old->order);
        eh_free(&old->chunk_first);
    }
    eh_free(queue);
}
