// What a run's scores amount to: tables, plots, one page, a verdict.
#ifndef EH_REPORT_REPORT_H
#define EH_REPORT_REPORT_H

#include "core/log.h"
#include "job/job.h"

// Reads OUTPUT/scores-*.h5 (and metrics.csv, shards, truth.csv where they are), writes OUTPUT/tables/ and
// OUTPUT/report.html. Not collective.
EH_CHECKED eh_status eh_report_make(const eh_job *job, const eh_log *log);
// The runs of a sweep beside each other: OUTPUT/tables/ (a row block a run) and OUTPUT/report.html, which points to the
// runs' own pages. `names` are the runs', and their folders in OUTPUT. Not collective.
EH_CHECKED eh_status eh_report_make_sweep(const char *output, const eh_job *const *jobs, const char *const *names,
                                          int64_t count, const eh_log *log);

#endif
