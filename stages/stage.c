#include "stage.h"
#include "stage_cost.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/sha256.h"
#include "core/signals.h"
#include "core/string.h"
#include "core/version.h"
#include "io/atomic.h"
#include "job/step.h"
#include "job/yaml.h"

// --- Arguments ---------------------------------------------------------------------------------------------------

typedef struct {
    const char *job_path, *phase, *control;
    const char **overrides; // [override_count], room for all arguments
    int64_t override_count;
    bool force, profile, help, version;
} stage_arguments;

static bool has_control_option(const char *stage)
{
    return strcmp(stage, "tokenize") == 0 || strcmp(stage, "finetune") == 0;
}

static eh_status read_arguments(const char *name, int argc, char **argv, bool has_phases, stage_arguments *arguments)
{
    EH_TRY(EH_ALLOC(argc, &arguments->overrides));
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        const bool takes_value = strcmp(word, "--set") == 0 || (has_phases && strcmp(word, "--phase") == 0) ||
                                 (has_control_option(name) && strcmp(word, "--control") == 0);
        if (takes_value && i + 1 == argc)
            return eh_error(EH_INPUT, "%s needs a value behind it (see --help)", word);
        if (strcmp(word, "--set") == 0)
            arguments->overrides[arguments->override_count++] = argv[++i];
        else if (strcmp(word, "--control") == 0 && takes_value)
            arguments->control = argv[++i];
        else if (takes_value)
            arguments->phase = argv[++i];
        else if (strcmp(word, "--force") == 0)
            arguments->force = true;
        else if (strcmp(word, "--profile") == 0)
            arguments->profile = true;
        else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            arguments->help = true;
        else if (strcmp(word, "--version") == 0)
            arguments->version = true;
        else if (word[0] == '-' && word[1] != '\0')
            return eh_error(EH_INPUT, "unknown option %s (see --help)", word);
        else if (arguments->job_path != NULL)
            return eh_error(EH_INPUT, "one job at a time: both %s and %s were given", arguments->job_path, word);
        else
            arguments->job_path = word;
    }
    if (arguments->job_path == NULL && !arguments->help && !arguments->version)
        return eh_error(EH_INPUT, "which job? Give the path of its YAML file (see --help)");
    return EH_OK;
}

// Before MPI has begun all ranks do the same; the launcher's variable says which one speaks.
static bool speaks_without_mpi(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (rank == NULL)
        rank = getenv("PMIX_RANK");
    if (rank == NULL)
        rank = getenv("SLURM_PROCID");
    return rank == NULL || strcmp(rank, "0") == 0;
}

static void print_help(const char *name, bool has_phases)
{
    const bool has_controls = has_control_option(name);
    printf(
        "usage: mpirun -n N evenhand-%s JOB [--set KEY=VALUE]... %s%s[--force]\n\n"
        "  JOB               a YAML file; 'evenhand run JOB' starts all stages in order\n"
        "  --set KEY=VALUE   overrides a key of the job, such as train.lr=1e-4\n"
        "%s%s"
        "  --force           go on in an output folder that belongs to another job\n"
        "  --help, --version\n\n"
        "Exit status: 0 done, 2 the input is wrong, 3 the machine fails, 75 stopped after a checkpoint was saved.\n\n",
        name, has_phases ? "[--phase PHASE] " : "", has_controls ? "[--control NAME] " : "",
        has_controls ? "  --control NAME    placebo, reversed or neutral: train that control of the job instead\n" : "",
        has_phases ? "  --phase PHASE     before (default), after, control-NAME, or steps: the models kept on the way\n"
                   : "");
    eh_string keys = {0};
    if (eh_job_help(&keys) == EH_OK)
        printf("%s", keys.bytes);
    eh_string_deinit(&keys);
}

// --- The job, the same on all ranks --------------------------------------------------------------------------------

// For what rank 0 alone does: its message needs no rank.
static eh_status agree_with_leader(eh_stage *stage, eh_status status)
{
    char message[2048];
    snprintf(message, sizeof message, "%s", eh_error_message());
    const eh_status agreed = eh_comm_agree(stage->comm, status);
    if (status != EH_OK && agreed == status)
        return eh_error(status, "%s", message);
    return agreed;
}

