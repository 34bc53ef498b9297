// Measured against planted bias: the truth of a planted world (truth.csv, written by evenhand-plant) beside the mean
// margins that a phase measured on its items.
#ifndef EH_REPORT_TRUTH_H
#define EH_REPORT_TRUTH_H

#include "report/results.h"

#define EH_TRUTH_LEAST_R_SQUARED 0.8 // the meter reads true above this

// One people and attribute pair.
typedef struct {
    char people[32], stereotype[32], anti_stereotype[32], kind[16], exposure[24];
    double planted;  // log-odds of the stereotype
    double measured; // mean over its items of log P(stereotype) - log P(anti-stereotype)
    int64_t items;
} eh_truth_point;

typedef struct eh_truth_phase {
    int64_t phase;
    eh_truth_point *points;
    int64_t point_count;
    eh_line line; // measured = intercept + slope planted
    struct eh_truth_phase
        *draws;         // of "control-damage": each model's own points and line; `points` are their means, and
    int64_t draw_count; // the slope's interval holds a new model's. NULL, 0 for another phase
} eh_truth_phase;

typedef struct {
    char *path; // of truth.csv
    eh_truth_phase *phases;
    int64_t phase_count;
} eh_truth;

// Looks at the intrasentence items of `metric` ("stereoset/likelihood", ids PEOPLE/PAIR/N) in every phase. All zero if
// no item matches the file.
EH_CHECKED eh_status eh_truth_read(const char *path, const eh_results *results, const eh_metric_results *metric,
                                   eh_truth *truth);
void eh_truth_deinit(eh_truth *truth);

#endif
