// evenhand plan: what a job's training and evaluation need in memory, part by part, whether that fits, how long it will
// take, and the fastest settings that fit, before anything runs. For a sweep, one table.
#include "plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"
#include "stage_model.h"

#define MIB 1048576.0
#define GIB 1073741824.0

static const char shape_note[] = "note: not downloaded yet; planned by the shape that the model's page gives";

eh_memory_choice eh_plan_choice(const eh_job *job)
{
    return (eh_memory_choice){.zero = (int)job->memory.zero,
                              .recompute = strcmp(job->memory.recompute, "blocks") == 0,
                              .offload = strcmp(job->memory.offload, "optimizer") == 0};
}

static const char *choice_text(const eh_memory_choice *choice, char text[80])
{
    snprintf(text, 80, "zero: %d%s%s", choice->zero, choice->recompute ? ", recompute: blocks" : "",
             choice->offload ? ", offload: optimizer" : "");
    return text;
}

// --- One run ------------------------------------------------------------------------------------------------------

static eh_status find_config(const eh_job *job, char **config, bool *is_published_shape)
{
    const char *published;
    char path[4096];
    *is_published_shape = false;
    if (job->model.path == NULL)
        return eh_starting_config(job, true, config);
    snprintf(path, sizeof path, "%s/config.json", job->model.path);
    if (access(path, F_OK) == 0 || !eh_plan_published_shape(job->model.path, &published))
        return eh_model_config_text(job->model.path, config);
    *is_published_shape = true;
    return eh_copy_string(published, config);
}

eh_status eh_plan_begin(const eh_front_options *options, const eh_job *job, char **config, eh_model_outline *outline,
                        eh_planned_run *run)
{
    *run = (eh_planned_run){.job = job, .device = run->device, .ranks = (int)eh_front_rank_count(options, job)};
    if (run->device.name == NULL) // a sweep's runs have one device
        EH_TRY(eh_plan_find_device(options, job, &run->device));
    EH_TRY(find_config(job, config, &run->is_published_shape));
    run->config = *config;
    EH_TRY(eh_model_outline_of(job->path, *config, run->device.compute, NULL, &(eh_batch_limits){1, 1, 1, 1}, outline));
    eh_plan_read_size(job, outline, &run->size);
    return EH_OK;
}

static void print_parts(const eh_planned_run *run, const eh_plan_of_memory *plan)
{
    for (int i = 0; i < EH_MEMORY_PARTS; i++)
        if (plan->parts[i].bytes > 0)
            printf("    %-28s %12.1f MiB\n", plan->parts[i].name, plan->parts[i].bytes / MIB);
    printf("    %-28s %12.1f MiB\n", "together", plan->rank_bytes / MIB);
    if (plan->resident_bytes > plan->rank_bytes)
        printf("    %-28s %12.1f MiB, as its resident size shows, with the other ranks' sums that it reads\n", "",
               plan->resident_bytes / MIB);
    if (plan->host_bytes > 0)
        printf("    %-28s %12.1f MiB of the node's memory, beside the device\n", "and", plan->host_bytes / MIB);
    printf("  %s: %.1f GiB; %s\n", run->device.name, run->device.memory_gib,
           plan->fits ? "it fits" : "IT DOES NOT FIT");
}

// What bounds a step on a published device (src/job/README.md).
static void print_roofline(const eh_roofline *roofline, double tokens)
{
    printf(", %.0f tokens/s, %.1f %% of the device's peak, by its roofline:\n", tokens / roofline->seconds,
           100 * roofline->utilisation);
    for (int p = 0; p < EH_ROOFLINE_PARTS; p++) {
        const eh_roofline_part *part = &roofline->parts[p];
        printf("    %-14s %9.3f ms  %10.1f GFLOP %10.1f MB\n", eh_roofline_part_names[p], 1e3 * part->seconds,
               part->flops * 1e-9, part->bytes * 1e-6);
    }
    if (roofline->communication_bytes > 0)
        printf("    %-14s %9.3f ms  %27.1f MB, of which %.3f ms behind the backward pass\n", "communication",
               1e3 * roofline->communication_seconds, roofline->communication_bytes * 1e-6,
               1e3 * (roofline->communication_seconds - roofline->exposed_seconds));
}

