// The damage control is several models, each the base with another noise (stages/damage.c). Their mean says what damage
// does to a figure; how far one of them may lie from it is part of what can't be told from the treatment's work.
#ifndef EH_REPORT_DRAWS_H
#define EH_REPORT_DRAWS_H

#include "report/bootstrap.h"

// Standard deviations about the mean of the draws: of a new draw, and of the mean itself. Both 0 for one draw, which is
// no noise at all.
typedef struct {
    double single, mean;
} eh_draws_scatter;

// `values` [count] of a figure, noises in pairs of the two signs (2k, 2k + 1).
eh_draws_scatter eh_draws_scatter_of(const double *values, int64_t count);

// The interval's ends move by the root of the sum of squares of their own distance from the value and of t x scatter
// (Zou & Donner 2008), Student's t with so many degrees of freedom.
eh_interval eh_interval_widened(eh_interval interval, double value, double scatter, double degrees, double level);

// Widens all intervals of an estimate that has the mean of `count` draws in it by the scatter of a new draw. There is
// no p-value then.
void eh_draws_widen(eh_draws_scatter scatter, int64_t count, eh_estimate *estimate);

#endif
