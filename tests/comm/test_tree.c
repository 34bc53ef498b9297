#include "comm/tree.h"

#include <stdio.h>
#include <string.h>

#include "support/cmocka.h"

// Values are the sums' own formulas as text: "((0+1)+2)".
enum { LEAVES = 13, TEXT = 256 };

static void formula(int64_t first, int64_t end, int64_t leaf_count, int level, char *text)
{
    if (level == 0) {
        snprintf(text, TEXT, "%d", (int)first);
        return;
    }
    const int64_t middle = first + ((int64_t)1 << (level - 1));
    char left[TEXT], right[TEXT];
    formula(first, middle, leaf_count, level - 1, left);
    if (middle >= leaf_count) {
        snprintf(text, TEXT, "%s", left);
        return;
    }
    formula(middle, end, leaf_count, level - 1, right);
    if (snprintf(text, TEXT, "(%s+%s)", left, right) >= TEXT)
        fail();
}

static void push(eh_tree_stack *stack, eh_tree_piece piece, char values[][TEXT])
{
    eh_tree_merge merges[2 * EH_TREE_DEPTH];
    const int count = eh_tree_push(stack, piece, merges);
    for (int m = 0; m < count; m++) {
        char sum[2 * TEXT + 8];
        snprintf(sum, sizeof sum, "(%s+%s)", values[merges[m].into], values[merges[m].from]);
        snprintf(values[merges[m].into], TEXT, "%.255s", sum);
    }
}

static void test_any_division_gives_the_one_tree(void **state)
{
    (void)state;
    for (int leaf_count = 1; leaf_count <= LEAVES; leaf_count++) {
        int level = 0;
        while (1 << level < leaf_count) level++;
        char expected[TEXT];
        formula(0, 1 << level, leaf_count, level, expected);
        for (int places = 1; places <= leaf_count + 2; places++) {
            char values[LEAVES * 2][TEXT];
            eh_tree_stack all = {.leaf_count = leaf_count};
            int used = 0;
            int64_t next = 0;
            for (int place = 0; place < places; place++) {
                eh_tree_stack own = {.leaf_count = leaf_count};
                int64_t first, count;
                eh_tree_leaves(leaf_count, place, places, &first, &count);
                assert_int_equal(first, next);
                next += count;
                for (int64_t leaf = first; leaf < first + count; leaf++) {
                    assert_int_equal(leaf * places / leaf_count, place);
                    const int slot = used + own.count;
                    snprintf(values[slot], TEXT, "%d", (int)leaf);
                    push(&own, (eh_tree_piece){.slot = slot, .index = leaf}, values);
                }
                used += own.count;
                for (int p = 0; p < own.count; p++) push(&all, own.pieces[p], values);
            }
            assert_int_equal(next, leaf_count);
            assert_int_equal(all.count, 1);
            assert_string_equal(values[all.pieces[0].slot], expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_division_gives_the_one_tree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