static eh_status print_cheapest(const eh_planned_run *run)
{
    eh_memory_choice choice;
    eh_plan_of_memory plan;
    bool found;
    char text[80];
    EH_TRY(eh_plan_cheapest(run, &choice, &plan, &found));
    if (found) {
        printf("  the fastest settings that fit: {%s}: %.1f MiB a rank, about %.3g s a step\n",
               choice_text(&choice, text), plan.rank_bytes / MIB, plan.step_seconds);
        return EH_OK;
    }
    int ranks;
    EH_TRY(eh_plan_more_ranks(run, &ranks, &choice, &plan, &found));
    if (found)
        printf("  no settings fit %d rank%s; %d ranks do: {%s}: %.1f MiB a rank\n", run->ranks,
               run->ranks == 1 ? "" : "s", ranks, choice_text(&choice, text), plan.rank_bytes / MIB);
    else
        printf("  no settings fit\n");
    return EH_OK;
}

static eh_status plan_training(const eh_planned_run *run, const eh_model_outline *outline)
{
    const eh_memory_choice choice = eh_plan_choice(run->job);
    const eh_training_size *size = &run->size;
    const eh_planned_device *device = &run->device;
    eh_plan_of_memory plan;
    char text[80];
    EH_TRY(eh_plan_memory(run, &choice, &plan));
    printf("%s: %lld weights; %lld steps of %lld examples, %.0f tokens and %.0f labels each (%s)\n", run->job->name,
           (long long)outline->parameter_count, (long long)size->steps, (long long)run->job->train.batch, size->tokens,
           size->labels, size->measured ? "from the shards" : "assumed: not tokenized yet");
    printf("  finetune, {%s}, the fullest of %d rank%s, products in %s:\n", choice_text(&choice, text), run->ranks,
           run->ranks == 1 ? "" : "s", eh_dtype_name(device->compute));
    print_parts(run, &plan);
    printf("  about %.3g s a step, %.3g min in all", plan.step_seconds, plan.step_seconds * (double)size->steps / 60);
    if (device->is_here)
        printf(" (%.2f TFLOP/s x %.2f, %.0f GB/s)\n", device->tflops, device->share, device->gigabytes_per_second);
    else
        print_roofline(&plan.roofline, size->tokens);
    EH_TRY(print_cheapest(run));
    if (run->is_published_shape)
        printf("  %s\n", shape_note);
    eh_plan_print_controls(run->job, plan.step_seconds * (double)size->steps / 60);
    return EH_OK;
}

static eh_status plan_run(const eh_planned_run *run, const eh_model_outline *outline)
{
    if (eh_step_wanted(run->job, EH_STEP_FINETUNE))
        EH_TRY(plan_training(run, outline));
    else
        printf("%s: %lld weights; nothing is trained; products in %s\n", run->job->name,
               (long long)outline->parameter_count, eh_dtype_name(run->device.compute));
    EH_TRY(eh_plan_evaluation(run, outline, true, &(double){0}, &(double){0}));
    eh_plan_print_power(run->job);
    return EH_OK;
}

// --- A sweep ------------------------------------------------------------------------------------------------------

static void print_table_head(const eh_planned_run *run)
{
    printf("GiB of the fullest of %d rank%s on %s (%.1f GiB), products in %s; Z3+R: zero 3 and recompute: blocks\n\n",
           run->ranks, run->ranks == 1 ? "" : "s", run->device.name, run->device.memory_gib,
           eh_dtype_name(run->device.compute));
    printf("| run | weights | zero 0 | zero 1 | zero 2 | zero 3 | Z3+R | fastest that fits | s a step | hours |\n");
    printf("|---|---:|---:|---:|---:|---:|---:|---|---:|---:|\n");
}

