// A process that no launcher started: MPI gives it nothing but itself, and leaves nothing behind in the environment.
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm.h"
#include "support/cmocka.h"

static const char *const settings[] = {"OMPI_MCA_ess_singleton_isolated", "OMPI_MCA_pml", "OMPI_MCA_btl"};

static eh_comm *comm;
static char *kept; // what the user had set

// The value of one of Open MPI's own settings; "" if it has none of that name.
static const char *value_of(const char *name)
{
    static char value[65536];
    int index, count, provided;
    MPI_T_cvar_handle handle;
    value[0] = '\0';
    assert_int_equal(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided), MPI_SUCCESS);
    if (MPI_T_cvar_get_index(name, &index) == MPI_SUCCESS &&
        MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) == MPI_SUCCESS) {
        assert_true(count < (int)sizeof value);
        assert_int_equal(MPI_T_cvar_read(handle, value), MPI_SUCCESS);
        MPI_T_cvar_handle_free(&handle);
    }
    MPI_T_finalize();
    return value;
}

static void test_it_is_alone(void **state)
{
    (void)state;
    double sum = 3;
    assert_int_equal(eh_comm_size(comm), 1);
    assert_int_equal(eh_comm_rank(comm), 0);
    assert_int_equal(eh_comm_sum_double(comm, &sum, 1), EH_OK);
    assert_true(sum >= 3 && sum <= 3);
}

// A daemon or a network would cost a third of a second at each start.
static void test_it_starts_with_itself_alone(void **state)
{
    (void)state;
    const char *btl = value_of("btl");
    if (btl[0] == '\0')
        skip(); // not Open MPI
    assert_string_equal(btl, "self");
}

// Programs that it starts may be ranks of one another.
static void test_what_it_starts_knows_nothing_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(settings[i], "OMPI_MCA_pml") != 0)
            assert_null(getenv(settings[i]));
    assert_non_null(kept);
    assert_string_equal(kept, "ob1");
}

int main(int argc, char **argv)
{
    setenv("OMPI_MCA_pml", "ob1", 1); // the user's
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(settings[i], "OMPI_MCA_pml") != 0)
            unsetenv(settings[i]);
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    kept = getenv("OMPI_MCA_pml");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_alone),
        cmocka_unit_test(test_it_starts_with_itself_alone),
        cmocka_unit_test(test_what_it_starts_knows_nothing_of_it),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
