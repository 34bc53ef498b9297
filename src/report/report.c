#include "report/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "io/atomic.h"
#include "report/page.h"
#include "report/published.h"

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

static eh_status write_all(const eh_report_run *runs, int64_t run_count, const char *output, const eh_log *log)
{
    eh_table *tables = NULL;
    int64_t table_count = 0;
    eh_string folder = {0}, text = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&folder, "%s/tables", output));
    EH_TRY_OR(done, eh_make_folders(folder.bytes));
    EH_TRY_OR(done, eh_tables_make(runs, run_count, &tables, &table_count));
    for (int64_t t = 0; t < table_count; t++) EH_TRY_OR(done, eh_table_write(&tables[t], folder.bytes));
    if (run_count == 1) {
        EH_TRY_OR(done, eh_figures_to_csv(&runs[0], &text));
        EH_TRY_OR(done, write_text(folder.bytes, "figures.csv", &text));
        eh_string_clear(&text);
    }
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

// One run with everything that is computed of it.
typedef struct {
    eh_results results;
    eh_truth truth;
    eh_verdicts verdicts;
    eh_columns published;
} run_data;

static void run_data_deinit(run_data *data)
{
    eh_verdicts_deinit(&data->verdicts);
    eh_truth_deinit(&data->truth);
    eh_columns_deinit(&data->published);
    eh_results_deinit(&data->results);
}

static eh_status read_run(const eh_job *job, const char *name, const eh_log *log, run_data *data, eh_report_run *run)
{
    const eh_bootstrap_settings settings = {.replicates = job->report.replicates, .seed = job->seed};
    const double began = eh_seconds();
    EH_TRY(eh_published_read(job->report.reference, &data->published));
    EH_TRY(eh_results_read(name, job->output, &settings, log, &data->results));
    EH_TRY(find_truth(job, &data->results, &data->truth));
    EH_TRY(eh_verdicts_make(job, &data->results, &data->truth, &data->verdicts));
    eh_log_line(log, "%s: %lld phases, %lld metrics, %lld bootstrap replicates%s in %.1f s", name,
                (long long)data->results.phase_count, (long long)data->results.metric_count,
                (long long)settings.replicates, data->results.kept ? ", kept from the last report," : "",
                eh_seconds() - began);
    *run = (eh_report_run){job, &data->results, data->truth.phase_count > 0 ? &data->truth : NULL, &data->verdicts,
                           &data->published};
    return EH_OK;
}

eh_status eh_report_make(const eh_job *job, const eh_log *log)
{
    run_data data = {0};
    eh_report_run run;
    eh_status status = read_run(job, job->name, log, &data, &run);
    if (status == EH_OK)
        status = write_all(&run, 1, job->output, log);
    run_data_deinit(&data);
    return status;
}

eh_status eh_report_make_sweep(const char *output, const eh_job *const *jobs, const char *const *names, int64_t count,
                               const eh_log *log)
{
    run_data *data = NULL;
    eh_report_run *runs = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(count, &data));
    EH_TRY_OR(done, EH_ALLOC(count, &runs));
    for (int64_t r = 0; r < count; r++) EH_TRY_OR(done, read_run(jobs[r], names[r], log, &data[r], &runs[r]));
    if (count > 0)
        status = write_all(runs, count, output, log);
done:
    for (int64_t r = 0; data != NULL && r < count; r++) run_data_deinit(&data[r]);
    eh_free(&data);
    eh_free(&runs);
    return status;
}
