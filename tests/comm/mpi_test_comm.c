// With an argument, "abort": ranks 1 and higher fail while rank 0 waits for them (test_abort.sh looks at the outcome).
#include "comm/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "support/cmocka.h"
#include "support/ranks.h"

static eh_comm *comm;

static void test_agrees_on_the_worst_status_and_its_message(void **state)
{
    (void)state;
    const int rank = eh_comm_rank(comm), size = eh_comm_size(comm);
    eh_error_clear();
    assert_all_ranks(eh_comm_agree(comm, EH_OK) == EH_OK);
    eh_status mine = EH_OK;
    if (rank == size - 1)
        mine = eh_error(EH_MACHINE, "no memory on rank %d", rank);
    else if (rank == 0)
        mine = eh_error(EH_INPUT, "row 3 is wrong");
    const eh_status all = eh_comm_agree(comm, mine);
    char expected[64];
    snprintf(expected, sizeof expected, size > 1 ? "rank %d: no memory on rank %d" : "no memory on rank %d", size - 1,
             size - 1);
    assert_all_ranks(all == EH_MACHINE && strcmp(eh_error_message(), expected) == 0);
    const eh_status alike = eh_comm_agree(comm, eh_error(EH_INPUT, "rank %d says so", rank));
    assert_all_ranks(alike == EH_INPUT && strstr(eh_error_message(), "rank 0 says so") != NULL);
}

static void test_broadcasts_a_block_of_unknown_size(void **state)
{
    (void)state;
    const int root = eh_comm_size(comm) - 1;
    for (size_t bytes = 0; bytes < 100000; bytes = bytes * 7 + 1) {
        unsigned char *block = NULL;
        size_t size = 0;
        if (eh_comm_rank(comm) == root) {
            block = malloc(bytes + 1);
            size = bytes;
            for (size_t i = 0; i < bytes; i++) block[i] = (unsigned char)(i * 31 % 251);
        }
        bool ok = eh_comm_broadcast_block(comm, (void **)&block, &size, root) == EH_OK && size == bytes;
        for (size_t i = 0; ok && i < bytes; i++) ok = block[i] == i * 31 % 251;
        assert_all_ranks(ok);
        free(block);
    }
}

static void test_gathers_unequal_blocks(void **state)
{
    (void)state;
    const int rank = eh_comm_rank(comm), size = eh_comm_size(comm);
    for (int root = -1; root < size; root++) {
        char mine[8];
        memset(mine, 'a' + rank, sizeof mine);
        char *all = NULL;
        size_t total, sizes[8];
        bool ok = eh_comm_gather(comm, mine, (size_t)rank, root, (void **)&all, &total, sizes) == EH_OK;
        const bool holds = root < 0 || root == rank;
        ok &= total == (holds ? (size_t)(size * (size - 1) / 2) : 0) && (all != NULL || !holds);
        size_t at = 0;
        for (int other = 0; ok && other < size; other++) {
            ok &= sizes[other] == (size_t)other;
            for (int i = 0; holds && i < other; i++) ok &= all[at++] == 'a' + other;
        }
        assert_all_ranks(ok);
        free(all);
    }
}

static void test_sums_and_slices(void **state)
{
    (void)state;
    const int rank = eh_comm_rank(comm), size = eh_comm_size(comm);
    int64_t first, total, values[2] = {rank + 1, 1};
    bool ok = eh_comm_scan_i64(comm, rank + 1, &first, &total) == EH_OK;
    ok &= first == (int64_t)rank * (rank + 1) / 2 && total == (int64_t)size * (size + 1) / 2;
    ok &= eh_comm_sum_i64(comm, values, 2) == EH_OK && values[0] == total && values[1] == size;
    double most = -rank;
    ok &= eh_comm_max_double(comm, &most, 1) == EH_OK && most >= 0 && most <= 0;
    for (int64_t things = 0; things < 11; things++) {
        int64_t begin, count, sum, before;
        eh_comm_slice(comm, things, &begin, &count);
        ok &= eh_comm_scan_i64(comm, count, &before, &sum) == EH_OK && before == begin && sum == things;
        ok &= count == things / size || count == things / size + 1;
    }
    assert_all_ranks(ok);
}

static void test_hands_out_every_item_once(void **state)
{
    (void)state;
    for (int64_t count = 0; count < 1000; count = count * 3 + 1) {
        double *costs = malloc((size_t)count * sizeof *costs + 1);
        for (int64_t i = 0; i < count; i++) costs[i] = (double)(i * 37 % 101);
        eh_work_queue *queue = NULL;
        bool ok = eh_work_queue_new(comm, count, count % 2 ? costs : NULL, &queue) == EH_OK;
        int64_t *times = calloc((size_t)count + 1, sizeof *times);
        const int64_t *items;
        int64_t got = 0, biggest = 0;
        double last = 1e9;
        do {
            ok &= eh_work_queue_next(queue, &items, &got) == EH_OK;
            for (int64_t i = 0; i < got; i++) {
                times[items[i]]++;
                ok &= count % 2 == 0 || costs[items[i]] <= last; // the dearest first
                last = costs[items[i]];
            }
            biggest = got > biggest ? got : biggest;
            ok &= eh_work_queue_finish(queue, got) == EH_OK;
        } while (ok && got > 0);
        ok &= eh_comm_sum_i64(comm, times, (int)count) == EH_OK;
        for (int64_t i = 0; i < count; i++) ok &= times[i] == 1;
        ok &= biggest <= count / 2 || count < 2;
        ok &= eh_comm_barrier(comm) == EH_OK && eh_work_queue_finished(queue) == count;
        assert_all_ranks(ok);
        eh_work_queue_free(&queue);
        free(times);
        free(costs);
    }
}

static void fail_while_others_wait(void)
{
    if (eh_comm_rank(comm) > 0)
        eh_comm_abort(comm, eh_error(EH_INPUT, "the file is torn"));
    if (eh_comm_barrier(comm) != EH_OK)
        exit(1);
    exit(0);
}

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    if (argc > 1)
        fail_while_others_wait();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_on_the_worst_status_and_its_message),
        cmocka_unit_test(test_broadcasts_a_block_of_unknown_size),
        cmocka_unit_test(test_gathers_unequal_blocks),
        cmocka_unit_test(test_sums_and_slices),
        cmocka_unit_test(test_hands_out_every_item_once),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
