// evenhand-damage: the control "damage" of PROTOCOL part 5. Puts Gaussian noise on the starting model's weights, as
// strong as it takes for the mean capability (bits per byte) of several such models to be the treated model's, and
// keeps them as OUTPUT/control-damage/model-1a, -1b, -2a, ... Each noise is used with both signs (a, b): what it does
// to a bias is mostly proportional to it and falls out of the mean of the two, which leaves what damage as such does
// (on the planted world of tests/stages/test_controls.sh the mean of a pair scatters by 0.037 nats, that of two noises
// by 0.103). Every strength that was tried is in OUTPUT/control-damage/bisection.csv, from which a killed search goes
// on.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"
#include "io/csv.h"
#include "io/shard.h"
#include "job/step.h"
#include "metrics/evaluate.h"
#include "model/noise.h"
#include "stage.h"
#include "stage_model.h"
#include "train/bisection.h"

// What model number `index` measured at a strength.
typedef struct {
    double strength, value;
    int64_t index;
} trial;

typedef struct {
    eh_stage stage;
    eh_dtype compute;
    eh_model *base; // with noise or without
    eh_noise noise;
    const eh_metric *metric;
    const eh_job_metric *settings;
    const eh_job_data *data;
    eh_examples examples;
    eh_tokenizer *tokenizer;
    char *tokenizer_folder;
    int64_t model_count; // two for each noise
    double *saved;       // [model_count] strength of the saved model; negative: none
    trial *trials;
    int64_t trial_count, trial_capacity;
} damage;

// --- What capability is --------------------------------------------------------------------------------------------

// The first entry of `evaluate:` that measures perplexity, on the first data set that it takes.
static eh_status find_capability(damage *d)
{
    const eh_job *job = &d->stage.job;
    for (int64_t m = 0; m < job->evaluate_count && d->data == NULL; m++) {
        const eh_job_metric *entry = &job->evaluate[m];
        if (strcmp(entry->metric, "perplexity") != 0)
            continue;
        EH_TRY(eh_metric_find(entry->metric, entry->protocol, &d->metric));
        d->settings = entry;
        for (int64_t s = 0; s < job->data_count && d->data == NULL; s++) {
            const eh_job_data *data = &job->data[s];
            const bool meant = entry->data != NULL
                                   ? strcmp(entry->data, data->name) == 0
                                   : eh_metric_takes(d->metric, data->format) && eh_data_is_measured(data);
            d->data = meant ? data : NULL;
        }
    }
    if (d->data != NULL)
        return EH_OK;
    return eh_error(EH_INPUT,
                    "%s: this job does not measure capability, so no damage can be made equal to the treatment's: add "
                    "{metric: perplexity} to 'evaluate', and text",
                    job->path);
}

// The figure "bits/byte" of the metric's table in a score file.
static eh_status read_figure(const damage *d, const char *path, double *value)
{
    eh_score_table *tables = NULL;
    int64_t count = 0;
    eh_sample sample = {0};
    eh_figure *figures = NULL;
    *value = NAN;
    eh_status status = eh_scores_read(path, &tables, &count);
    for (int64_t t = 0; status == EH_OK && t < count; t++) {
        if (strcmp(tables[t].name, d->metric->name) != 0)
            continue;
        EH_TRY_OR(done, eh_metric_sample(&tables[t], &sample));
        EH_TRY_OR(done, EH_ALLOC(sample.figure_count, &figures));
        eh_sample_summarise(&sample, NULL, NULL, figures);
        const int64_t figure = eh_sample_find(&sample, "perplexity/bits-per-byte", "", "all");
        *value = figure < 0 || sample.missing_count > 0 ? NAN : figures[figure].value;
        break;
    }
done:
    eh_free(&figures);
    eh_sample_deinit(&sample);
    for (int64_t t = 0; t < count; t++) eh_score_table_deinit(&tables[t]);
    eh_free(&tables);
    return status;
}

