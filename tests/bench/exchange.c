// Latency and bandwidth between two ranks that exchange messages, as the sum of gradients does: both send, both
// receive, then wait yielding. One JSON line a size; scaling_study.py fits its model to them.   mpirun -n 2
// bench_exchange
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/comm_internal.h"
#include "core/clock.h"

enum { ROUNDS = 25 };

static eh_status measure(eh_comm *comm, int bytes, const char *sent, char *received, double *least)
{
    const int other = 1 - eh_comm_rank(comm);
    *least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        MPI_Request requests[2];
        EH_TRY(eh_comm_barrier(comm));
        const double began = eh_seconds();
        EH_TRY(EH_MPI(MPI_Irecv(received, bytes, MPI_BYTE, other, 1, eh_comm_mpi(comm), &requests[0])));
        EH_TRY(EH_MPI(MPI_Isend(sent, bytes, MPI_BYTE, other, 1, eh_comm_mpi(comm), &requests[1])));
        EH_TRY(eh_comm_wait_all(requests, 2));
        double taken = eh_seconds() - began;
        EH_TRY(eh_comm_max_double(comm, &taken, 1));
        *least = taken < *least ? taken : *least;
    }
    return EH_OK;
}

int main(int argc, char **argv)
{
    enum { LARGEST = 16 << 20 };
    eh_comm *comm = NULL;
    char *sent = calloc(LARGEST, 1), *received = calloc(LARGEST, 1);
    eh_status status = eh_comm_begin(&argc, &argv, &comm);
    for (int bytes = 1024; status == EH_OK && eh_comm_size(comm) == 2 && bytes <= LARGEST; bytes *= 4) {
        double seconds;
        status = measure(comm, bytes, sent, received, &seconds);
        if (status == EH_OK && eh_comm_rank(comm) == 0)
            printf("{\"bench\":\"exchange\",\"network\":\"%s\",\"bytes\":%d,\"seconds\":%.9f}\n",
                   argc > 1 ? argv[1] : "node", bytes, seconds);
    }
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    free(sent);
    free(received);
    eh_comm_end(&comm);
    return eh_exit_code(status);
}
