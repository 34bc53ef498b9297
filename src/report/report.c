#include "report/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "io/atomic.h"
#include "report/page.h"

// The truth.csv beside the data of a StereoSet entry, if there is one.
static eh_status find_truth(const eh_job *job, const eh_results *results, eh_truth *truth)
{
    const eh_metric_results *metric = eh_results_metric(results, "stereoset/likelihood");
    for (int64_t d = 0; metric != NULL && d < job->data_count && truth->phase_count == 0; d++) {
        const char *path = job->data[d].path, *slash = strrchr(path, '/');
        char beside[4096];
        snprintf(beside, sizeof beside, "%.*s%struth.csv", slash == NULL ? 0 : (int)(slash - path), path,
                 slash == NULL ? "" : "/");
        if (strcmp(job->data[d].format, "stereoset") != 0 || access(beside, R_OK) != 0)
            continue;
        EH_TRY(eh_truth_read(beside, results, metric, truth));
    }
    return EH_OK;
}

static eh_status write_text(const char *folder, const char *name, const eh_string *text)
{
    eh_string path = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/%s", folder, name));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, text->bytes, text->size));
done:
    eh_string_deinit(&path);
    return status;
}

static eh_status write_all(const eh_report_run *runs, int64_t run_count, const eh_log *log)
{
    const char *output = runs[0].job->output;
    eh_table *tables = NULL;
    int64_t table_count = 0;
    eh_string folder = {0}, text = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&folder, "%s/tables", output));
    EH_TRY_OR(done, eh_make_folders(folder.bytes));
    EH_TRY_OR(done, eh_tables_make(runs, run_count, &tables, &table_count));
    for (int64_t t = 0; t < table_count; t++) EH_TRY_OR(done, eh_table_write(&tables[t], folder.bytes));
    EH_TRY_OR(done, eh_figures_to_csv(runs, run_count, &text));
    EH_TRY_OR(done, write_text(folder.bytes, "figures.csv", &text));
    eh_string_clear(&text);
    EH_TRY_OR(done, eh_page_make(runs, run_count, tables, table_count, &text));
    EH_TRY_OR(done, write_text(output, "report.html", &text));
    eh_log_line(log, "%lld tables in %s, the page is %s/report.html", (long long)table_count, folder.bytes, output);
done:
    for (int64_t t = 0; t < table_count; t++) eh_table_deinit(&tables[t]);
    eh_free(&tables);
    eh_string_deinit(&folder);
    eh_string_deinit(&text);
    return status;
}

eh_status eh_report_make(const eh_job *job, const eh_log *log)
{
    const eh_bootstrap_settings settings = {.replicates = job->report.replicates, .seed = job->seed};
    eh_results results = {0};
    eh_truth truth = {0};
    eh_verdicts verdicts = {0};
    eh_status status = EH_OK;
    const double began = eh_seconds();
    EH_TRY_OR(done, eh_results_read(job->name, job->output, &settings, log, &results));
    EH_TRY_OR(done, find_truth(job, &results, &truth));
    EH_TRY_OR(done, eh_verdicts_make(job, &results, &truth, &verdicts));
    eh_log_line(log, "%lld phases, %lld score tables, %lld bootstrap replicates in %.1f s",
                (long long)results.phase_count, (long long)results.metric_count, (long long)settings.replicates,
                eh_seconds() - began);
    const eh_report_run run = {job, &results, truth.phase_count > 0 ? &truth : NULL, &verdicts};
    EH_TRY_OR(done, write_all(&run, 1, log));
done:
    eh_verdicts_deinit(&verdicts);
    eh_truth_deinit(&truth);
    eh_results_deinit(&results);
    return status;
}
