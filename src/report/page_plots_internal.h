// What the files that draw the page's plots share.
#ifndef EH_REPORT_PAGE_PLOTS_INTERNAL_H
#define EH_REPORT_PAGE_PLOTS_INTERNAL_H

#include "report/charts.h"
#include "report/page.h"

// Up to so many runs have a colour each; more are told apart by what they say.
#define EH_PAGE_FEW_RUNS 6

const char *eh_short_phase(const char *phase); // "damage" of "control-damage"
eh_mark eh_mark_of(const eh_metric_results *metric, int64_t phase, int64_t figure);

// Bias against capability: the picture that tells mitigation from damage. Every phase of few runs; of many, the way
// from the base to the treated model in the verdict's colour.
EH_CHECKED eh_status eh_page_plane(const eh_report_run *runs, int64_t run_count, eh_string *html);
// Bias and capability over the number of parameters, for each group of runs that differ in their model's size alone,
// and their seed.
EH_CHECKED eh_status eh_page_scaling(const eh_report_run *runs, int64_t run_count, eh_string *html);
// Bias and capability over the steps of a training, where checkpoints were measured.
EH_CHECKED eh_status eh_page_trajectory(const eh_report_run *run, eh_string *html);

#endif
