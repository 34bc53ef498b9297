// Why a new draw's scatter, and not that of the mean: the question is if the treated model could be the base with
// nothing but damage, and such a model is one draw. A noise moves a bias up or down by chance, and the clusters of
// items move together, which their bootstrap does not see. On the planted world of tests/stages/test_controls.sh 51 to
// 69 of 100 damaged models whose bias fell have less than the interval of the mean, 1 to 4 less than this one.
#include "report/draws.h"

#include <math.h>

// The two signs of a noise lie on both sides of their mean, so the spread of all values is that of a single draw; the
// means of the pairs scatter much less, and their mean by less again.
eh_draws_scatter eh_draws_scatter_of(const double *values, int64_t count)
{
    const int64_t pairs = count / 2;
    double mean = 0, squares = 0, pair_squares = 0;
    if (pairs < 2)
        return (eh_draws_scatter){0, 0};
    for (int64_t i = 0; i < count; i++) mean += values[i] / (double)count;
    for (int64_t i = 0; i < count; i++) squares += (values[i] - mean) * (values[i] - mean);
    for (int64_t k = 0; k < pairs; k++) {
        const double off = 0.5 * (values[2 * k] + values[2 * k + 1]) - mean;
        pair_squares += off * off;
    }
    const double of_mean = pair_squares / (double)((pairs - 1) * pairs);
    return (eh_draws_scatter){sqrt(squares / (double)(count - 1) + of_mean), sqrt(of_mean)};
}

eh_interval eh_interval_widened(eh_interval interval, double value, double scatter, double degrees, double level)
{
    if (!(scatter > 0))
        return interval;
    const double by = eh_student_quantile(0.5 + 0.5 * level, degrees) * scatter;
    return (eh_interval){value - hypot(value - interval.low, by), value + hypot(interval.high - value, by)};
}

// As many degrees of freedom as noises: the two signs of one say much the same of the scatter.
void eh_draws_widen(eh_draws_scatter scatter, int64_t count, eh_estimate *estimate)
{
    const double degrees = (double)(count / 2), value = estimate->value, by = scatter.single;
    estimate->p = NAN;
    estimate->standard_error = hypot(estimate->standard_error, by);
    estimate->interval = eh_interval_widened(estimate->interval, value, by, degrees, 0.95);
    estimate->bca = eh_interval_widened(estimate->bca, value, by, degrees, 0.95);
    estimate->two_stage = eh_interval_widened(estimate->two_stage, value, by, degrees, 0.95);
    estimate->ninety = eh_interval_widened(estimate->ninety, value, by, degrees, 0.90);
}
