// The damage control is several models, each the base with another noise (stages/damage.c). Their mean says what damage
// does to a figure; how far one of them may lie from it is part of what can't be told from the treatment's work.
#ifndef EH_REPORT_DRAWS_H
#define EH_REPORT_DRAWS_H

#include "report/bootstrap.h"

// Standard deviation of (a new draw - the mean of these): `values` [count] of a figure, noises in pairs of the two
// signs (2k, 2k + 1). 0 for one draw, which is no noise at all.
double eh_draws_scatter(const double *values, int64_t count);

// Widens all intervals of an estimate that has the mean of `count` draws in it: the ends move by the root of the sum of
// squares of their own distance and of t x scatter (Zou & Donner 2008), Student's t with count / 2 degrees of freedom.
// There is no p-value then.
void eh_draws_widen(double scatter, int64_t count, eh_estimate *estimate);

#endif
