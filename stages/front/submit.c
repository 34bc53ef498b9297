// evenhand submit: the steps of a job as Slurm jobs, each after the one before. What runs of a sweep share is made by
// one job for all; what is their own by an array, where task i of a step waits for task i of the step before.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"
#include "front.h"
#include "io/atomic.h"
#include "words.h"

typedef struct {
    const eh_front_options *options;
    const eh_log *log;
    const char *job_path;
    char *sbatch, *script, *program;
    eh_sweep sweep;
    char id[32];         // of the job before, "" for none
    bool id_is_an_array; // whose tasks are the runs
    eh_string noted;     // lines of OUTPUT/slurm/jobs
} slurm_jobs;

static bool is_any_run_s(const eh_sweep *sweep, eh_step step)
{
    for (int64_t i = 0; i < sweep->run_count; i++)
        if (eh_step_wanted(&sweep->runs[i].job, step))
            return true;
    return false;
}

static eh_status find_files(slurm_jobs *submission)
{
    char *folder = NULL, script[4200];
    static const char *const places[] = {"../../slurm", "../share/evenhand/slurm"};
    EH_TRY(eh_front_find_program("sbatch", &submission->sbatch));
    if (submission->sbatch == NULL)
        return eh_error(EH_MACHINE, "sbatch is not in PATH: is this a Slurm cluster? 'evenhand run' needs none");
    EH_TRY(eh_front_program_folder(&folder));
    eh_status status = EH_OK;
    snprintf(script, sizeof script, "%s/evenhand", folder);
    status = eh_copy_string(script, &submission->program);
    for (size_t i = 0; i < sizeof places / sizeof *places && submission->script == NULL && status == EH_OK; i++) {
        snprintf(script, sizeof script, "%s/%s/step.sbatch", folder, places[i]);
        if (access(script, R_OK) == 0)
            status = eh_copy_string(script, &submission->script);
    }
    eh_free(&folder);
    if (status == EH_OK && submission->script == NULL)
        status = eh_error(EH_MACHINE, "slurm/step.sbatch is not there: it belongs beside the build folder");
    return status;
}

// The first line that a program writes; its exit code must be 0.
static eh_status capture(char *const *words, char *line, size_t size)
{
    int ends[2], state = 0;
    if (pipe(ends) != 0)
        return eh_error(EH_MACHINE, "no pipe: %s", strerror(errno));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(words[0], words);
        _exit(127);
    }
    close(ends[1]);
    FILE *answer = fdopen(ends[0], "rb");
    if (child < 0 || answer == NULL)
        return eh_error(EH_MACHINE, "%s could not be started: %s", words[0], strerror(errno));
    if (fgets(line, (int)size, answer) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(answer);
    waitpid(child, &state, 0);
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
        return eh_error(EH_INPUT, "sbatch refused the job: its own words are above");
    return EH_OK;
}

// What Slurm would read as a pattern in a path.
static eh_status escape_percent(const char *path, eh_string *escaped)
{
    for (const char *at = path; *at != '\0'; at++) EH_TRY(eh_string_printf(escaped, *at == '%' ? "%%%%" : "%c", *at));
    return EH_OK;
}

static eh_status add_size(const slurm_jobs *submission, bool one_rank, eh_words *words)
{
    const eh_front_options *options = submission->options;
    char text[64];
    int64_t ranks = options->ranks > 0 ? options->ranks : submission->sweep.runs[0].job.ranks;
    if (one_rank)
        return eh_words_add_all(words, (const char *[]){"--ntasks=1", "--nodes=1", NULL});
    if (options->nodes > 0) {
        snprintf(text, sizeof text, "--nodes=%lld", (long long)options->nodes);
        EH_TRY(eh_words_add(words, text));
    }
    if (options->gpus_per_node > 0) {
        snprintf(text, sizeof text, "--gpus-per-node=%lld", (long long)options->gpus_per_node);
        EH_TRY(eh_words_add(words, text));
        if (ranks == 0)
            ranks = options->gpus_per_node * (options->nodes > 0 ? options->nodes : 1);
    }
    snprintf(text, sizeof text, "--ntasks=%lld", (long long)(ranks > 0 ? ranks : 1));
    return eh_words_add(words, text);
}