static eh_status read_capability(const damage *d, const char *phase, double *value)
{
    char *path = NULL;
    EH_TRY(eh_stage_path(&d->stage, &path, "scores-%s.h5", phase));
    eh_status status = read_figure(d, path, value);
    if (status == EH_OK && !(*value > 0))
        status = eh_error(EH_INPUT, "%s: %s has no bits per byte there: the damage can't be made equal to it", path,
                          d->metric->name);
    else if (status == EH_INPUT)
        status = eh_error_context(status, "the capability of phase '%s' (run evenhand-evaluate first)", phase);
    eh_free(&path);
    return status;
}

// --- One strength --------------------------------------------------------------------------------------------------

static eh_status save_alone(damage *d, int64_t index, double strength, const char *folder)
{
    EH_TRY(eh_noise_apply(&d->noise, index / 2, index % 2 == 0 ? strength : -strength));
    EH_TRY(eh_make_folders(folder));
    return eh_model_save(d->base, folder, d->tokenizer_folder);
}

static eh_status damaged_model(const damage *d, int64_t index, char **folder)
{
    char phase[48];
    eh_damage_phase(index, phase);
    return eh_stage_phase_model(&d->stage, phase, folder);
}

static eh_status save(damage *d, int64_t index, double strength)
{
    char *folder = NULL;
    if (d->saved[index] == strength)
        return EH_OK;
    d->saved[index] = -1;
    eh_status status = damaged_model(d, index, &folder);
    if (status == EH_OK && eh_comm_rank(d->stage.comm) == 0)
        status = save_alone(d, index, strength, folder);
    eh_free(&folder);
    EH_TRY(eh_comm_agree(d->stage.comm, status));
    d->saved[index] = strength;
    return EH_OK;
}

static eh_status evaluate(damage *d, eh_model *model, eh_score_table *table)
{
    eh_encoding encoding = {0};
    eh_metric_setup setup =
        eh_metric_setup_for(&d->stage.job, d->settings, d->data->format, model, d->tokenizer, &encoding);
    setup.model_sha256 = setup.data_key = ""; // of the journal, and there is none
    eh_status status = d->metric->check == NULL ? EH_OK : d->metric->check(&setup);
    if (status == EH_OK)
        status = eh_score_table_init(d->metric->name, table);
    status = eh_comm_agree(d->stage.comm, status);
    eh_log quiet = d->stage.log;
    quiet.speaks = false;
    eh_evaluator evaluator = {.comm = d->stage.comm,
                              .log = &quiet,
                              .phase = "control-damage",
                              .device = eh_backend_name(d->stage.backend),
                              .model = model};
    if (status == EH_OK)
        status = eh_evaluate(&evaluator, d->metric, &setup, &d->examples, table);
    eh_encoding_deinit(&encoding);
    return status;
}

// Through a score file, whose order of rows no number of ranks changes, so that the sums over them have the same bits.
static eh_status summarise(damage *d, const eh_score_table *table, double *value)
{
    char *path = NULL;
    const eh_scores_origin origin = {.phase = "trial", .model_path = "control-damage", .model_sha256 = "", .job = ""};
    EH_TRY(eh_stage_path(&d->stage, &path, "control-damage/trial.h5"));
    eh_status status = eh_scores_write(d->stage.comm, path, &origin, table, 1);
    if (status == EH_OK && eh_comm_rank(d->stage.comm) == 0) {
        status = read_figure(d, path, value);
        remove(path);
    }
    eh_free(&path);
    EH_TRY(eh_comm_agree(d->stage.comm, status));
    return eh_comm_broadcast(d->stage.comm, value, sizeof *value, 0);
}

static eh_status measure(damage *d, int64_t index, double strength, double *value)
{
    eh_model *model = NULL;
    eh_score_table table = {0};
    char *folder = NULL;
    EH_TRY(save(d, index, strength));
    eh_status status = damaged_model(d, index, &folder);
    if (status == EH_OK)
        status = eh_model_open(d->stage.backend, folder, d->compute, EH_FOR_INFERENCE, &model);
    eh_free(&folder);
    status = eh_comm_agree(d->stage.comm, status);
    if (status == EH_OK)
        status = evaluate(d, model, &table);
    if (status == EH_OK)
        status = summarise(d, &table, value);
    eh_score_table_deinit(&table);
    eh_model_close(&model);
    return status;
}

