// Ranks finish together (within 5 %) on very unequal items. Time is modelled, not measured: a rank asks for its next
// chunk when it has worked through the last one, and an item takes its cost times what the estimate is off by.
#include <math.h>
#include <stdio.h>

#include "comm/comm.h"
#include "core/memory.h"
#include "core/philox.h"
#include "support/cmocka.h"
#include "support/ranks.h"

#define ITEMS 4000
#define SIZE_MOST 64

// Costs as those of documents: most are short, a few are a thousand times as long (Pareto); none is more than 1 % of
// all.
static double cost_of_item(int64_t i)
{
    return fmin(16 / pow(1 - eh_random_uniform(7, EH_STREAM_TEST, (uint64_t)i), 0.9), 4000);
}

static double error_of_estimate(int64_t i)
{
    return 0.75 + 0.5 * eh_random_uniform(8, EH_STREAM_TEST, (uint64_t)i);
}

static eh_comm *comm;

// The rank that is free first takes the next chunk; all know all clocks.
static bool work_through(eh_work_queue *queue, double clocks[SIZE_MOST], int64_t *taken)
{
    for (;;) {
        int first = 0;
        for (int r = 1; r < eh_comm_size(comm); r++)
            if (clocks[r] < clocks[first])
                first = r;
        const int64_t *items = NULL;
        int64_t count = 0;
        double worked = 0;
        bool ok = true;
        if (first == eh_comm_rank(comm)) {
            ok = eh_work_queue_next(queue, &items, &count) == EH_OK;
            for (int64_t i = 0; i < count; i++) worked += cost_of_item(items[i]) * error_of_estimate(items[i]);
            *taken += count;
        }
        double told[2] = {worked, (double)count};
        ok = ok && eh_comm_sum_double(comm, told, 2) == EH_OK;
        if (!eh_test_all_ranks(ok))
            return false;
        if (told[1] == 0) // the one that is free first gets nothing: all others are at work on their last chunk
            return true;
        clocks[first] += told[0];
    }
}

static void test_ranks_finish_within_5_percent(void **state)
{
    (void)state;
    eh_work_queue *queue = NULL;
    double *costs = NULL, clocks[SIZE_MOST] = {0};
    int64_t taken = 0;
    const bool ok = eh_comm_size(comm) <= SIZE_MOST && EH_ALLOC(ITEMS, &costs) == EH_OK;
    assert_all_ranks(ok);
    double least = INFINITY, most = 0, total = 0;
    for (int64_t i = 0; i < ITEMS; i++) {
        costs[i] = cost_of_item(i);
        least = fmin(least, costs[i]);
        most = fmax(most, costs[i]);
        total += costs[i];
    }
    assert_all_ranks(most / least > 100 && most < total / 50); // very unequal, but no item alone is too much
    assert_all_ranks(eh_work_queue_new(comm, ITEMS, costs, &queue) == EH_OK);
    assert_all_ranks(work_through(queue, clocks, &taken));
    int64_t sum = taken;
    assert_all_ranks(eh_comm_sum_i64(comm, &sum, 1) == EH_OK && sum == ITEMS);
    double first = INFINITY, last = 0;
    for (int r = 0; r < eh_comm_size(comm); r++) {
        first = fmin(first, clocks[r]);
        last = fmax(last, clocks[r]);
    }
    if (eh_comm_rank(comm) == 0)
        printf("%d ranks: the first is done at %.2f %% of the last one's time\n", eh_comm_size(comm),
               100 * first / last);
    assert_all_ranks(first >= 0.95 * last);
    eh_work_queue_free(&queue);
    eh_free(&costs);
}

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks_finish_within_5_percent)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
