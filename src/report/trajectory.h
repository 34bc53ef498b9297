// A training's way: bias and capability before, at every checkpoint that was measured (phases "step-N"), and after.
#ifndef EH_REPORT_TRAJECTORY_H
#define EH_REPORT_TRAJECTORY_H

#include "report/results.h"

typedef struct {
    const char *phase;
    double step;                                   // NaN: not known
    const eh_estimate *margin, *bits, *divergence; // NULL: not measured; borrowed from the results
    bool on_front; // no other point is nearer to neutral without being worse in bits per byte, or the reverse
} eh_trajectory_point;

typedef struct {
    eh_trajectory_point *points; // by step
    int64_t count;               // 0: no checkpoint was measured
} eh_trajectory;

EH_CHECKED eh_status eh_trajectory_make(const eh_results *results, eh_trajectory *way);
void eh_trajectory_deinit(eh_trajectory *way);

#endif