// --- What was tried ------------------------------------------------------------------------------------------------

static eh_status write_trials(const damage *d, const eh_bisection *search)
{
    char *path = NULL;
    eh_string text = {0};
    EH_TRY(eh_stage_path(&d->stage, &path, "control-damage/bisection.csv"));
    eh_status status = eh_string_append_text(&text, "strength,model,bits_per_byte,base,treated,key\n");
    for (int64_t t = 0; t < d->trial_count && status == EH_OK; t++)
        status = eh_string_printf(&text, "%.17g,%" PRId64 "%c,%.17g,%.17g,%.17g,%s\n", d->trials[t].strength,
                                  d->trials[t].index / 2 + 1, d->trials[t].index % 2 == 0 ? 'a' : 'b',
                                  d->trials[t].value, search->base, search->target, d->stage.key);
    if (status == EH_OK)
        status = eh_atomic_write(path, text.bytes, text.size);
    eh_string_deinit(&text);
    eh_free(&path);
    return status;
}

// The trials of an earlier, killed run of this very step. Any doubt about the file, and it counts as empty.
static eh_status read_trials(damage *d)
{
    char *path = NULL;
    eh_csv *csv = NULL;
    eh_csv_row row;
    bool more = false;
    static const char *const names[] = {"strength", "model", "bits_per_byte", "key"};
    int64_t columns[4];
    EH_TRY(eh_stage_path(&d->stage, &path, "control-damage/bisection.csv"));
    eh_status status = eh_csv_open(path, ',', EH_CSV_PLAIN, &csv);
    if (status == EH_OK)
        status = eh_csv_columns(csv, names, 4, columns);
    while (status == EH_OK && (status = eh_csv_next(csv, &row, &more)) == EH_OK && more) {
        if (row.problem != NULL || strcmp(row.fields[columns[3]], d->stage.key) != 0)
            break;
        char *end = NULL;
        const int64_t noise = strtoll(row.fields[columns[1]], &end, 10);
        const trial known = {strtod(row.fields[columns[0]], NULL), strtod(row.fields[columns[2]], NULL),
                             2 * (noise - 1) + (*end == 'b')};
        status = EH_APPEND(&d->trials, &d->trial_count, &d->trial_capacity, known);
    }
    if (status == EH_INPUT) {
        eh_error_clear();
        status = EH_OK;
    }
    eh_csv_close(&csv);
    eh_free(&path);
    return status;
}

// Measured now, or known from the file; rank 0 knows.
static eh_status try_model(damage *d, const eh_bisection *search, int64_t index, double *value)
{
    const bool leads = eh_comm_rank(d->stage.comm) == 0;
    int64_t known = 0;
    for (int64_t t = 0; leads && t < d->trial_count && known == 0; t++)
        if (d->trials[t].strength == search->next && d->trials[t].index == index) {
            *value = d->trials[t].value;
            known = 1;
        }
    EH_TRY(eh_comm_broadcast(d->stage.comm, &known, sizeof known, 0));
    if (known != 0)
        return eh_comm_broadcast(d->stage.comm, value, sizeof *value, 0);
    EH_TRY(measure(d, index, search->next, value));
    eh_status status = EH_OK;
    if (leads) {
        const trial made = {search->next, *value, index};
        status = EH_APPEND(&d->trials, &d->trial_count, &d->trial_capacity, made);
        if (status == EH_OK)
            status = write_trials(d, search);
    }
    return eh_comm_agree(d->stage.comm, status);
}

// The mean over the models; NaN, which is too strong, where one of them is broken.
static eh_status try_strength(damage *d, const eh_bisection *search, double *mean)
{
    double sum = 0;
    const int64_t known = d->trial_count;
    for (int64_t m = 0; m < d->model_count; m++) {
        double value = NAN;
        EH_TRY(try_model(d, search, m, &value));
        sum += value;
    }
    *mean = sum / (double)d->model_count;
    if (d->trial_count > known) // of rank 0, which speaks
        eh_log_line(&d->stage.log,
                    "noise of %.6g: %.6f bits per byte, mean of %" PRId64 " (%.6f without, %.6f treated)", search->next,
                    *mean, d->model_count, search->base, search->target);
    return EH_OK;
}

