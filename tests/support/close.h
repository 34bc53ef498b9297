// Comparisons of floats that NaN can't pass (cmocka's assert_float_equal lets it).
#ifndef EH_TESTS_SUPPORT_CLOSE_H
#define EH_TESTS_SUPPORT_CLOSE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static inline bool eh_test_close(double found, double expected, double bound)
{
    const double error = fabs(found - expected);
    if (error <= bound)
        return true;
    fprintf(stderr, "found %.9g, expected %.9g: off by %.3g, allowed %.3g\n", found, expected, error, bound);
    return false;
}
#define assert_close(found, expected, bound) assert_true(eh_test_close((found), (expected), (bound)))

#endif
