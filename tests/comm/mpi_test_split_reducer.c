// The sum that stays divided, against one computed alone; units brought together; what a rank holds.
#include "comm/partition.h"
#include "core/memory.h"

#include "reducer_cases.h"

// Units: one of many pieces, one smaller than a piece, an empty one, one without gradients, and one of whole pieces.
static const eh_unit cuts[] = {{.first = 0, .count = 4096 * 7 + 48},
                               {.first = 28720, .count = 16},
                               {.first = 28736, .count = 0},
                               {.first = 28736, .count = 4096 * 9, .frozen = true},
                               {.first = 28736 + 4096 * 9, .count = 4096 * 3}};
enum { UNITS = 5, TOTAL = 28736 + 4096 * 12 };

static bool init(eh_partition *partition)
{
    eh_unit *units = NULL;
    if (EH_ALLOC(UNITS, &units) != EH_OK)
        return false;
    memcpy(units, cuts, sizeof cuts);
    return eh_partition_init(units, UNITS, eh_comm_rank(comm), eh_comm_size(comm), partition) == EH_OK;
}

static float expected(int64_t leaf_count, bool tree, int64_t i, int step)
{
    int level = 0;
    while ((int64_t)1 << level < leaf_count) level++;
    if (tree)
        return expected_sum(0, level, leaf_count, i, step);
    float sum = leaf_value(0, i, step);
    for (int64_t leaf = 1; leaf < leaf_count; leaf++) sum += leaf_value(leaf, i, step);
    return sum;
}

static bool adds_exactly(int64_t leaf_count, bool tree)
{
    eh_partition partition;
    eh_split_reducer *reducer = NULL;
    if (!init(&partition) || eh_split_reducer_new(comm, &partition, leaf_count, tree, &reducer) != EH_OK)
        return false;
    float *leaf = malloc(TOTAL * sizeof *leaf);
    bool ok = true;
    for (int step = 0; step < 2; step++) {
        for (int64_t round = 0; round < eh_split_reducer_rounds(reducer); round++) {
            const int64_t own = eh_split_reducer_leaf(reducer);
            for (int64_t i = 0; i < TOTAL; i++) leaf[i] = own < 0 ? NAN : leaf_value(own, i, step);
            for (int64_t u = UNITS - 1; u >= 0; u--)
                ok &= cuts[u].frozen || (eh_split_reducer_begin(reducer, u, leaf + cuts[u].first) == EH_OK &&
                                         eh_split_reducer_end(reducer) == EH_OK);
            eh_split_reducer_end_round(reducer);
        }
        const float *sum = eh_split_reducer_result(reducer);
        for (int64_t u = 0; u < UNITS; u++)
            for (int64_t i = 0; !cuts[u].frozen && i < partition.own[u].count; i++) {
                const float should = expected(leaf_count, tree, partition.own[u].first + i, step);
                ok &= memcmp(&sum[partition.own[u].sum_at + i], &should, sizeof should) == 0;
            }
    }
    free(leaf);
    eh_split_reducer_free(&reducer);
    eh_partition_deinit(&partition);
    return ok;
}

static void test_the_sum_is_the_trees(void **state)
{
    (void)state;
    bool ok = true;
    for (int64_t leaf_count = 1; leaf_count <= 9; leaf_count++)
        ok &= adds_exactly(leaf_count, true) && adds_exactly(leaf_count, false);
    assert_true(eh_test_all_ranks(ok));
}

// Every element is some rank's, once, and stretches are whole pieces.
static void test_stretches_cover_a_unit(void **state)
{
    (void)state;
    const eh_unit units[] = {{.first = 0, .count = 0},
                             {.first = 32, .count = 16},
                             {.first = 64, .count = 4096},
                             {.first = 0, .count = 4096 * 5 + 16},
                             {.first = 0, .count = (int64_t)3600000000}};
    for (int u = 0; u < 5; u++)
        for (int size = 1; size <= 1024; size = size < 9 ? size + 1 : 4 * size) {
            int64_t next = units[u].first, longest = eh_unit_stretch(&units[u], 0, size).count;
            for (int rank = 0; rank < size; rank++) {
                const eh_stretch stretch = eh_unit_stretch(&units[u], rank, size);
                assert_true(stretch.first == next && stretch.count <= longest);
                assert_true(rank == size - 1 || stretch.count % eh_unit_piece(units[u].count) == 0 ||
                            stretch.first + stretch.count == units[u].first + units[u].count);
                next += stretch.count;
            }
            assert_true(next == units[u].first + units[u].count);
            if (units[u].count > 1000000000 && size <= 16) // equal within 1/64
                assert_true(longest < units[u].count / size / 64 * 65 + 1);
        }
}

static bool comes_together(size_t element_bytes, bool in_place)
{
    eh_partition partition;
    eh_gathering gathering;
    if (!init(&partition) || eh_gathering_init(eh_comm_size(comm), &gathering) != EH_OK)
        return false;
    unsigned char *own = malloc(TOTAL * element_bytes), *all = malloc(TOTAL * element_bytes);
    bool ok = true;
    for (int64_t u = 0; u < UNITS; u++) {
        const eh_stretch *mine = &partition.own[u];
        memset(all, 0, TOTAL * element_bytes);
        unsigned char *from = in_place ? all + (size_t)(mine->first - cuts[u].first) * element_bytes
                                       : own + (size_t)mine->at * element_bytes;
        for (size_t i = 0; i < (size_t)mine->count * element_bytes; i++)
            from[i] = (unsigned char)(((size_t)mine->first * element_bytes + i) * 7 % 251);
        ok &= eh_gathering_begin(comm, &partition, u, element_bytes, from, all, &gathering) == EH_OK &&
              eh_gathering_end(&gathering) == EH_OK;
        for (size_t i = 0; i < (size_t)cuts[u].count * element_bytes; i++)
            ok &= all[i] == (unsigned char)(((size_t)cuts[u].first * element_bytes + i) * 7 % 251);
    }
    free(own);
    free(all);
    eh_gathering_deinit(&gathering);
    eh_partition_deinit(&partition);
    return ok;
}

static void test_a_unit_comes_together(void **state)
{
    (void)state;
    assert_true(eh_test_all_ranks(comes_together(4, false) && comes_together(2, false) && comes_together(4, true)));
}

int main(int argc, char **argv)
{
    assert_int_equal(eh_comm_begin(&argc, &argv, &comm), EH_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sum_is_the_trees),
        cmocka_unit_test(test_stretches_cover_a_unit),
        cmocka_unit_test(test_a_unit_comes_together),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
