// Why a new draw's scatter, and not that of the mean: the question is if the treated model could be the base with
// nothing but damage, and such a model is one draw. A noise moves a bias up or down by chance, and the clusters of
// items move together, which their bootstrap does not see. On the planted world of tests/stages/test_controls.sh 51 to
// 69 of 100 damaged models whose bias fell have less than the interval of the mean, 1 to 4 less than this one.
#include "report/draws.h"

#include <math.h>

// With v = m + noise effects: the two signs of a noise lie on both sides of their mean, so the spread of all values is
// that of a single draw; the means of the pairs scatter much less, and their mean by less again.
double eh_draws_scatter(const double *values, int64_t count)
{
    const int64_t pairs = count / 2;
    double mean = 0, squares = 0, pair_squares = 0;
    for (int64_t i = 0; i < count; i++) mean += values[i] / (double)count;
    if (pairs < 2)
        return 0;
    for (int64_t i = 0; i < count; i++) squares += (values[i] - mean) * (values[i] - mean);
    for (int64_t k = 0; k < pairs; k++) {
        const double off = 0.5 * (values[2 * k] + values[2 * k + 1]) - mean;
        pair_squares += off * off;
    }
    return sqrt(squares / (double)(count - 1) + pair_squares / (double)((pairs - 1) * pairs));
}

static void widen(eh_interval *interval, double value, double by)
{
    interval->low = value - hypot(value - interval->low, by);
    interval->high = value + hypot(interval->high - value, by);
}

void eh_draws_widen(double scatter, int64_t count, eh_estimate *estimate)
{
    const double degrees = (double)(count / 2);
    estimate->p = NAN;
    if (!(scatter > 0))
        return;
    const double by = eh_student_quantile(0.975, degrees) * scatter;
    estimate->standard_error = hypot(estimate->standard_error, scatter);
    widen(&estimate->interval, estimate->value, by);
    widen(&estimate->bca, estimate->value, by);
    widen(&estimate->two_stage, estimate->value, by);
    widen(&estimate->ninety, estimate->value, eh_student_quantile(0.95, degrees) * scatter);
}