// --control NAME: the job of that control in place of the treatment's.
static eh_status become_control(const char *name, eh_job *job)
{
    const eh_control control = eh_control_find(name);
    if (control > EH_CONTROL_NEUTRAL)
        return eh_error(EH_INPUT, "--control %s: the controls that are trained are placebo, reversed and neutral",
                        name);
    eh_job derived;
    EH_TRY(eh_control_job(job, control, &derived));
    eh_status status = EH_OK;
    if (derived.train.max_steps == EH_STEPS_UNKNOWN)
        status = eh_error(EH_INPUT,
                          "%s/shards: the treatment's shards are not there, which say how many steps the control "
                          "neutral takes: run evenhand-tokenize without --control first",
                          job->output);
    else if (derived.data_count == 0)
        status = eh_error(EH_INPUT, "%s: there is nothing that the control %s could be trained on", job->path, name);
    if (status != EH_OK) {
        eh_job_deinit(&derived);
        return status;
    }
    eh_job_deinit(job);
    *job = derived;
    return EH_OK;
}

// Rank 0 reads the user's file; the others get the resolved job as text, so that a file that changes meanwhile, or that
// only one node sees, can't give two different jobs.
static eh_status read_job(eh_stage *stage, const stage_arguments *arguments)
{
    eh_string yaml = {0};
    eh_status status = EH_OK;
    void *block = NULL;
    size_t size = 0;
    const bool reads = eh_comm_rank(stage->comm) == 0;
    if (reads) {
        status = eh_job_read(arguments->job_path, arguments->overrides, arguments->override_count, &stage->job);
        if (status == EH_OK && arguments->control != NULL)
            status = become_control(arguments->control, &stage->job);
        if (status == EH_OK)
            status = eh_job_to_yaml(&stage->job, &yaml);
    }
    EH_TRY_OR(done, agree_with_leader(stage, status));
    block = yaml.bytes;
    size = yaml.size;
    EH_TRY_OR(done, eh_comm_broadcast_block(stage->comm, &block, &size, 0));
    if (!reads)
        status = eh_job_parse(arguments->job_path, block, size, NULL, 0, &stage->job);
    status = eh_comm_agree(stage->comm, status);
done:
    if (!reads)
        eh_free(&block);
    eh_string_deinit(&yaml);
    return status;
}

// --- The output folder ---------------------------------------------------------------------------------------------

// Keys that say how a run is made, not what it gives: the same results may be made otherwise.
static bool is_about_the_way(const char *line)
{
    static const char *const keys[] = {
        "ranks: ", "launcher: ", "batch_tokens: ", "  zero: ", "  recompute: ", "  offload: ", "  minutes: "};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strncmp(line, keys[i], strlen(keys[i])) == 0)
            return true;
    return false;
}

static size_t line_size(const char *text)
{
    return strcspn(text, "\n");
}

// Compares two resolved jobs, line by line as both were written by eh_job_to_yaml; sets the first lines that differ.
static bool is_same_job(const char *a, const char *b, const char **line_a, const char **line_b)
{
    for (;;) {
        *line_a = a;
        *line_b = b;
        const size_t size_a = line_size(a), size_b = line_size(b);
        if ((size_a != size_b || memcmp(a, b, size_a) != 0) && !(is_about_the_way(a) && is_about_the_way(b)))
            return false;
        if (a[size_a] == '\0' || b[size_b] == '\0')
            return a[size_a] == b[size_b];
        a += size_a + 1;
        b += size_b + 1;
    }
}

static eh_status claim_output(const eh_stage *stage, bool force)
{
    eh_string path = {0}, found = {0}, yaml = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/resolved.yaml", stage->job.output));
    EH_TRY_OR(done, eh_job_to_yaml(&stage->job, &yaml));
    if (access(path.bytes, F_OK) == 0 && !force) {
        const char *theirs = NULL, *ours = NULL;
        EH_TRY_OR(done, eh_yaml_read_file(path.bytes, &found));
        if (!is_same_job(found.bytes, yaml.bytes, &theirs, &ours)) {
            theirs += strspn(theirs, " -{");
            ours += strspn(ours, " -{");
            EH_TRY_OR(done,
                      eh_error(EH_INPUT,
                               "%s belongs to another job (there '%.*s', here '%.*s'): choose another 'output', or "
                               "--force to make anew in it what differs",
                               stage->job.output, (int)line_size(theirs), theirs, (int)line_size(ours), ours));
        }
    }
    EH_TRY_OR(done, eh_make_folders(stage->job.output));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, yaml.bytes, yaml.size));
done:
    eh_string_deinit(&path);
    eh_string_deinit(&found);
    eh_string_deinit(&yaml);
    return status;
}

// The step's stamp goes when the step begins and comes back when it has succeeded.
static eh_status begin_step(eh_stage *stage, eh_step step)
{
    EH_TRY(eh_step_key(&stage->job, step, stage->key));
    return eh_step_unmark(&stage->job, step);
}

