// How many GB of gradients the ranks add up in a second: the tree reducer's last step (its result read in place, and
// copied out), and MPI_Allreduce beside it.   mpirun -n 2 --bind-to core bench_allreduce
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm.h"
#include "core/clock.h"

enum { ROUNDS = 9 };

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median_of_slowest(eh_comm *comm, double taken[ROUNDS])
{
    if (eh_comm_max_double(comm, taken, ROUNDS) != EH_OK)
        exit(1);
    qsort(taken, ROUNDS, sizeof *taken, by_size);
    return taken[ROUNDS / 2];
}

static void report(const eh_comm *comm, const char *way, int64_t count, double seconds)
{
    if (eh_comm_rank(comm) == 0)
        printf("{\"bench\":\"allreduce\",\"way\":\"%s\",\"ranks\":%d,\"megabytes\":%ld,\"ms\":%.3f,\"gb_s\":%.2f}\n",
               way, eh_comm_size(comm), (long)(count >> 18), seconds * 1e3, (double)count * 4e-9 / seconds);
    fflush(stdout);
}

static eh_status measure(eh_comm *comm, int64_t count)
{
    double view_seconds[ROUNDS], copy_seconds[ROUNDS], mpi_seconds[ROUNDS];
    float *leaf = malloc((size_t)count * sizeof *leaf), *sum = calloc((size_t)count, sizeof *sum);
    eh_tree_reducer *reducer;
    EH_TRY(eh_tree_reducer_new(comm, count, eh_comm_size(comm), &reducer));
    for (int64_t i = 0; i < count; i++) leaf[i] = (float)(i % 1000) * (float)(eh_comm_rank(comm) + 1);
    const int ranks = eh_comm_size(comm);
    for (int round = -1; round < ROUNDS; round++) {
        const float *view;
        EH_TRY(eh_tree_reducer_add(reducer, leaf));
        EH_TRY(eh_comm_barrier(comm));
        double began = eh_seconds();
        EH_TRY(eh_tree_reducer_finish_view(reducer, &view));
        if (round >= 0)
            view_seconds[round] = eh_seconds() - began;
        for (int64_t i = 0; i < count; i++) // a quick exchange that adds up wrong must not win
            if (view[i] < (float)(i % 1000 * ranks * (ranks + 1) / 2) ||
                view[i] > (float)(i % 1000 * ranks * (ranks + 1) / 2))
                return eh_error(EH_MACHINE, "element %ld is wrong", (long)i);
        EH_TRY(eh_tree_reducer_add(reducer, leaf));
        EH_TRY(eh_comm_barrier(comm));
        began = eh_seconds();
        EH_TRY(eh_tree_reducer_finish(reducer, sum));
        if (round >= 0)
            copy_seconds[round] = eh_seconds() - began;
        EH_TRY(eh_comm_barrier(comm));
        began = eh_seconds();
        MPI_Allreduce(leaf, sum, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (round >= 0)
            mpi_seconds[round] = eh_seconds() - began;
    }
    report(comm, "tree, in place", count, median_of_slowest(comm, view_seconds));
    report(comm, "tree, copied out", count, median_of_slowest(comm, copy_seconds));
    report(comm, "MPI_Allreduce", count, median_of_slowest(comm, mpi_seconds));
    eh_tree_reducer_free(&reducer);
    free(leaf);
    free(sum);
    return EH_OK;
}

int main(int argc, char **argv)
{
    eh_comm *comm;
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    for (int64_t megabytes = 1; megabytes <= 256; megabytes *= 4) {
        const eh_status status = measure(comm, megabytes << 18);
        if (status != EH_OK)
            eh_comm_abort(comm, status);
    }
    eh_comm_end(&comm);
    return 0;
}
