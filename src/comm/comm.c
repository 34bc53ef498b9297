// The communicator: who is on which node, agreement on errors, and the collectives that stages use. Each collective is
// started without blocking and waited for with pauses: Open MPI's own waiting would keep the core busy.
#include "comm/comm.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/comm_internal.h"
#include "core/memory.h"

extern char **environ;

enum { PIECE_BYTES = 1 << 30 }; // of a message whose size may pass INT_MAX

// --- Waiting ----------------------------------------------------------------------------------------------

void eh_backoff_pause(eh_backoff *backoff)
{
    enum { YIELDS = 200, LONGEST_NANOSECONDS = 1000000 };
    const unsigned round = backoff->rounds++;
    if (round < YIELDS) {
        sched_yield();
        return;
    }
    const long nanoseconds = 2000L * (long)(round - YIELDS + 1);
    const struct timespec pause = {0, nanoseconds < LONGEST_NANOSECONDS ? nanoseconds : LONGEST_NANOSECONDS};
    nanosleep(&pause, NULL);
}

eh_status eh_comm_wait_all(MPI_Request *requests, int count)
{
    eh_backoff backoff = {0};
    for (int done = 0;;) {
        EH_TRY(EH_MPI(MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE)));
        if (done)
            return EH_OK;
        eh_backoff_pause(&backoff);
    }
}

static eh_status wait_one(MPI_Request request)
{
    return eh_comm_wait_all(&request, 1);
}

// --- Begin and end ----------------------------------------------------------------------------------------

// Ranks by node; EVENHAND_NODE_RANKS=k counts every k ranks of a real node as one, to try on one machine what several
// do.
static eh_status find_nodes(eh_comm *comm)
{
    EH_TRY(EH_MPI(MPI_Comm_split_type(comm->world, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &comm->node)));
    const char *text = getenv("EVENHAND_NODE_RANKS");
    const int node_ranks = text ? atoi(text) : 0;
    if (node_ranks > 0) {
        int real_rank = 0;
        MPI_Comm smaller;
        EH_TRY(EH_MPI(MPI_Comm_rank(comm->node, &real_rank)));
        EH_TRY(EH_MPI(MPI_Comm_split(comm->node, real_rank / node_ranks, real_rank, &smaller)));
        MPI_Comm_free(&comm->node);
        comm->node = smaller;
    }
    MPI_Comm_set_errhandler(comm->node, MPI_ERRORS_RETURN);
    EH_TRY(EH_MPI(MPI_Comm_rank(comm->node, &comm->local_rank)));
    EH_TRY(EH_MPI(MPI_Comm_size(comm->node, &comm->local_size)));

    int leader = comm->rank;
    EH_TRY(EH_MPI(MPI_Bcast(&leader, 1, MPI_INT, 0, comm->node)));
    EH_TRY(EH_ALLOC(comm->size, &comm->node_of));
    EH_TRY(EH_ALLOC(comm->size, &comm->local_of));
    EH_TRY(EH_ALLOC(comm->size, &comm->by_node));
    EH_TRY(EH_ALLOC(comm->size + 1, &comm->node_first));
    EH_TRY(EH_MPI(MPI_Allgather(&leader, 1, MPI_INT, comm->node_of, 1, MPI_INT, comm->world)));
    EH_TRY(EH_MPI(MPI_Allgather(&comm->local_rank, 1, MPI_INT, comm->local_of, 1, MPI_INT, comm->world)));

    int placed = 0;
    for (int first = 0; first < comm->size; first++) {
        if (comm->node_of[first] != first)
            continue;
        comm->node_first[comm->node_count++] = placed;
        for (int rank = first; rank < comm->size; rank++) // ascending rank is ascending local rank
            if (comm->node_of[rank] == first)
                comm->by_node[placed++] = rank;
    }
    comm->node_first[comm->node_count] = placed;
    for (int node = 0; node < comm->node_count; node++)
        for (int place = comm->node_first[node]; place < comm->node_first[node + 1]; place++)
            comm->node_of[comm->by_node[place]] = node;
    comm->node_index = comm->node_of[comm->rank];
    return EH_OK;
}

// Whether a launcher started this process, perhaps with others: mpirun, srun and their like tell it so.
static bool is_launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_", "PMI", "SLURM_PROCID=", "ALPS_", "PALS_", "FLUX_"};
    for (char **variable = environ; *variable != NULL; variable++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strncmp(*variable, names[i], strlen(names[i])) == 0)
                return true;
    return false;
}