// --- The whole -----------------------------------------------------------------------------------------------------

static eh_status prepare_alone(damage *d, double values[2])
{
    char *shards = NULL, *place = NULL;
    EH_TRY(find_capability(d));
    EH_TRY(read_capability(d, "before", &values[0]));
    EH_TRY(read_capability(d, "after", &values[1]));
    EH_TRY(eh_stage_tokenizer_folder(&d->stage, &d->tokenizer_folder));
    EH_TRY(eh_stage_open_tokenizer(&d->stage, d->tokenizer_folder, &d->tokenizer));
    d->model_count = 2 * d->stage.job.controls.draws;
    EH_TRY(EH_ALLOC(d->model_count, &d->saved));
    for (int64_t m = 0; m < d->model_count; m++) d->saved[m] = -1;
    EH_TRY(eh_stage_path(&d->stage, &shards, "shards"));
    eh_status status = eh_shards_read(shards, d->data->name, &d->examples);
    eh_free(&shards);
    if (status == EH_OK && eh_comm_rank(d->stage.comm) == 0) {
        status = eh_stage_path(&d->stage, &place, "control-damage");
        if (status == EH_OK)
            status = eh_make_folders(place);
        eh_free(&place);
        if (status == EH_OK)
            status = read_trials(d);
    }
    return status;
}

// Models of an earlier run with more noises than this one would be measured too.
static eh_status remove_others(const damage *d)
{
    char *folder = NULL, config[4096];
    eh_status status = EH_OK;
    for (int64_t m = d->model_count; status == EH_OK && eh_comm_rank(d->stage.comm) == 0; m++) {
        status = damaged_model(d, m, &folder);
        snprintf(config, sizeof config, "%s/config.json", folder == NULL ? "" : folder);
        eh_free(&folder);
        if (remove(config) != 0) // without it, it is no model
            break;
    }
    return eh_comm_agree(d->stage.comm, status);
}

static eh_status make(damage *d)
{
    eh_backend *backend = NULL;
    double values[2] = {0};
    EH_TRY(eh_comm_agree(d->stage.comm, prepare_alone(d, values)));
    EH_TRY(eh_stage_backend(&d->stage, &backend, &d->compute));
    EH_TRY(eh_stage_starting_model(&d->stage, d->compute, EH_FOR_TRAINING, &d->base));
    EH_TRY(eh_comm_agree(d->stage.comm, eh_noise_init(backend, d->base, d->stage.job.seed, &d->noise)));
    eh_bisection search = eh_bisection_begin(values[0], values[1], d->stage.job.controls.tolerance);
    if (search.done)
        eh_log_line(&d->stage.log,
                    "the treatment cost no capability (%.6f bits per byte, %.6f before): the damage control is the "
                    "starting model itself",
                    search.target, search.base);
    if (search.done)
        d->model_count = 1;
    while (!search.done) {
        double value = NAN;
        EH_TRY(try_strength(d, &search, &value));
        EH_TRY(eh_bisection_add(&search, value));
    }
    if (search.trials == 0 && eh_comm_rank(d->stage.comm) == 0) {
        const trial none = {0, search.base, 0};
        d->trial_count = 0;
        EH_TRY(EH_APPEND(&d->trials, &d->trial_count, &d->trial_capacity, none));
        EH_TRY(write_trials(d, &search));
    }
    for (int64_t m = 0; m < d->model_count; m++) EH_TRY(save(d, m, search.next));
    return remove_others(d);
}

int main(int argc, char **argv)
{
    damage d = {0};
    eh_status status = eh_stage_begin(&d.stage, "damage", argc, argv);
    if (status == EH_OK)
        status = make(&d);
    eh_noise_deinit(&d.noise);
    eh_model_close(&d.base);
    eh_examples_deinit(&d.examples);
    eh_tokenizer_close(&d.tokenizer);
    eh_free(&d.tokenizer_folder);
    eh_free(&d.saved);
    eh_free(&d.trials);
    return eh_stage_end(&d.stage, status);
}