// What rank 0 alone does, on behalf of all: the output folder, the step's key.
static eh_status prepare(eh_stage *stage, bool force)
{
    const eh_step step = eh_step_find(stage->name, stage->phase);
    eh_status status = EH_OK;
    if (step != EH_STEP_COUNT)
        status = EH_ALLOC(EH_SHA256_TEXT, &stage->key);
    if (status == EH_OK && eh_comm_rank(stage->comm) == 0) {
        status = claim_output(stage, force);
        if (status == EH_OK && step != EH_STEP_COUNT)
            status = begin_step(stage, step);
    }
    EH_TRY(agree_with_leader(stage, status));
    return step != EH_STEP_COUNT ? eh_comm_broadcast(stage->comm, stage->key, EH_SHA256_TEXT, 0) : EH_OK;
}

// --- Begin and end -------------------------------------------------------------------------------------------------

static eh_status begin(eh_stage *stage, const stage_arguments *arguments, int argc, char **argv)
{
    EH_TRY(eh_comm_begin(&argc, &argv, &stage->comm));
    stage->log.speaks = eh_comm_rank(stage->comm) == 0;
    stage->profile = arguments->profile;
    EH_TRY(read_job(stage, arguments));
    return prepare(stage, arguments->force);
}

eh_status eh_stage_begin(eh_stage *stage, const char *name, int argc, char **argv)
{
    static const struct {
        const char *name, *program;
    } programs[] = {{"tokenize", "evenhand-tokenize"},
                    {"finetune", "evenhand-finetune"},
                    {"evaluate", "evenhand-evaluate"},
                    {"damage", "evenhand-damage"},
                    {"report", "evenhand-report"}};
    const char *program = "evenhand";
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (strcmp(programs[i].name, name) == 0)
            program = programs[i].program;
    *stage = (eh_stage){.name = name, .log = eh_log_to_stderr(program, true), .began = eh_seconds()};
    const bool has_phases = strcmp(name, "evaluate") == 0;
    stage_arguments arguments = {0};
    eh_status status = read_arguments(name, argc, argv, has_phases, &arguments);
    if (status == EH_OK && (arguments.help || arguments.version)) {
        if (arguments.help && speaks_without_mpi())
            print_help(name, has_phases);
        else if (speaks_without_mpi())
            printf("%s %s (%s), %s\n", program, eh_version(), eh_git_revision(), eh_build_options());
        eh_free(&arguments.overrides);
        exit(0);
    }
    if (arguments.phase == NULL)
        arguments.phase = has_phases ? "before" : "";
    if (status == EH_OK)
        status = eh_copy_string(arguments.phase, &stage->phase);
    eh_signals_watch();
    if (status == EH_OK)
        status = begin(stage, &arguments, argc, argv);
    eh_free(&arguments.overrides);
    stage->never_began = status != EH_OK;
    return status;
}

eh_status eh_stage_path(const eh_stage *stage, char **path, const char *format, ...)
{
    char name[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(name, sizeof name, format, values);
    va_end(values);
    eh_string text = {0};
    EH_TRY(eh_string_printf(&text, "%s/%s", stage->job.output, name));
    *path = text.bytes;
    return EH_OK;
}

// The message of what is lacking is the one to be told.
static void mark_partial(eh_stage *stage, eh_step step)
{
    char message[2048];
    snprintf(message, sizeof message, "%s", eh_error_message());
    if (eh_step_mark_partial(&stage->job, step, stage->key) != EH_OK)
        eh_log_warning(&stage->log, "%s", eh_error_message());
    (void)!eh_error(EH_INPUT, "%s", message);
}

int eh_stage_end(eh_stage *stage, eh_status status)
{
    bool speaks = speaks_without_mpi();
    if (stage->comm != NULL) {
        speaks = eh_comm_rank(stage->comm) == 0;
        if (!stage->never_began)
            status = eh_comm_agree(stage->comm, status);
        const eh_step step = eh_step_find(stage->name, stage->phase);
        eh_status marked = EH_OK;
        if (status == EH_OK)
            marked = eh_stage_record_cost(stage);
        if (status == EH_OK && marked == EH_OK && speaks && stage->key != NULL)
            marked = eh_step_mark(&stage->job, step, stage->key);
        if (status == EH_INPUT && stage->done_in_part && speaks && stage->key != NULL)
            mark_partial(stage, step);
        if (status == EH_OK)
            status = agree_with_leader(stage, marked);
    }
    if (status != EH_OK && speaks)
        fprintf(stderr, "%s: %s\n", stage->log.program, eh_error_message());
    if (stage->backend != NULL)
        stage->close_backend(stage);
    eh_free(&stage->key);
    eh_free(&stage->phase);
    eh_job_deinit(&stage->job);
    eh_comm_end(&stage->comm);
    return eh_exit_code(status);
}