// A process by itself needs no network and no daemon at its side: Open MPI 4.1 starts in 0.03 s then, not in 0.35. What
// is set here is gone again afterwards, for programs that this one starts may be ranks. The user's own settings win.
static int init_mpi(int *argc, char ***argv)
{
    static const char *const settings[][2] = {
        {"OMPI_MCA_ess_singleton_isolated", "1"}, {"OMPI_MCA_pml", "ob1"}, {"OMPI_MCA_btl", "self"}};
    enum { COUNT = sizeof settings / sizeof *settings };
    const bool alone = !is_launched();
    bool is_ours[COUNT];
    int provided;
    for (int i = 0; i < COUNT; i++) {
        is_ours[i] = alone && getenv(settings[i][0]) == NULL;
        if (is_ours[i])
            setenv(settings[i][0], settings[i][1], 0);
    }
    const int code = MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
    for (int i = 0; i < COUNT; i++)
        if (is_ours[i])
            unsetenv(settings[i][0]);
    return code;
}

eh_status eh_comm_begin(int *argc, char ***argv, eh_comm **comm)
{
    *comm = NULL;
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0); // for what waits inside MPI: MPI-IO, windows, start and end
    // Open MPI 4.1 has one kind of window that works over TCP, and takes it only if some list of kinds is given:
    // without this, windows between hosts without special networks fail.
    setenv("OMPI_MCA_osc", "^rdma", 0);
    const int code = init_mpi(argc, argv);
    if (code != MPI_SUCCESS)
        return eh_error(EH_MACHINE, "MPI does not start (code %d)", code);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    EH_TRY(EH_ALLOC(1, comm));
    eh_comm *made = *comm;
    made->world = MPI_COMM_WORLD;
    made->node = MPI_COMM_NULL;
    EH_TRY(EH_MPI(MPI_Comm_rank(made->world, &made->rank)));
    EH_TRY(EH_MPI(MPI_Comm_size(made->world, &made->size)));
    return find_nodes(made);
}

void eh_comm_end(eh_comm **comm)
{
    if (*comm) {
        if ((*comm)->node != MPI_COMM_NULL)
            MPI_Comm_free(&(*comm)->node);
        eh_free(&(*comm)->node_of);
        eh_free(&(*comm)->local_of);
        eh_free(&(*comm)->by_node);
        eh_free(&(*comm)->node_first);
    }
    eh_free(comm);
    int started = 0, ended = 0;
    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    if (started && !ended)
        MPI_Finalize();
}

int eh_comm_rank(const eh_comm *comm)
{
    return comm->rank;
}

int eh_comm_size(const eh_comm *comm)
{
    return comm->size;
}

int eh_comm_local_rank(const eh_comm *comm)
{
    return comm->local_rank;
}

int eh_comm_local_size(const eh_comm *comm)
{
    return comm->local_size;
}

MPI_Comm eh_comm_mpi(const eh_comm *comm)
{
    return comm->world;
}

// --- Errors -----------------------------------------------------------------------------------------------

eh_status eh_comm_status(int mpi_code, const char *call)
{
    if (mpi_code == MPI_SUCCESS)
        return EH_OK;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(mpi_code, text, &length) != MPI_SUCCESS)
        snprintf(text, sizeof text, "code %d", mpi_code);
    return eh_error(EH_MACHINE, "%.40s: %s", call, text);
}

// Whether "rank N: " is in a message already, from an earlier agreement.
static bool names_a_rank(const char *message)
{
    for (const char *at = message; (at = strstr(at, "rank ")) != NULL;) {
        at += strlen("rank ");
        const size_t digits = strspn(at, "0123456789");
        if (digits > 0 && strncmp(at + digits, ": ", 2) == 0)
            return true;
    }
    return false;
}

eh_status eh_comm_agree(eh_comm *comm, eh_status status)
{
    struct {
        int status, rank;
    } mine = {(int)status, comm->rank}, worst;
    MPI_Request request;
    EH_TRY(EH_MPI(MPI_Iallreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, comm->world, &request)));
    EH_TRY(wait_one(request));
    if (worst.status == EH_OK)
        return EH_OK;
    char message[4096] = "";
    if (comm->rank == worst.rank)
        snprintf(message, sizeof message, "%s", eh_error_message());
    EH_TRY(eh_comm_broadcast(comm, message, sizeof message, worst.rank));
    if (comm->size == 1 || names_a_rank(message))
        return eh_error((eh_status)worst.status, "%s", message);
    return eh_error((eh_status)worst.status, "rank %d: %s", worst.rank, message);
}