static eh_status add_sbatch(const slurm_jobs *submission, const char *name, bool array, eh_words *words)
{
    const char *output = submission->sweep.output;
    eh_string text = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_words_add_all(words, (const char *[]){submission->sbatch, "--parsable", NULL}));
    EH_TRY_OR(done, eh_string_printf(&text, "--job-name=evenhand %s %s", name, submission->sweep.runs[0].job.name));
    EH_TRY_OR(done, eh_words_add(words, text.bytes));
    eh_string_clear(&text);
    EH_TRY_OR(done, eh_string_append_text(&text, "--output="));
    EH_TRY_OR(done, escape_percent(output, &text));
    EH_TRY_OR(done, eh_string_printf(&text, "/slurm/%s%s.log", name, array ? "-%a" : ""));
    EH_TRY_OR(done, eh_words_add(words, text.bytes));
    if (submission->id[0] != '\0') {
        // In a sweep a failure must not end the other runs: what misses its input fails by itself.
        const bool sweeps = submission->sweep.key_count > 0;
        const char *kind = !sweeps ? "afterok" : submission->id_is_an_array && array ? "aftercorr" : "afterany";
        eh_string_clear(&text);
        EH_TRY_OR(done, eh_string_printf(&text, "--dependency=%s:%s", kind, submission->id));
        EH_TRY_OR(done, eh_words_add_all(words, (const char *[]){text.bytes, "--kill-on-invalid-dep=yes", NULL}));
    }
    if (array) {
        eh_string_clear(&text);
        EH_TRY_OR(done, eh_string_printf(&text, "--array=0-%lld", (long long)submission->sweep.run_count - 1));
        EH_TRY_OR(done, eh_words_add(words, text.bytes));
    }
    for (int64_t i = 0; i < submission->options->slurm_count; i += 2) {
        EH_TRY_OR(done, eh_words_add(words, submission->options->slurm[i]));
        EH_TRY_OR(done, eh_words_add(words, submission->options->slurm[i + 1]));
    }
done:
    eh_string_deinit(&text);
    return status;
}

static eh_status add_run(const slurm_jobs *submission, const char *step, eh_words *words)
{
    const eh_front_options *options = submission->options;
    EH_TRY(eh_words_add_all(words, (const char *[]){submission->script, submission->program, "run",
                                                    submission->job_path, "--step", step, NULL}));
    if (options->force)
        EH_TRY(eh_words_add(words, "--force"));
    for (int64_t i = 0; i < options->override_count; i++)
        EH_TRY(eh_words_add_all(words, (const char *[]){"--set", options->overrides[i], NULL}));
    return EH_OK;
}

static void print_words(const eh_words *words)
{
    for (int64_t i = 0; i < words->count; i++) printf("%s'%s'", i > 0 ? " " : "", words->words[i]);
    printf("\n");
}

// Queues one job. `array`: a task for each run, else one job for all of them.
static eh_status queue(slurm_jobs *submission, const char *name, eh_step step, bool array)
{
    eh_words words = {0};
    char answer[128] = "";
    eh_status status = EH_OK;
    EH_TRY_OR(done, add_sbatch(submission, name, array, &words));
    EH_TRY_OR(done, add_size(submission, step == EH_STEP_REPORT, &words));
    EH_TRY_OR(done, add_run(submission, eh_steps[step].name, &words));
    if (submission->options->dry_run) {
        print_words(&words);
        snprintf(answer, sizeof answer, "ID_OF_%s", name);
    } else {
        EH_TRY_OR(done, capture(words.words, answer, sizeof answer));
    }
    snprintf(submission->id, sizeof submission->id, "%.*s", (int)strcspn(answer, ";"), answer);
    submission->id_is_an_array = array;
    EH_TRY_OR(done, eh_string_printf(&submission->noted, "%s %s\n", name, submission->id));
    if (!submission->options->dry_run)
        eh_log_line(submission->log, "%s: Slurm job %s", name, submission->id);
done:
    eh_words_free(&words);
    return status;
}

static eh_status queue_all(slurm_jobs *submission)
{
    const bool sweeps = submission->sweep.key_count > 0;
    for (int step = 0; step < EH_STEP_COUNT; step++) {
        if (!is_any_run_s(&submission->sweep, (eh_step)step))
            continue;
        const bool shared = step == EH_STEP_TOKENIZE || step == EH_STEP_EVALUATE_BEFORE;
        EH_TRY(queue(submission, eh_steps[step].name, (eh_step)step, sweeps && !shared));
    }
    return sweeps ? queue(submission, "table", EH_STEP_REPORT, false) : EH_OK;
}

static eh_status note_jobs(const slurm_jobs *submission)
{
    eh_string path = {0};
    eh_status status = eh_string_printf(&path, "%s/slurm/jobs", submission->sweep.output);
    if (status == EH_OK)
        status = eh_atomic_write(path.bytes, submission->noted.bytes, submission->noted.size);
    eh_string_deinit(&path);
    return status;
}

static eh_status make_log_folder(const slurm_jobs *submission)
{
    eh_string path = {0};
    eh_status status = eh_string_printf(&path, "%s/slurm", submission->sweep.output);
    if (status == EH_OK)
        status = eh_make_folders(path.bytes);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_front_submit(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    *exit_code = 0;
    slurm_jobs submission = {.options = options, .log = log};
    eh_status status = EH_OK;
    EH_TRY(eh_front_one_word(options, "job file", &submission.job_path));
    EH_TRY(eh_sweep_read(submission.job_path, options->overrides, options->override_count, &submission.sweep));
    EH_TRY_OR(done, find_files(&submission));
    if (!options->dry_run)
        EH_TRY_OR(done, make_log_folder(&submission));
    status = queue_all(&submission);
    if (submission.noted.size > 0 && !options->dry_run) { // even if a later one was refused
        const eh_status noted = note_jobs(&submission);
        status = status == EH_OK ? noted : status;
    }
done:
    eh_free(&submission.sbatch);
    eh_free(&submission.script);
    eh_free(&submission.program);
    eh_string_deinit(&submission.noted);
    eh_sweep_deinit(&submission.sweep);
    return status;
}
