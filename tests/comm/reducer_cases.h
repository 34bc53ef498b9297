// The tree reducer against a sum computed alone, used with ranks as one node and with each rank as a node of its own.
#ifndef EH_TESTS_COMM_REDUCER_CASES_H
#define EH_TESTS_COMM_REDUCER_CASES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm.h"
#include "core/clock.h"
#include "core/philox.h"
#include "support/cmocka.h"
#include "support/ranks.h"

static eh_comm *comm;

// Values whose sum depends on the order: magnitudes from 2^-10 to 2^13, both signs.
static float leaf_value(int64_t leaf, int64_t i, int step)
{
    const uint64_t index = (uint64_t)(leaf * 1000003 + i) * 7 + (uint64_t)step;
    const uint64_t bits = eh_random_u64(1, EH_STREAM_TEST, index);
    return ldexpf((float)(bits >> 40) - 0x1p23f, (int)(bits % 23) - 33);
}

// The tree of tree.h, by recursion.
static float expected_sum(int64_t first, int level, int64_t leaf_count, int64_t i, int step)
{
    if (level == 0)
        return leaf_value(first, i, step);
    const int64_t middle = first + ((int64_t)1 << (level - 1));
    const float left = expected_sum(first, level - 1, leaf_count, i, step);
    return middle < leaf_count ? left + expected_sum(middle, level - 1, leaf_count, i, step) : left;
}

// The leaf in stretches of unequal length from the end, every other one left for the last call.
static eh_status add_in_stretches(eh_tree_reducer *reducer, const float *leaf, int64_t count)
{
    for (int64_t end = count, length = 1; end > 0; length = length * 3 + 1) {
        const int64_t first = end > length ? end - length : 0;
        EH_TRY(eh_tree_reducer_add_stretch(reducer, first, end - first, leaf + first));
        end = first - length / 2;
    }
    return eh_tree_reducer_add(reducer, leaf);
}

static bool reduces_exactly(int64_t count, int64_t leaf_count)
{
    eh_tree_reducer *reducer = NULL;
    if (eh_tree_reducer_new(comm, count, leaf_count, &reducer) != EH_OK)
        return false;
    int level = 0;
    while ((int64_t)1 << level < leaf_count) level++;
    float *leaf = malloc((size_t)count * sizeof *leaf + 1), *sum = malloc((size_t)count * sizeof *sum + 1);
    bool ok = true;
    for (int step = 0; step < 3; step++) { // it is ready for the next step, and nothing is left over
        int64_t first, own;
        eh_tree_reducer_leaves(reducer, &first, &own);
        for (int64_t l = first; l < first + own; l++) {
            for (int64_t i = 0; i < count; i++) leaf[i] = leaf_value(l, i, step);
            ok &= (step == 1 ? eh_tree_reducer_add(reducer, leaf) : add_in_stretches(reducer, leaf, count)) == EH_OK;
        }
        memset(sum, 0xff, (size_t)count * sizeof *sum);
        const float *view = sum;
        ok &= (step == 1 ? eh_tree_reducer_finish_view(reducer, &view) : eh_tree_reducer_finish(reducer, sum)) == EH_OK;
        for (int64_t i = 0; ok && i < count; i++) {
            const float expected = expected_sum(0, level, leaf_count, i, step);
            ok &= memcmp(&view[i], &expected, sizeof expected) == 0;
        }
    }
    free(leaf);
    free(sum);
    eh_tree_reducer_free(&reducer);
    return ok;
}

static void test_sum_has_the_bits_of_one_tree(void **state)
{
    (void)state;
    for (int64_t leaf_count = 1; leaf_count <= 9; leaf_count++)
        for (int c = 0; c < 5; c++) assert_all_ranks(reduces_exactly((int64_t[]){0, 1, 5, 2049, 4099}[c], leaf_count));
}

static void test_more_than_one_message(void **state)
{
    (void)state;
    assert_all_ranks(reduces_exactly(4 * 65536 + 3001, 4));
}

// Rank 0 has told one half and does not go on before that half's sum is there: it comes while rank 0 still computes.
static bool adds_up_behind_a_computing_rank(int64_t count, int64_t leaf_count)
{
    eh_tree_reducer *reducer = NULL;
    if (eh_tree_reducer_new(comm, count, leaf_count, &reducer) != EH_OK)
        return false;
    int level = 0;
    while ((int64_t)1 << level < leaf_count) level++;
    const int64_t told = count / 2;
    float *leaf = malloc((size_t)count * sizeof *leaf);
    const float *sum = NULL;
    int64_t first, own;
    bool ok = true, came = eh_comm_rank(comm) > 0;
    eh_tree_reducer_leaves(reducer, &first, &own);
    for (int64_t l = first; l < first + own; l++) {
        for (int64_t i = 0; i < count; i++) leaf[i] = leaf_value(l, i, 0);
        if (l + 1 == first + own)
            ok &= eh_tree_reducer_add_stretch(reducer, told, count - told, leaf + told) == EH_OK;
        // With ranks on one node the others add up; alone, or among nodes, rank 0 must call to move on.
        for (const double began = eh_seconds(); ok && !came && l + 1 == first + own && eh_seconds() - began < 20;) {
            const float expected = expected_sum(0, level, leaf_count, count - 1, 0);
            ok &= eh_tree_reducer_add_stretch(reducer, count, 0, NULL) == EH_OK;
            const float there = ((const volatile float *)eh_tree_reducer_result(reducer))[count - 1];
            came = memcmp(&there, &expected, sizeof there) == 0;
        }
        ok &= eh_tree_reducer_add(reducer, leaf) == EH_OK;
    }
    ok &= eh_tree_reducer_finish_view(reducer, &sum) == EH_OK;
    for (int64_t i = 0; ok && i < count; i += 97) {
        const float expected = expected_sum(0, level, leaf_count, i, 0);
        ok &= memcmp(&sum[i], &expected, sizeof expected) == 0;
    }
    free(leaf);
    eh_tree_reducer_free(&reducer);
    return ok && came;
}

static void test_parts_are_added_up_while_a_rank_computes(void **state)
{
    (void)state;
    assert_all_ranks(adds_up_behind_a_computing_rank(3 * 65536 + 5, 4));
    assert_all_ranks(adds_up_behind_a_computing_rank(3 * 65536 + 5, 2)); // ranks without leaves
}

static inline int run_reducer_cases(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sum_has_the_bits_of_one_tree),
                                       cmocka_unit_test(test_more_than_one_message),
                                       cmocka_unit_test(test_parts_are_added_up_while_a_rank_computes)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}

#endif
