// Which tables a report has, made from the results of one run or of several (a sweep: one after the other in each
// table).
#ifndef EH_REPORT_TABLES_H
#define EH_REPORT_TABLES_H

#include "report/columns.h"
#include "report/table.h"
#include "report/verdict.h"

// One run, with all that a report says of it. Borrowed.
typedef struct {
    const eh_job *job;
    const eh_results *results;
    const eh_truth *truth; // NULL without a planted truth
    const eh_verdicts *verdicts;
    const eh_columns *published; // of report.reference; NULL: none
} eh_report_run;

// *tables is an array of *count, each to be deinited, then eh_free. Tables without rows are left out.
EH_CHECKED eh_status eh_tables_make(const eh_report_run *runs, int64_t run_count, eh_table **tables, int64_t *count);

// figures.csv: one line per phase or comparison, metric and figure, with everything that is known of it. That of a
// sweep is merged from its runs' (stages/front/sweep_table.c).
EH_CHECKED eh_status eh_figures_to_csv(const eh_report_run *run, eh_string *text);

// A metric's name for people: "StereoSet, likelihood" of "stereoset/likelihood".
EH_CHECKED eh_status eh_metric_title(const char *table_name, eh_string *text);
// Whether the figure in that phase is not better than the best rule that does not read (ICAT and LMS figures).
bool eh_below_nulls(const eh_metric_results *metric, int64_t phase, int64_t figure);

#endif