// The model, and what else is swept.
static void print_label(const eh_sweep *sweep, int64_t r, const eh_model_outline *outline)
{
    const eh_job_model *model = &sweep->runs[r].job.model;
    if (model->path != NULL)
        printf("| %s", model->path);
    else
        printf("| %s, hidden size %lld", model->architecture, (long long)outline->hidden_size);
    for (int64_t k = 0; k < sweep->key_count; k++)
        if (strncmp(sweep->keys[k], "model.", 6) != 0 && sweep->runs[r].values[k][0] != '\0')
            printf(", %s %s", sweep->keys[k], sweep->runs[r].values[k]);
    printf(" | %.2fB |", (double)outline->parameter_count * 1e-9);
}

// *minutes: of a training, on more ranks if it takes them; NaN where nothing fits.
static eh_status print_table_row(const eh_planned_run *run, double *minutes)
{
    eh_memory_choice choice;
    eh_plan_of_memory plan;
    bool found;
    char text[80];
    for (int option = 0; option < 5; option++) {
        EH_TRY(
            eh_plan_memory(run, &(eh_memory_choice){.zero = option < 3 ? option : 3, .recompute = option == 4}, &plan));
        printf(" %.1f%s |", plan.rank_bytes / GIB, plan.fits ? "" : "*");
    }
    int ranks = run->ranks;
    EH_TRY(eh_plan_cheapest(run, &choice, &plan, &found));
    if (!found)
        EH_TRY(eh_plan_more_ranks(run, &ranks, &choice, &plan, &found));
    *minutes = found ? plan.step_seconds * (double)run->size.steps / 60 : NAN;
    if (!found) {
        printf(" none | | |\n");
        return EH_OK;
    }
    if (ranks != run->ranks)
        printf(" %d ranks:", ranks);
    printf(" %s | %.3g | %.3g |\n", choice_text(&choice, text), plan.step_seconds, *minutes / 60);
    return EH_OK;
}

static void print_table_end(bool is_published_shape, double minutes)
{
    printf("\n*: does not fit\n");
    if (is_published_shape)
        printf("%s\n", shape_note);
    if (minutes > 0)
        printf("all trainings together, without controls and evaluations: %.3g hours\n", minutes / 60);
}

// --- All of it ----------------------------------------------------------------------------------------------------

eh_status eh_front_plan(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    *exit_code = 0;
    const char *path = NULL;
    eh_sweep sweep;
    eh_planned_run run = {0};
    EH_TRY(eh_front_one_word(options, "job file", &path));
    EH_TRY(eh_sweep_read(path, options->overrides, options->override_count, &sweep));
    eh_status status = EH_OK;
    bool any = false;
    int64_t first = 0;
    double first_minutes = 0, total_minutes = 0;
    bool is_published_shape = false;
    for (int64_t i = 0; i < sweep.run_count && status == EH_OK; i++) {
        const eh_job *job = &sweep.runs[i].job;
        eh_model_outline outline;
        char *config = NULL;
        double minutes = NAN;
        if (!eh_step_wanted(job, EH_STEP_FINETUNE) && sweep.run_count > 1)
            continue; // a table of trainings
        status = eh_plan_begin(options, job, &config, &outline, &run);
        if (status == EH_OK && sweep.run_count > 1 && !any)
            print_table_head(&run);
        if (status == EH_OK && sweep.run_count > 1)
            print_label(&sweep, i, &outline);
        if (status == EH_OK)
            status = sweep.run_count > 1 ? print_table_row(&run, &minutes) : plan_run(&run, &outline);
        total_minutes += isfinite(minutes) ? minutes : 0;
        is_published_shape = is_published_shape || run.is_published_shape;
        if (!any) {
            first = i;
            first_minutes = minutes;
        }
        any = true;
        eh_free(&config);
    }
    if (any && sweep.run_count > 1)
        print_table_end(is_published_shape, total_minutes);
    if (status == EH_OK && any && sweep.run_count > 1 &&
        eh_step_wanted(&sweep.runs[first].job, EH_STEP_EVALUATE_BEFORE)) {
        printf("each run, by the first:\n");
        eh_plan_print_controls(&sweep.runs[first].job, first_minutes);
        eh_plan_print_power(&sweep.runs[first].job);
    }
    eh_sweep_deinit(&sweep);
    return status;
}
