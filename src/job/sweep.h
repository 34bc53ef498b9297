// `sweep:` maps keys to lists of values; their product becomes one run each, in OUTPUT/<run name>. A list of such
// mappings gives the runs of each in turn, a combination that comes again once: one-at-a-time comparisons beside a full
// product. The empty mapping is the job as it stands, named "plain".
#ifndef EH_JOB_SWEEP_H
#define EH_JOB_SWEEP_H

#include "job/job.h"

typedef struct {
    char *name;       // "task-rewrite_lr-0.0001"; "" for a job without sweep
    char **overrides; // for eh_job_read: the user's, then the run's own
    int64_t override_count;
    char **values; // [key_count] of the swept keys, as text; "" where this run leaves the key alone
    eh_job job;
} eh_run;

typedef struct {
    char *output; // of the whole
    eh_run *runs; // one where there is no sweep
    int64_t run_count;
    char **keys; // swept keys, as "train.lr"
    int64_t key_count;
} eh_sweep;

// Reads the job file once for each run, so that all are checked before the first begins. EH_INPUT as eh_job_read.
EH_CHECKED eh_status eh_sweep_read(const char *path, const char *const *overrides, int64_t override_count,
                                   eh_sweep *sweep);
void eh_sweep_deinit(eh_sweep *sweep);

#endif
