// What an evaluation of this size can show at all, and what the controls add to the work: both before anything is run.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/shard.h"
#include "plan.h"
#include "report/bootstrap.h"
#include "report/results.h"

#define DISCORDANT 0.1 // share of items whose choice a treatment is expected to change (PROTOCOL part 5)

// How much clusters inflate the variance of SS: that of the scores before, where they are there (a pilot).
static double design_effect(const eh_job *job)
{
    char path[4096];
    eh_score_table *tables = NULL;
    int64_t count = 0;
    double effect = NAN;
    snprintf(path, sizeof path, "%s/scores-before.h5", job->output);
    eh_status status = eh_scores_read(path, &tables, &count);
    for (int64_t t = 0; status == EH_OK && t < count && isnan(effect); t++) {
        eh_sample sample = {0};
        eh_estimate *estimates = NULL;
        const bool is_stereoset = strncmp(tables[t].name, "stereoset/likelihood", strlen("stereoset/likelihood")) == 0;
        if (is_stereoset && eh_metric_sample(&tables[t], &sample) == EH_OK &&
            EH_ALLOC(sample.figure_count, &estimates) == EH_OK &&
            eh_bootstrap_sample(&sample, &(eh_bootstrap_settings){200, job->seed}, estimates) == EH_OK)
            for (int64_t f = 0; f < sample.figure_count && isnan(effect); f++) {
                const eh_estimate *e = &estimates[f];
                const double p = e->value / 100;
                if (strcmp(sample.figures[f].name, "stereoset/official-macro/SS") == 0 &&
                    strcmp(sample.figures[f].scope, "all") == 0 && sample.figures[f].null_picker[0] == '\0' && p > 0 &&
                    p < 1)
                    effect = e->standard_error * e->standard_error / (1e4 * p * (1 - p) / (double)e->n);
            }
        eh_free(&estimates);
        eh_sample_deinit(&sample);
    }
    for (int64_t t = 0; t < count; t++) eh_score_table_deinit(&tables[t]);
    eh_free(&tables);
    eh_error_clear(); // no pilot is no failure
    return effect;
}

static void print_change(const eh_job *job, const char *name, int64_t count, double effect)
{
    const double change = eh_minimal_detectable_change(count, DISCORDANT, effect);
    printf("    %-28s %8lld items: %5.1f pp%s\n", name, (long long)count, change,
           change > job->verdict.bias_points ? ", above the margin: an effect of its size can't be shown with this n"
                                             : "");
}

static void print_data_set(const eh_job *job, const eh_job_data *data, double effect)
{
    char folder[4096];
    eh_examples examples = {0};
    snprintf(folder, sizeof folder, "%s/shards", job->output);
    if (eh_shards_read(folder, data->name, &examples) != EH_OK) {
        eh_error_clear();
        printf("    %-28s not tokenized yet: the number of items is not known\n", data->name);
        return;
    }
    print_change(job, data->name, examples.count, effect);
    for (int64_t g = 0; examples.group_names[g] != NULL; g++) {
        int64_t count = 0;
        for (int64_t i = 0; i < examples.count; i++) count += examples.groups[i] == g;
        if (count > 0 && count < examples.count)
            print_change(job, examples.group_names[g], count, effect);
    }
    eh_examples_deinit(&examples);
}

void eh_plan_print_power(const eh_job *job)
{
    bool any = false;
    for (int64_t d = 0; d < job->data_count; d++) any = any || strcmp(job->data[d].format, "stereoset") == 0;
    if (!any || job->evaluate_count == 0)
        return;
    const double pilot = design_effect(job), effect = isfinite(pilot) && pilot > 0 ? pilot : 1;
    printf("  change of SS found in 4 of 5 runs (%.0f %% of items change, design effect %.2f%s), margin %.3g pp:\n",
           100 * DISCORDANT, effect, effect == pilot ? " of the scores before" : ": no scores to take it from",
           job->verdict.bias_points);
    for (int64_t d = 0; d < job->data_count; d++)
        if (strcmp(job->data[d].format, "stereoset") == 0)
            print_data_set(job, &job->data[d], effect);
}

void eh_plan_print_controls(const eh_job *job, double training_minutes)
{
    int trainings = 0, evaluations = 0;
    char damage[96] = "";
    if (job->controls.which == 0)
        return;
    printf("  controls:");
    for (int c = 0; c < EH_CONTROL_COUNT; c++)
        if ((job->controls.which >> c & 1) != 0) {
            printf("%s %s", evaluations > 0 ? "," : "", eh_control_name((eh_control)c));
            evaluations += c == EH_CONTROL_DAMAGE ? 2 * (int)job->controls.draws : 1;
            trainings += c <= EH_CONTROL_NEUTRAL;
        }
    if ((job->controls.which & 1u << EH_CONTROL_DAMAGE) != 0)
        snprintf(damage, sizeof damage, ", and some %lld of capability alone to find the damage's strength",
                 (long long)(16 * job->controls.draws));
    printf(": %d training%s more, about %.3g min in all with the treatment's; %d evaluation%s more%s\n", trainings,
           trainings == 1 ? "" : "s", training_minutes * (1 + trainings), evaluations, evaluations == 1 ? "" : "s",
           damage);
}
