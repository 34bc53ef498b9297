// The search for a strength of noise: it ends where the function has the target's value, whatever the function's shape.
#include <math.h>
#include <string.h>

#include "support/cmocka.h"
#include "train/bisection.h"

typedef double (*function)(double strength);

static double square(double s)
{
    return 0.43 + 1.7 * s * s;
}
static double steep(double s)
{
    return 0.43 + exp(40 * s) - 1;
}
static double dips_first(double s)
{
    return 0.43 - 0.02 * s + 3 * s * s * s;
} // a little noise helps
static double breaks(double s)
{
    return s < 0.02 ? 0.43 + 20 * s : NAN;
}
static double jumps(double s)
{
    return s < 0.3 ? 0.43 : 9;
}
static double flat(double s)
{
    return 0.43 + 0 * s;
}

static eh_status search(function value, double target, eh_bisection *search)
{
    *search = eh_bisection_begin(value(0), target, 0.002);
    eh_status status = EH_OK;
    while (status == EH_OK && !search->done) status = eh_bisection_add(search, value(search->next));
    return status;
}

static void test_ends_within_the_tolerance(void **state)
{
    (void)state;
    static const function functions[] = {square, steep, dips_first, breaks};
    static const double targets[] = {0.44, 0.5, 0.55, 0.8};
    for (int f = 0; f < 4; f++)
        for (int t = 0; t < 4; t++) {
            eh_bisection found;
            assert_int_equal(search(functions[f], targets[t], &found), EH_OK);
            assert_true(fabs(functions[f](found.next) - targets[t]) <= 0.002 * targets[t]);
            assert_true(found.trials <= (functions[f] == breaks ? 30 : 16));
        }
}

static void test_no_loss_needs_no_noise(void **state)
{
    (void)state;
    eh_bisection found;
    assert_int_equal(search(square, 0.4305, &found), EH_OK); // within the tolerance
    assert_true(found.done && found.next == 0 && found.trials == 0);
    assert_int_equal(search(square, 0.2, &found), EH_OK); // the treatment made the model better
    assert_true(found.done && found.next == 0 && found.trials == 0);
}

static void test_what_is_never_reached_is_said(void **state)
{
    (void)state;
    eh_bisection found;
    assert_int_equal(search(jumps, 1, &found), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "no strength of noise was found that gives 1 (within 0.2 %)"));
    assert_int_equal(search(flat, 1, &found), EH_INPUT);
    eh_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_within_the_tolerance),
        cmocka_unit_test(test_no_loss_needs_no_noise),
        cmocka_unit_test(test_what_is_never_reached_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
