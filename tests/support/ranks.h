// Tests that run on several ranks: all agree before one asserts, or the others would wait in their collective for ever.
#ifndef EH_TESTS_SUPPORT_RANKS_H
#define EH_TESTS_SUPPORT_RANKS_H

#include <mpi.h>
#include <stdbool.h>

static inline bool eh_test_all_ranks(bool ok)
{
    int mine = ok, all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
    return all;
}

#define assert_all_ranks(ok) assert_true(eh_test_all_ranks(ok))

#endif