void eh_comm_abort(eh_comm *comm, eh_status status)
{
    const int rank = comm ? comm->rank : 0;
    const long wait = 50000000L * (rank < 20 ? rank : 20); // of several that fail alike, the lowest speaks
    const struct timespec pause = {wait / 1000000000L, wait % 1000000000L};
    nanosleep(&pause, NULL);
    if (comm && comm->size > 1)
        fprintf(stderr, "evenhand: rank %d: %s\n", rank, eh_error_message());
    else
        fprintf(stderr, "evenhand: %s\n", eh_error_message());
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, eh_exit_code(status));
    _exit(eh_exit_code(status));
}

// --- Collectives ------------------------------------------------------------------------------------------

eh_status eh_comm_barrier(eh_comm *comm)
{
    MPI_Request request;
    EH_TRY(EH_MPI(MPI_Ibarrier(comm->world, &request)));
    return wait_one(request);
}

eh_status eh_comm_broadcast(eh_comm *comm, void *bytes, size_t size, int root)
{
    for (size_t done = 0; done < size;) {
        const size_t piece = size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
        MPI_Request request;
        EH_TRY(EH_MPI(MPI_Ibcast((char *)bytes + done, (int)piece, MPI_BYTE, root, comm->world, &request)));
        EH_TRY(wait_one(request));
        done += piece;
    }
    return EH_OK;
}

eh_status eh_comm_broadcast_block(eh_comm *comm, void **block, size_t *size, int root)
{
    uint64_t bytes = comm->rank == root ? *size : 0;
    EH_TRY(eh_comm_broadcast(comm, &bytes, sizeof bytes, root));
    eh_status status = EH_OK;
    if (comm->rank != root) {
        *block = NULL;
        *size = 0;
        status = eh_alloc((int64_t)bytes, 1, block);
    }
    EH_TRY(eh_comm_agree(comm, status)); // one without memory must not leave the others in the broadcast
    *size = bytes;
    return eh_comm_broadcast(comm, *block, bytes, root);
}

static eh_status reduce_in_place(eh_comm *comm, void *values, int count, MPI_Datatype type, MPI_Op operation)
{
    MPI_Request request;
    EH_TRY(EH_MPI(MPI_Iallreduce(MPI_IN_PLACE, values, count, type, operation, comm->world, &request)));
    return wait_one(request);
}

eh_status eh_comm_sum_i64(eh_comm *comm, int64_t *values, int count)
{
    return reduce_in_place(comm, values, count, MPI_INT64_T, MPI_SUM);
}

eh_status eh_comm_sum_double(eh_comm *comm, double *values, int count)
{
    return reduce_in_place(comm, values, count, MPI_DOUBLE, MPI_SUM);
}

eh_status eh_comm_or_u32(eh_comm *comm, uint32_t *values, int64_t count)
{
    enum { PIECE = 1 << 24 };
    for (int64_t first = 0; first < count; first += PIECE) {
        const int piece = (int)(count - first < PIECE ? count - first : PIECE);
        EH_TRY(reduce_in_place(comm, values + first, piece, MPI_UINT32_T, MPI_BOR));
    }
    return EH_OK;
}

eh_status eh_comm_max_i64(eh_comm *comm, int64_t *values, int count)
{
    return reduce_in_place(comm, values, count, MPI_INT64_T, MPI_MAX);
}

eh_status eh_comm_max_double(eh_comm *comm, double *values, int count)
{
    return reduce_in_place(comm, values, count, MPI_DOUBLE, MPI_MAX);
}

eh_status eh_comm_scan_i64(eh_comm *comm, int64_t value, int64_t *first, int64_t *total)
{
    int64_t before = 0;
    MPI_Request request;
    EH_TRY(EH_MPI(MPI_Iexscan(&value, &before, 1, MPI_INT64_T, MPI_SUM, comm->world, &request)));
    EH_TRY(wait_one(request));
    *first = comm->rank == 0 ? 0 : before; // what rank 0 receives is undefined
    *total = value;
    return eh_comm_sum_i64(comm, total, 1);
}

