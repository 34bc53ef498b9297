// The damage control's draws: their scatter, and what an interval keeps when the treated model is one of them.
#include "report/draws.h"

#include <math.h>

#include "core/philox.h"
#include "support/close.h"
#include "support/cmocka.h"

static void test_scatter_of_pairs(void **state)
{
    (void)state;
    // Two noises: 1 +- 0.5 and 2 +- 0.25. Mean 1.5; squares 0, 1, 0.75^2, 0.25^2; means of the pairs 0.5 away.
    const double values[4] = {1.5, 0.5, 2.25, 1.75};
    const eh_draws_scatter scatter = eh_draws_scatter_of(values, 4);
    assert_close(scatter.mean, sqrt(0.5 / 2), 1e-12);
    assert_close(scatter.single, sqrt((0 + 1 + 0.5625 + 0.0625) / 3 + 0.25), 1e-12);
    const eh_draws_scatter none = eh_draws_scatter_of(values, 1); // the base itself: no noise, no scatter
    assert_true(none.single == 0 && none.mean == 0);
}

static void test_an_interval_is_widened_by_both(void **state)
{
    (void)state;
    // t(0.975, 3) = 3.18244630528; hypot(3, 4) = 5 where the scatter's part is 4.
    const eh_interval interval = eh_interval_widened((eh_interval){7, 13}, 10, 4 / 3.18244630528, 3, 0.95);
    assert_close(interval.low, 5, 1e-9);
    assert_close(interval.high, 15, 1e-9);
    const eh_interval same = eh_interval_widened((eh_interval){7, 12}, 10, 0, 3, 0.95);
    assert_true(same.low == 7 && same.high == 12);
    eh_estimate estimate = {.value = 10, .standard_error = 3, .interval = {7, 13}, .bca = {NAN, NAN}, .p = 0.01};
    eh_draws_widen((eh_draws_scatter){4, 1}, 6, &estimate);
    assert_close(estimate.standard_error, 5, 1e-12);
    assert_close(estimate.interval.low, 10 - hypot(3, 4 * 3.18244630528), 1e-9);
    assert_true(isnan(estimate.bca.low) && isnan(estimate.p));
}

// A treated model that is one more draw of the damage: linear in the noise, with a smaller part that is even in it.
static void test_a_draw_is_seldom_told_from_the_draws(void **state)
{
    (void)state;
    enum { TRIALS = 20000 };
    int single = 0, mean = 0;
    uint64_t next = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        double values[6], sum = 0, odd[4], even[4];
        for (int k = 0; k < 4; k++) {
            odd[k] = 0.14 * eh_random_normal(5, EH_STREAM_TEST, next++);
            even[k] = 0.04 * eh_random_normal(5, EH_STREAM_TEST, next++);
        }
        for (int k = 0; k < 3; k++) {
            values[2 * k] = 0.3 + even[k] + odd[k];
            values[2 * k + 1] = 0.3 + even[k] - odd[k];
            sum += 2 * (0.3 + even[k]);
        }
        const double excess = sum / 6 - (0.3 + even[3] + odd[3]);
        const eh_draws_scatter scatter = eh_draws_scatter_of(values, 6);
        const eh_interval point = {excess, excess};
        single += eh_interval_widened(point, excess, scatter.single, 3, 0.95).low > 0;
        mean += eh_interval_widened(point, excess, scatter.mean, 2, 0.95).low > 0;
    }
    assert_true(single < 0.035 * TRIALS); // nominally 0.025
    assert_true(single > 0.005 * TRIALS);
    assert_true(mean > 0.2 * TRIALS); // what the interval of the mean would let through
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scatter_of_pairs),
        cmocka_unit_test(test_an_interval_is_widened_by_both),
        cmocka_unit_test(test_a_draw_is_seldom_told_from_the_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
