// numpy's permutations: the first numbers of PROTOCOL 6.5, and others that numpy 2 printed.
// tests/dataset/test_templates.py holds whole splits against numpy itself.
#include "core/numpy_random.h"

#include <stdbool.h>

#include "support/cmocka.h"

static void expect(uint64_t seed, int64_t count, const int64_t *first, int64_t first_count)
{
    static int64_t order[1508];
    static bool seen[1508];
    assert_true(count <= 1508);
    eh_numpy_permutation(seed, count, order);
    for (int64_t i = 0; i < first_count; i++) assert_int_equal(order[i], first[i]);
    for (int64_t i = 0; i < count; i++) seen[i] = false;
    for (int64_t i = 0; i < count; i++) {
        assert_true(order[i] >= 0 && order[i] < count && !seen[order[i]]);
        seen[order[i]] = true;
    }
}

static void test_the_study_s_shuffles(void **state)
{
    (void)state;
    const int64_t flan[] = {896, 129, 946, 394, 1394, 47, 493, 964};
    const int64_t bloomz[] = {1016, 477, 508, 493, 616, 658, 1337, 485};
    expect(42, 1508, flan, 8);
    expect(2023, 1508, bloomz, 8);
}

static void test_small_counts_and_seeds_of_two_words(void **state)
{
    (void)state;
    const int64_t one[] = {0};
    expect(7, 1, one, 1);
    expect(7, 0, one, 0);
    const int64_t wide[] = {0, 5, 7, 8, 3, 9, 2, 6, 1, 4};
    const int64_t zero[] = {4, 6, 2, 7, 3, 5, 9, 0, 8, 1};
    expect(0x123456789abcdefu, 10, wide, 10);
    expect(0, 10, zero, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_study_s_shuffles),
        cmocka_unit_test(test_small_counts_and_seeds_of_two_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