// Point to point in pieces: every rank's block to `root`, which holds them one after another.
static eh_status gather_to_root(eh_comm *comm, const void *block, const uint64_t *sizes, int root, char *all)
{
    enum { TAG = 71 };
    if (comm->rank != root) {
        for (uint64_t done = 0; done < sizes[comm->rank];) {
            const uint64_t left = sizes[comm->rank] - done, piece = left < PIECE_BYTES ? left : PIECE_BYTES;
            MPI_Request request;
            EH_TRY(
                EH_MPI(MPI_Isend((const char *)block + done, (int)piece, MPI_BYTE, root, TAG, comm->world, &request)));
            EH_TRY(wait_one(request));
            done += piece;
        }
        return EH_OK;
    }
    uint64_t at = 0;
    for (int rank = 0; rank < comm->size; rank++) {
        if (rank == root && sizes[rank] > 0)
            memcpy(all + at, block, sizes[rank]);
        for (uint64_t done = 0; rank != root && done < sizes[rank];) {
            const uint64_t left = sizes[rank] - done, piece = left < PIECE_BYTES ? left : PIECE_BYTES;
            MPI_Request request;
            EH_TRY(EH_MPI(MPI_Irecv(all + at + done, (int)piece, MPI_BYTE, rank, TAG, comm->world, &request)));
            EH_TRY(wait_one(request));
            done += piece;
        }
        at += sizes[rank];
    }
    return EH_OK;
}

eh_status eh_comm_gather(eh_comm *comm, const void *block, size_t size, int root, void **all, size_t *total,
                         size_t *sizes)
{
    *all = NULL;
    *total = 0;
    eh_status status = EH_OK;
    uint64_t *every = NULL, sum = 0, mine = size;
    const bool holds = root < 0 || comm->rank == root;
    MPI_Request request;
    EH_TRY_OR(done, eh_comm_agree(comm, EH_ALLOC(comm->size, &every)));
    EH_TRY_OR(done, EH_MPI(MPI_Iallgather(&mine, 1, MPI_UINT64_T, every, 1, MPI_UINT64_T, comm->world, &request)));
    EH_TRY_OR(done, wait_one(request));
    for (int rank = 0; rank < comm->size; rank++) {
        sum += every[rank];
        if (sizes)
            sizes[rank] = every[rank];
    }
    EH_TRY_OR(done, eh_comm_agree(comm, holds ? eh_alloc((int64_t)sum, 1, all) : EH_OK));
    EH_TRY_OR(done, gather_to_root(comm, block, every, root < 0 ? 0 : root, *all));
    if (root < 0)
        EH_TRY_OR(done, eh_comm_broadcast(comm, *all, sum, 0));
    if (holds)
        *total = sum;
done:
    if (status != EH_OK)
        eh_free(all);
    eh_free(&every);
    return status;
}

void eh_comm_slice_of(int rank, int ranks, int64_t total, int64_t *first, int64_t *count)
{
    const int64_t share = total / ranks, longer = total % ranks; // the first `longer` ranks have one more
    *first = rank * share + (rank < longer ? rank : longer);
    *count = share + (rank < longer ? 1 : 0);
}

void eh_comm_slice(const eh_comm *comm, int64_t total, int64_t *first, int64_t *count)
{
    eh_comm_slice_of(comm->rank, comm->size, total, first, count);
}

// --- Memory shared by the ranks of a node -------------------------------------------------------------------

eh_status eh_shared_block_new(eh_comm *comm, size_t bytes, const char *purpose, eh_shared_block *block)
{
    *block = (eh_shared_block){.window = MPI_WIN_NULL};
    EH_TRY(EH_ALLOC(comm->local_size, &block->parts));
    EH_TRY(EH_ALLOC(comm->local_size, &block->bytes));
    void *mine = NULL;
    const int code = MPI_Win_allocate_shared((MPI_Aint)bytes, 1, MPI_INFO_NULL, comm->node, &mine, &block->window);
    if (code != MPI_SUCCESS)
        return eh_error(EH_MACHINE,
                        "no %zu MB of shared memory for %s: make /dev/shm larger (docker run --shm-size=...)",
                        bytes >> 20, purpose);
    EH_TRY(EH_MPI(MPI_Win_lock_all(0, block->window)));
    for (int local = 0; local < comm->local_size; local++) {
        MPI_Aint size;
        int unit;
        EH_TRY(EH_MPI(MPI_Win_shared_query(block->window, local, &size, &unit, &block->parts[local])));
        block->bytes[local] = (size_t)size;
    }
    return EH_OK;
}

void eh_shared_block_free(eh_shared_block *block)
{
    if (block->parts && block->window != MPI_WIN_NULL) {
        MPI_Win_unlock_all(block->window);
        MPI_Win_free(&block->window);
    }
    eh_free(&block->parts);
    eh_free(&block->bytes);
}
