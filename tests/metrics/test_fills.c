// The likeliest words at a mask: order, ties, what is passed over, and an output that is not a number.
#include <math.h>

#include "metrics/fills_internal.h"
#include "support/cmocka.h"

static bool is_even(const void *context, int32_t id)
{
    (void)context;
    return id % 2 == 0;
}

static bool is_any(const void *context, int32_t id)
{
    (void)context;
    (void)id;
    return true;
}

static void expect(const float *logits, int64_t vocabulary, eh_is_word is_word, int64_t most, const int32_t *wanted,
                   int64_t wanted_count)
{
    int32_t best[16];
    assert_in_range(most, 1, 16);
    assert_int_equal(eh_fills_best(logits, vocabulary, is_word, NULL, most, best), wanted_count);
    for (int64_t k = 0; k < wanted_count; k++) assert_int_equal(best[k], wanted[k]);
}

static void test_greatest_first_and_lower_ids_first_at_ties(void **state)
{
    (void)state;
    const float logits[] = {1, 3, 2, 3, -INFINITY, 3, 2};
    expect(logits, 7, is_any, 1, (const int32_t[]){1}, 1);
    expect(logits, 7, is_any, 2, (const int32_t[]){1, 3}, 2); // of three alike the first two stay
    expect(logits, 7, is_any, 4, (const int32_t[]){1, 3, 5, 2}, 4);
    expect(logits, 7, is_any, 7, (const int32_t[]){1, 3, 5, 2, 6, 0, 4}, 7);
    const float rising[] = {1, 2, 3, 4, 5};
    expect(rising, 5, is_any, 3, (const int32_t[]){4, 3, 2}, 3);
}

static void test_what_is_no_word_is_passed_over(void **state)
{
    (void)state;
    const float logits[] = {1, 9, 2, 8, 3, 7, 4};
    expect(logits, 7, is_even, 3, (const int32_t[]){6, 4, 2}, 3);
    expect(logits, 7, is_even, 16, (const int32_t[]){6, 4, 2, 0}, 4); // there are no more words
}

static void test_nothing_is_made_of_nan(void **state)
{
    (void)state;
    const float logits[] = {1, 2, NAN, 0};
    expect(logits, 4, is_any, 2, NULL, 0);
    expect(logits + 2, 2, is_any, 2, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greatest_first_and_lower_ids_first_at_ties),
        cmocka_unit_test(test_what_is_no_word_is_passed_over),
        cmocka_unit_test(test_nothing_is_made_of_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
