// evenhand run: the steps of a job in order, those of a sweep run by run. What is up to date is skipped, what runs of a
// sweep have in common is made once.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/string.h"
#include "front.h"
#include "io/atomic.h"
#include "plan.h"
#include "report/report.h"
#include "sweep_table.h"

typedef struct {
    const eh_front_options *options;
    const eh_log *log;
    const char *job_path;
    eh_sweep sweep;
    char (*keys)[EH_STEP_COUNT][65]; // [run_count] of the steps that are done
    int *exit_codes;                 // [run_count]
    bool *reported;                  // [run_count] all steps were done, some perhaps in part
    eh_planned_device device;        // what a plan has measured of this machine
} front_run;

static bool is_word_of(const char *word, const char *list)
{
    const size_t size = strlen(word);
    for (const char *at = list; *at != '\0';) {
        const size_t length = strcspn(at, ",");
        if (length == size && memcmp(at, word, size) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

static bool is_asked_for(const front_run *front, const eh_job *job, eh_step step)
{
    const char *only = front->options->only_steps;
    return eh_step_wanted(job, step) && (only == NULL || is_word_of(eh_steps[step].name, only));
}

static eh_status check_step_names(const char *names)
{
    for (const char *at = names; at != NULL && *at != '\0';) {
        char name[64];
        const size_t length = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        bool known = false;
        for (int step = 0; step < EH_STEP_COUNT; step++) known = known || strcmp(eh_steps[step].name, name) == 0;
        if (!known)
            return eh_error(
                EH_INPUT,
                "--step %s: there is no step '%s', but tokenize, evaluate-before, finetune, evaluate-after, report and "
                "those of controls (tokenize-placebo, ...; 'evenhand status JOB' names them)",
                names, name);
        at += length + (at[length] == ',');
    }
    return EH_OK;
}

// --- What runs of a sweep share ------------------------------------------------------------------------------------

// Only what does not depend on training is shared: shards, and the scores before.
static const char *shared_result(eh_step step)
{
    const bool is_shared =
        step == EH_STEP_TOKENIZE || step == EH_STEP_EVALUATE_BEFORE || step == EH_STEP_EVALUATE_REPEAT;
    return is_shared ? eh_steps[step].result : NULL;
}

// A link to another run's result must go before a step writes through it.
static eh_status unlink_shared(const eh_job *job, const char *result)
{
    eh_string path = {0};
    struct stat info;
    eh_status status = eh_string_printf(&path, "%s/%s", job->output, result);
    if (status == EH_OK && lstat(path.bytes, &info) == 0 && S_ISLNK(info.st_mode) && unlink(path.bytes) != 0)
        status = eh_error(EH_MACHINE, "%s: %s", path.bytes, strerror(errno));
    eh_string_deinit(&path);
    return status;
}

// Links to the result of an earlier run whose step has the same key. *linked: there is one, and no result of our own.
static eh_status link_shared(const front_run *front, int64_t index, eh_step step, const char *key, bool *linked)
{
    const char *result = shared_result(step);
    const eh_job *job = &front->sweep.runs[index].job;
    eh_string path = {0}, target = {0};
    eh_status status = EH_OK;
    *linked = false;
    for (int64_t other = 0; other < index && result != NULL && !*linked; other++) {
        if (strcmp(front->keys[other][step], key) != 0)
            continue;
        eh_string_clear(&path);
        eh_string_clear(&target);
        EH_TRY_OR(done, unlink_shared(job, result));
        EH_TRY_OR(done, eh_make_folders(job->output));
        EH_TRY_OR(done, eh_string_printf(&path, "%s/%s", job->output, result));
        EH_TRY_OR(done, eh_string_printf(&target, "../%s/%s", front->sweep.runs[other].name, result));
        if (symlink(target.bytes, path.bytes) != 0)
            break; // a result of our own is in the way: make it anew
        EH_TRY_OR(done, eh_step_mark(job, step, key));
        *linked = true;
        eh_log_line(front->log, "%s: shared with %s", eh_steps[step].name, front->sweep.runs[other].name);
    }
done:
    eh_string_deinit(&path);
    eh_string_deinit(&target);
    return status;
}

// --- One run -------------------------------------------------------------------------------------------------------

static eh_status launch(front_run *front, eh_run *run, eh_step step, int *exit_code)
{
    const eh_job *job = &run->job;
    const eh_front_launch launch = {
        .job_path = front->job_path,
        .overrides = (const char *const *)run->overrides,
        .override_count = run->override_count,
        .ranks = step == EH_STEP_REPORT ? 1 : eh_front_rank_count(front->options, job),
        .force = front->options->force,
        .profile = front->options->profile,
    };
    eh_log_line(front->log, "%s (%lld rank%s)", eh_steps[step].name, (long long)launch.ranks,
                launch.ranks == 1 ? "" : "s");
    if (shared_result(step) != NULL)
        EH_TRY(unlink_shared(job, shared_result(step)));
    if (step == EH_STEP_FINETUNE && eh_plan_record(front->options, job, &front->device) != EH_OK)
        eh_error_clear(); // the training itself will say what is wrong
    return eh_front_launch_step(job, step, &launch, exit_code);
}

static eh_status run_step(front_run *front, int64_t index, eh_step step, int *exit_code)
{
    eh_run *run = &front->sweep.runs[index];
    char key[65];
    bool fresh = false;
    EH_TRY(eh_step_key(&run->job, step, key));
    EH_TRY(eh_step_is_fresh(&run->job, step, key, &fresh));
    if (fresh) {
        eh_log_line(front->log, "%s: up to date", eh_steps[step].name);
    } else if (front->options->dry_run) {
        eh_log_line(front->log, "%s: to do (%lld ranks)", eh_steps[step].name,
                    (long long)eh_front_rank_count(front->options, &run->job));
        return EH_OK;
    } else {
        EH_TRY(link_shared(front, index, step, key, &fresh));
        if (!fresh)
            EH_TRY(launch(front, run, step, exit_code));
    }
    if (*exit_code == 0)
        memcpy(front->keys[index][step], key, sizeof key);
    return EH_OK;
}

// An evaluation that lacks what one metric needs has measured the others: the run goes on with those, and fails in the
// end.
static eh_status forgive_partial(const eh_job *job, eh_step step, int *exit_code, int *in_part)
{
    char key[65];
    bool partial = false;
    if (*exit_code != eh_exit_code(EH_INPUT))
        return EH_OK;
    EH_TRY(eh_step_key(job, step, key));
    EH_TRY(eh_step_is_partial(job, step, key, &partial));
    if (!partial)
        return EH_OK;
    *in_part = *exit_code;
    *exit_code = 0;
    return EH_OK;
}

static eh_status run_steps(front_run *front, int64_t index, int *exit_code)
{
    const eh_job *job = &front->sweep.runs[index].job;
    int in_part = 0;
    for (int step = 0; step < EH_STEP_COUNT && *exit_code == 0; step++) {
        if (!is_asked_for(front, job, (eh_step)step))
            continue;
        EH_TRY(run_step(front, index, (eh_step)step, exit_code));
        EH_TRY(forgive_partial(job, (eh_step)step, exit_code, &in_part));
    }
    front->reported[index] = *exit_code == 0;
    if (*exit_code == 0)
        *exit_code = in_part;
    return EH_OK;
}

static bool was_stopped(int exit_code)
{
    return exit_code == 75 || exit_code == 130 || exit_code == 143;
}

static void say_results(const front_run *front, const eh_job *job)
{
    static const char *const results[] = {"tables", "report.html", "model"};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", job->output, results[i]);
        if (access(path, F_OK) == 0)
            eh_log_line(front->log, "  %s", path);
    }
}

// --- All runs ------------------------------------------------------------------------------------------------------

// One run's failure does not end the others; what the user stops is stopped.
static eh_status run_all(front_run *front, int64_t first, int64_t last, int *exit_code)
{
    for (int64_t i = first; i < last; i++) {
        eh_run *run = &front->sweep.runs[i];
        const double began = eh_seconds();
        if (front->sweep.key_count > 0)
            eh_log_line(front->log, "run %lld of %lld: %s", (long long)i + 1, (long long)front->sweep.run_count,
                        run->name);
        const eh_status status = run_steps(front, i, &front->exit_codes[i]);
        if (status != EH_OK && front->sweep.key_count == 0)
            return status;
        if (status != EH_OK) {
            eh_log_line(front->log, "%s", eh_error_message());
            front->exit_codes[i] = eh_exit_code(status);
        }
        if (front->reported[i]) {
            eh_log_line(front->log, "done%s in %.1f s: %s",
                        front->exit_codes[i] == 0 ? "" : ", but for metrics that lack an input,", eh_seconds() - began,
                        run->job.output);
            say_results(front, &run->job);
        }
        if (*exit_code == 0)
            *exit_code = front->exit_codes[i];
        if (was_stopped(front->exit_codes[i]))
            break;
    }
    return EH_OK;
}

// One page for the runs that were done. Their own pages are there already: if this one can't be made, that is said.
static eh_status report_sweep(const front_run *front)
{
    const eh_job **jobs = NULL;
    const char **names = NULL;
    int64_t count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(front->sweep.run_count, &jobs));
    EH_TRY_OR(done, EH_ALLOC(front->sweep.run_count, &names));
    for (int64_t i = 0; i < front->sweep.run_count; i++) {
        const eh_run *run = &front->sweep.runs[i];
        if (!front->reported[i] || !eh_step_wanted(&run->job, EH_STEP_REPORT))
            continue;
        jobs[count] = &run->job;
        names[count++] = run->name;
    }
    if (count > 1)
        status = eh_report_make_sweep(front->sweep.output, jobs, names, count, front->log);
    if (status == EH_INPUT) {
        eh_log_warning(front->log, "no page for the whole sweep: %s", eh_error_message());
        eh_error_clear();
        status = EH_OK;
    }
done:
    eh_free(&jobs);
    eh_free(&names);
    return status;
}

static eh_status end_sweep(const front_run *front, int exit_code)
{
    int64_t failed = 0;
    const char *only = front->options->only_steps;
    const bool reports = !was_stopped(exit_code) && (only == NULL || is_word_of("report", only));
    for (int64_t i = 0; i < front->sweep.run_count; i++) failed += front->exit_codes[i] != 0;
    if (reports)
        EH_TRY(report_sweep(front));
    if (reports)
        EH_TRY(eh_front_write_sweep_tables(&front->sweep, front->exit_codes));
    eh_log_line(front->log, "%lld of %lld runs done%s%s%s", (long long)(front->sweep.run_count - failed),
                (long long)front->sweep.run_count, reports ? ", one table for all: " : "",
                reports ? front->sweep.output : "", reports ? "/tables" : "");
    for (int64_t i = 0; i < front->sweep.run_count; i++)
        if (front->exit_codes[i] != 0)
            eh_log_line(front->log, "  failed with %d: %s", front->exit_codes[i], front->sweep.runs[i].name);
    return EH_OK;
}

static eh_status pick_runs(const front_run *front, int64_t *first, int64_t *last)
{
    *first = 0;
    *last = front->sweep.run_count;
    const char *text = front->options->only_run;
    if (text == NULL)
        return EH_OK;
    char *end = NULL;
    const long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || number < 0 || number >= *last)
        return eh_error(EH_INPUT, "--run %s: the job has runs 0 to %lld", text, (long long)*last - 1);
    *first = number;
    *last = number + 1;
    return EH_OK;
}

eh_status eh_front_run(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    front_run front = {.options = options, .log = log};
    eh_status status = EH_OK;
    int64_t first = 0, last = 0;
    EH_TRY(eh_front_one_word(options, "job file", &front.job_path));
    EH_TRY(check_step_names(options->only_steps));
    EH_TRY(eh_sweep_read(front.job_path, options->overrides, options->override_count, &front.sweep));
    EH_TRY_OR(done, EH_ALLOC(front.sweep.run_count, &front.keys));
    EH_TRY_OR(done, EH_ALLOC(front.sweep.run_count, &front.exit_codes));
    EH_TRY_OR(done, EH_ALLOC(front.sweep.run_count, &front.reported));
    EH_TRY_OR(done, pick_runs(&front, &first, &last));
    EH_TRY_OR(done, run_all(&front, first, last, exit_code));
    if (front.sweep.key_count > 0 && last - first == front.sweep.run_count && !options->dry_run)
        EH_TRY_OR(done, end_sweep(&front, *exit_code));
done:
    eh_free(&front.keys);
    eh_free(&front.exit_codes);
    eh_free(&front.reported);
    eh_sweep_deinit(&front.sweep);
    return status;
}
