// A report of two made-up models, each with four controls and checkpoints, for the scripts that look at it:
// tool_made_report FOLDER writes FOLDER/report.html, FOLDER/small, FOLDER/large. MADE UP: no number is a result.
#include <stdio.h>

#include "core/memory.h"
#include "core/string.h"
#include "report/report.h"
#include "support/cmocka.h"
#include "support/made_run.h"

enum { MODELS = 11 };

static eh_status make_one(eh_comm *comm, const char *folder, const char *name, const eh_made_model *models, eh_job *job,
                          const eh_log *log)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    eh_made_run(comm, path, name, models, MODELS, 200, job);
    return eh_report_make(job, log);
}

int main(int argc, char **argv)
{
    static const eh_made_model small[MODELS] = {{"before", "s0", 0.8, 2, 0.6, 0.5, 1.50, 560000000},
                                                {"after", "s1", 0.3, 1.7, 0.6, 0.1, 1.51, 560000000},
                                                {"step-100", "s2", 0.6, 1.9, 0.6, 0.35, 1.49, 560000000},
                                                {"step-200", "s3", 0.45, 1.8, 0.6, 0.2, 1.50, 560000000},
                                                {"control-damage-1a", "s41a", 0.66, 1, 1.2, 0.4, 1.515, 560000000},
                                                {"control-damage-1b", "s41b", 0.55, 1, 1.2, 0.4, 1.515, 560000000},
                                                {"control-damage-2a", "s42a", 0.58, 1, 1.2, 0.4, 1.515, 560000000},
                                                {"control-damage-2b", "s42b", 0.61, 1, 1.2, 0.4, 1.515, 560000000},
                                                {"control-placebo", "s5", 0.78, 1.9, 0.6, 0.48, 1.51, 560000000},
                                                {"control-repeat", "s0", 0.8, 2, 0.6, 0.5, 1.50, 560000000},
                                                {"control-reversed", "s6", 1.1, 1.9, 0.6, 0.7, 1.52, 560000000}};
    static const eh_made_model large[MODELS] = {{"before", "l0", 0.9, 2.6, 0.6, 0.45, 1.31, 1700000000},
                                                {"after", "l1", 0.5, 1.2, 0.8, 0.25, 1.47, 1700000000},
                                                {"step-100", "l2", 0.8, 2.2, 0.6, 0.4, 1.33, 1700000000},
                                                {"step-200", "l3", 0.6, 1.7, 0.6, 0.3, 1.39, 1700000000},
                                                {"control-damage-1a", "l41a", 0.56, 1, 1.2, 0.26, 1.47, 1700000000},
                                                {"control-damage-1b", "l41b", 0.45, 1, 1.2, 0.26, 1.47, 1700000000},
                                                {"control-damage-2a", "l42a", 0.48, 1, 1.2, 0.26, 1.47, 1700000000},
                                                {"control-damage-2b", "l42b", 0.51, 1, 1.2, 0.26, 1.47, 1700000000},
                                                {"control-neutral", "l5", 0.88, 2.5, 0.6, 0.44, 1.32, 1700000000},
                                                {"control-repeat", "l0", 0.9, 2.6, 0.6, 0.45, 1.31, 1700000000},
                                                {"control-reversed", "l6", 1.2, 2.2, 0.6, 0.65, 1.36, 1700000000}};
    eh_comm *comm;
    eh_job jobs[2] = {0};
    if (argc != 2 || eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 2;
    const eh_log log = eh_log_to_stderr("made_report", true);
    eh_status status = make_one(comm, argv[1], "small", small, &jobs[0], &log);
    if (status == EH_OK)
        status = make_one(comm, argv[1], "large", large, &jobs[1], &log);
    for (int64_t d = 0; status == EH_OK && d < jobs[1].data_count; d++) { // the same world twice: a sweep names it once
        eh_free(&jobs[1].data[d].path);
        status = eh_copy_string(jobs[0].data[d].path, &jobs[1].data[d].path);
    }
    const eh_job *const pointers[] = {&jobs[0], &jobs[1]};
    const char *const names[] = {"small", "large"};
    if (status == EH_OK)
        status = eh_report_make_sweep(argv[1], pointers, names, 2, &log);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    for (int i = 0; i < 2; i++) eh_job_deinit(&jobs[i]);
    eh_comm_end(&comm);
    return status == EH_OK ? 0 : 1;
}
