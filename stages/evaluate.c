// evenhand-evaluate: shards and a model -> per-item scores. Each entry of `evaluate:` measures every data set that its
// metric takes; the rows of all go to OUTPUT/scores-PHASE.h5. A metric that can't be measured on this model or lacks an
// input is a table without rows that says why, and the others go on.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/atomic.h"
#include "io/shard.h"
#include "job/step.h"
#include "metrics/evaluate.h"
#include "metrics/journal.h"
#include "report/columns.h"
#include "stage.h"
#include "stage_model.h"

typedef struct {
    eh_stage *stage;
    eh_model *model;
    eh_model *base;       // opened where a metric asks how far the model is from it; `model` itself in phase before
    char base_digest[65]; // "" until then
    char *model_path;     // NULL: random initialisation
    char digest[65];
    eh_dtype compute;
    eh_tokenizer *tokenizer;
    eh_encoding encoding;
    eh_score_table *tables;
    int64_t table_count;
    int64_t measured_count, unfit_count, lacking_count; // tables with rows, refused for the model, for want of inputs
    double busy;                                        // seconds that this rank worked on items
    size_t program_bytes, predicted_bytes;              // as in eh_evaluator
} evaluation;

static bool measures_base(const eh_stage *stage)
{
    return strcmp(stage->phase, "before") == 0 || strcmp(stage->phase, "control-repeat") == 0;
}

// before and control-repeat: what the job starts from; else what a stage before has made.
static eh_status open_model(evaluation *e)
{
    const eh_dtype compute = e->compute;
    eh_stage *stage = e->stage;
    if (measures_base(stage)) {
        EH_TRY(eh_stage_starting_model(stage, compute, EH_FOR_INFERENCE, &e->model));
        return stage->job.model.path == NULL ? EH_OK : eh_copy_string(stage->job.model.path, &e->model_path);
    }
    eh_status status = eh_stage_phase_model(stage, stage->phase, &e->model_path);
    if (status == EH_OK)
        status = eh_model_open(stage->backend, e->model_path, compute, EH_FOR_INFERENCE, &e->model);
    if (status == EH_OK)
        eh_stage_warn_of_model(stage, e->model_path, e->model);
    if (status == EH_INPUT && strcmp(stage->phase, "after") == 0)
        status = eh_error_context(status, "the fine-tuned model (run evenhand-finetune first)");
    return eh_comm_agree(stage->comm, status);
}

// Scores of the model that was measured before, under the name of another phase, would look like "no effect".
static eh_status check_digest(const evaluation *e)
{
    char *before = NULL, *path = NULL;
    // The damage control may be the base itself: where the treatment cost no capability, no noise matches it.
    if (measures_base(e->stage) || strncmp(e->stage->phase, "control-damage", 14) == 0)
        return EH_OK;
    EH_TRY(eh_stage_path(e->stage, &path, "scores-before.h5"));
    eh_status status = EH_OK;
    FILE *file = fopen(path, "rb");
    if (file != NULL) {
        fclose(file);
        status = eh_scores_attribute(path, "model_sha256", &before);
    }
    if (status == EH_OK && before != NULL && strcmp(before, e->digest) == 0)
        status = eh_error(EH_INPUT,
                          "the model of phase '%s' (%s) is, weight for weight, the one in %s: nothing was trained, or "
                          "the wrong folder was loaded",
                          e->stage->phase, e->model_path, path);
    eh_free(&before);
    eh_free(&path);
    return status;
}

// The model that the job starts from.
static eh_status open_base(evaluation *e)
{
    if (e->base != NULL)
        return EH_OK;
    if (measures_base(e->stage))
        e->base = e->model;
    else
        EH_TRY(eh_stage_starting_model(e->stage, e->compute, EH_FOR_INFERENCE, &e->base));
    return eh_comm_agree(e->stage->comm, eh_model_digest(e->base, e->base_digest));
}

static eh_status prepare(evaluation *e)
{
    eh_backend *backend = NULL;
    char *folder = NULL;
    EH_TRY(eh_stage_backend(e->stage, &backend, &e->compute));
    EH_TRY(open_model(e));
    eh_status status = eh_stage_tokenizer_folder(e->stage, &folder);
    if (status == EH_OK)
        status = eh_stage_open_tokenizer(e->stage, folder, &e->tokenizer);
    eh_free(&folder);
    if (status == EH_OK)
        status = eh_model_digest(e->model, e->digest);
    if (status == EH_OK)
        status = check_digest(e);
    return eh_comm_agree(e->stage->comm, status);
}

// --- One metric on one data set -----------------------------------------------------------------------------------

static eh_metric_setup setup_of(evaluation *e, const eh_job_metric *settings, const char *data_format,
                                const eh_model *model, const char *digest)
{
    eh_metric_setup setup =
        eh_metric_setup_for(&e->stage->job, settings, data_format, model, e->tokenizer, &e->encoding);
    setup.model_sha256 = digest;
    setup.base_sha256 = e->base_digest[0] == '\0' ? NULL : e->base_digest;
    return setup;
}

// "stereoset/likelihood"; the next one of that name is "stereoset/likelihood@DATA", then "...@DATA-2".
static eh_status name_table(const evaluation *e, const eh_metric *metric, const char *data, eh_string *name)
{
    for (int try = 0;; try++) {
        bool taken = false;
        eh_string_clear(name);
        EH_TRY(eh_string_append_text(name, metric->name));
        if (try > 0)
            EH_TRY(eh_string_printf(name, "@%s", data));
        if (try > 1)
            EH_TRY(eh_string_printf(name, "-%d", try));
        for (int64_t t = 0; t < e->table_count; t++) taken = taken || strcmp(e->tables[t].name, name->bytes) == 0;
        if (!taken)
            return EH_OK;
    }
}

typedef struct {
    eh_examples examples;
    char *shards, *key, *journal;
    eh_model *model; // with another head than e->model; NULL: that one
    char digest[65];
    eh_model *classifier;
    eh_tokenizer *classifier_tokenizer;
    eh_lexicon *lexicon;
    eh_word_counts *words;
} inputs;

static void inputs_deinit(inputs *in)
{
    eh_examples_deinit(&in->examples);
    eh_free(&in->shards);
    eh_free(&in->key);
    eh_free(&in->journal);
    eh_model_close(&in->model);
    eh_model_close(&in->classifier);
    eh_tokenizer_close(&in->classifier_tokenizer);
    eh_lexicon_close(&in->lexicon);
    eh_word_counts_free(&in->words);
}

// The data set's first group by name.
static const char *first_group(const eh_examples *examples)
{
    const char *first = NULL;
    for (char *const *name = examples->group_names; name != NULL && *name != NULL; name++)
        if (first == NULL || strcmp(*name, first) < 0)
            first = *name;
    return first;
}

// The entry may ask for a head that the model's folder holds beside the one that its config.json names.
static eh_status open_head(const evaluation *e, const eh_job_metric *settings, inputs *in)
{
    eh_head head;
    if (!eh_head_find(settings->head, &head) || head == eh_model_head(e->model))
        return EH_OK; // "own"
    if (e->model_path == NULL)
        return eh_error(EH_INPUT, "%s: a model from random has one head, not '%s' too", e->stage->job.path,
                        settings->head);
    EH_TRY(eh_model_open_head(e->stage->backend, e->model_path, head, e->compute, EH_FOR_INFERENCE, &in->model));
    eh_stage_warn_of_model(e->stage, e->model_path, in->model);
    return eh_model_digest(in->model, in->digest);
}

static eh_status read_inputs(evaluation *e, const eh_job_metric *settings, const eh_metric *metric,
                             const eh_job_data *data, eh_metric_setup *setup, inputs *in)
{
    EH_TRY(eh_stage_path(e->stage, &in->shards, "shards"));
    EH_TRY(eh_stage_path(e->stage, &in->journal, "scores-%s.partial", e->stage->phase));
    if (data == NULL) {
        EH_TRY(metric->items(setup, &in->examples));
        EH_TRY(eh_copy_string("own items", &in->key));
    } else {
        EH_TRY(eh_shards_read(in->shards, data->name, &in->examples));
        EH_TRY(eh_shards_attribute(in->shards, data->name, "key", &in->key));
    }
    if (metric->wants_words)
        EH_TRY(eh_word_counts_new(&in->examples, &in->words));
    if (settings->lexicon != NULL)
        EH_TRY(eh_lexicon_open(settings->lexicon, &in->lexicon));
    if ((metric->answers & EH_CLASSES) != 0 && settings->classifier != NULL) {
        EH_TRY(eh_model_open(e->stage->backend, settings->classifier, EH_F32, EH_FOR_INFERENCE, &in->classifier));
        eh_stage_warn_of_model(e->stage, settings->classifier, in->classifier);
        EH_TRY(eh_stage_open_tokenizer(e->stage, settings->classifier, &in->classifier_tokenizer));
    }
    setup->data_key = in->key;
    setup->classifier = in->classifier;
    setup->lexicon = in->lexicon;
    setup->words = in->words;
    setup->first_group = first_group(&in->examples);
    return metric->inputs == NULL ? EH_OK : metric->inputs(setup);
}

static eh_status add_table(evaluation *e, const eh_metric *metric, const char *data)
{
    eh_string name = {0};
    eh_status status = name_table(e, metric, data, &name);
    if (status == EH_OK)
        status = EH_RESIZE(e->table_count, e->table_count + 1, &e->tables);
    if (status == EH_OK)
        status = eh_score_table_init(name.bytes, &e->tables[e->table_count++]);
    eh_string_deinit(&name);
    return status;
}

// A table of no rows with the reason, which is the last error's message and the same on all ranks. `count`: of its
// kind.
static eh_status refuse(evaluation *e, const eh_metric *metric, const char *data, int64_t *count)
{
    const char *message = eh_error_message(), *colon = strstr(message, ": ");
    char reason[1024];
    snprintf(reason, sizeof reason, "%s", strncmp(message, "rank ", 5) == 0 && colon != NULL ? colon + 2 : message);
    ++*count;
    eh_status status = add_table(e, metric, data);
    if (status == EH_OK)
        status = eh_score_table_refuse(reason, &e->tables[e->table_count - 1]);
    EH_TRY(eh_comm_agree(e->stage->comm, status));
    eh_log_warning(&e->stage->log, "%s is not measured (%s): %s", e->tables[e->table_count - 1].name, e->stage->phase,
                   reason);
    eh_error_clear();
    return EH_OK;
}

// Whether the model can be measured at all.
static eh_status check_model(evaluation *e, const eh_job_metric *settings, const eh_metric *metric,
                             const eh_job_data *data, eh_metric_setup *setup, inputs *in)
{
    EH_TRY(open_head(e, settings, in));
    *setup = setup_of(e, settings, data == NULL ? "" : data->format, in->model != NULL ? in->model : e->model,
                      in->model != NULL ? in->digest : e->digest);
    return metric->check == NULL ? EH_OK : metric->check(setup);
}

static eh_status ask_model(evaluation *e, const eh_metric *metric, const eh_metric_setup *setup, inputs *in)
{
    eh_stage *stage = e->stage;
    eh_evaluator evaluator = {.comm = stage->comm,
                              .log = &stage->log,
                              .phase = stage->phase,
                              .device = eh_backend_name(stage->backend),
                              .program_bytes = e->program_bytes,
                              .predicted_bytes = e->predicted_bytes,
                              .model = in->model != NULL ? in->model : e->model,
                              .base = e->base,
                              .batch_tokens = stage->job.batch_tokens,
                              .classifier = in->classifier,
                              .classifier_tokenizer = in->classifier_tokenizer,
                              .journal = in->journal};
    const eh_status status = eh_evaluate(&evaluator, metric, setup, &in->examples, &e->tables[e->table_count - 1]);
    e->busy += evaluator.seconds_working;
    e->program_bytes = evaluator.program_bytes;
    e->predicted_bytes = evaluator.predicted_bytes;
    e->measured_count++;
    return status;
}

// data NULL: the metric's own items.
static eh_status measure(evaluation *e, const eh_job_metric *settings, const eh_metric *metric, const eh_job_data *data)
{
    const char *name = data == NULL ? "own" : data->name;
    inputs in = {0};
    eh_metric_setup setup = {0};
    if (metric->answers & EH_DIVERGENCES)
        EH_TRY(open_base(e));
    int64_t *refused = &e->unfit_count;
    eh_status status = eh_comm_agree(e->stage->comm, check_model(e, settings, metric, data, &setup, &in));
    if (status == EH_OK) {
        refused = &e->lacking_count;
        status = eh_comm_agree(e->stage->comm, read_inputs(e, settings, metric, data, &setup, &in));
    }
    if (status == EH_INPUT) {
        status = refuse(e, metric, name, refused);
    } else if (status == EH_OK) {
        status = eh_comm_agree(e->stage->comm, add_table(e, metric, name));
        if (status == EH_OK)
            status = ask_model(e, metric, &setup, &in);
    }
    inputs_deinit(&in);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s on data set '%s'", metric->name, name);
}

static eh_status measure_all(evaluation *e, const eh_job_metric *settings)
{
    const eh_job *job = &e->stage->job;
    const eh_metric *metric;
    int64_t found = 0;
    EH_TRY(eh_metric_find(settings->metric, settings->protocol, &metric));
    if (metric->items != NULL && settings->data == NULL)
        return measure(e, settings, metric, NULL);
    for (int64_t d = 0; d < job->data_count; d++) {
        const eh_job_data *data = &job->data[d];
        if (!eh_metric_wants(metric, settings, data))
            continue;
        if (!eh_metric_takes(metric, data->format))
            return eh_error(EH_INPUT, "%s: metric '%s' can't measure data set '%s' of format '%s'; it takes: %s",
                            job->path, metric->name, data->name, data->format, metric->formats);
        EH_TRY(measure(e, settings, metric, data));
        found++;
    }
    if (found > 0)
        return EH_OK;
    EH_ASSERT(settings->data == NULL); // the job was checked
    const eh_status status =
        eh_error(EH_INPUT, "%s: no data set for metric '%s': add one of format %s (held out, if it is trained on)",
                 job->path, metric->name, metric->formats);
    return status == EH_INPUT ? refuse(e, metric, "own", &e->lacking_count) : status;
}

// --- The whole ------------------------------------------------------------------------------------------------------

static int64_t count_weights(const eh_model *model)
{
    int64_t count = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) count += eh_model_parameters(model)[p].count;
    return count;
}

static eh_status write_scores(evaluation *e)
{
    eh_stage *stage = e->stage;
    char *path = NULL, *journal = NULL;
    eh_string yaml = {0};
    EH_TRY(eh_stage_path(stage, &path, "scores-%s.h5", stage->phase));
    eh_status status = eh_stage_path(stage, &journal, "scores-%s.partial", stage->phase);
    if (status == EH_OK)
        status = eh_job_to_yaml(&stage->job, &yaml);
    if (status == EH_OK) {
        const eh_scores_origin origin = {.phase = stage->phase,
                                         .model_path = e->model_path == NULL ? "random" : e->model_path,
                                         .model_sha256 = e->digest,
                                         .job = yaml.bytes,
                                         .seed = stage->job.seed,
                                         .parameter_count = count_weights(e->model),
                                         .architecture = eh_model_type(e->model)};
        status = eh_scores_write(stage->comm, path, &origin, e->tables, e->table_count);
    }
    if (status == EH_OK && e->lacking_count == 0) // else what was measured need not be measured again
        status = eh_journal_remove(stage->comm, journal);
    eh_free(&path);
    eh_free(&journal);
    eh_string_deinit(&yaml);
    return status;
}

// Says how evenly the items were spread: the least busy rank's time in per cent of the busiest one's; and the memory.
static eh_status report_use(evaluation *e)
{
    double times[2] = {e->busy, -e->busy};
    EH_TRY(eh_comm_max_double(e->stage->comm, times, 2));
    if (eh_comm_size(e->stage->comm) > 1 && times[0] > 0)
        eh_log_line(&e->stage->log, "%d ranks worked %.1f to %.1f s on items (%.0f %%)", eh_comm_size(e->stage->comm),
                    -times[1], times[0], 100 * -times[1] / times[0]);
    int64_t peak[2] = {(int64_t)eh_peak_resident_bytes(), (int64_t)e->predicted_bytes};
    EH_TRY(eh_comm_max_i64(e->stage->comm, peak, 2));
    eh_log_line(&e->stage->log, "peak memory: %.1f MiB on the fullest rank, predicted %.1f", (double)peak[0] / 1048576,
                (double)peak[1] / 1048576);
    return EH_OK;
}

static const char *first_refusal(const evaluation *e)
{
    int64_t t = 0;
    while (t < e->table_count && e->tables[t].refusal == NULL) t++;
    EH_ASSERT(t < e->table_count);
    return e->tables[t].refusal;
}

// EH_INPUT if the user must act: a metric lacks its inputs, or nothing at all was measured. What was measured is kept:
// the step is done in part. Nothing is written over the scores of a job that lacks all of its inputs.
static eh_status end_well(evaluation *e)
{
    const bool nothing = e->measured_count == 0;
    if (nothing && e->lacking_count > 0)
        return eh_error(EH_INPUT, "%s", first_refusal(e));
    EH_TRY(write_scores(e));
    e->stage->done_in_part = true;
    if (nothing)
        return eh_error(EH_INPUT, "no metric of this job can be measured on this model: %s", first_refusal(e));
    if (e->lacking_count == 0)
        return EH_OK;
    return eh_error(
        EH_INPUT,
        "%lld of %lld measurements could not be made (see the warnings above); the others are in scores-%s.h5",
        (long long)(e->lacking_count), (long long)e->table_count, e->stage->phase);
}

static eh_status evaluate_phase(eh_stage *stage)
{
    evaluation e = {.stage = stage};
    eh_status status = prepare(&e);
    if (status == EH_OK && stage->job.evaluate_count == 0)
        status = eh_error(EH_INPUT, "%s: nothing to evaluate: 'evaluate:' is empty", stage->job.path);
    for (int64_t m = 0; status == EH_OK && m < stage->job.evaluate_count; m++)
        status = measure_all(&e, &stage->job.evaluate[m]);
    if (status == EH_OK)
        status = report_use(&e);
    if (status == EH_OK)
        status = end_well(&e);
    for (int64_t t = 0; t < e.table_count; t++) eh_score_table_deinit(&e.tables[t]);
    eh_free(&e.tables);
    eh_free(&e.model_path);
    eh_encoding_deinit(&e.encoding);
    eh_tokenizer_close(&e.tokenizer);
    if (e.base != e.model)
        eh_model_close(&e.base);
    eh_model_close(&e.model);
    return status;
}

// --- Phases that are several models --------------------------------------------------------------------------------

typedef struct {
    char (*names)[48];
    int64_t count;
} phase_list;

static eh_status add_phase(phase_list *list, const char *name)
{
    EH_TRY(EH_RESIZE(list->count, list->count + 1, &list->names));
    snprintf(list->names[list->count++], sizeof *list->names, "%s", name);
    return EH_OK;
}

static bool is_there(const char *folder)
{
    char config[4096];
    snprintf(config, sizeof config, "%s/config.json", folder);
    return access(config, R_OK) == 0;
}

// The damage control's models, as many as there are.
static eh_status find_damaged(const eh_stage *stage, phase_list *list)
{
    for (bool more = true; more;) {
        char *folder = NULL, name[48];
        eh_damage_phase(list->count, name);
        EH_TRY(eh_stage_phase_model(stage, name, &folder));
        more = is_there(folder);
        eh_free(&folder);
        if (more || list->count == 0) // without any, opening the first one says what is missing
            EH_TRY(add_phase(list, name));
    }
    return EH_OK;
}

// The models kept on the way of this training: a longer one of an earlier run may have left others.
static eh_status find_steps(const eh_stage *stage, phase_list *list)
{
    eh_columns columns = {0};
    const int64_t every = stage->job.train.keep_every;
    EH_TRY(eh_columns_read_if_there(stage->job.output, "metrics.csv", &columns));
    const int64_t column = eh_columns_find(&columns, "step");
    const double last =
        column >= 0 && columns.row_count > 0 ? eh_columns_number(&columns, columns.row_count - 1, column) : 0;
    eh_columns_deinit(&columns);
    eh_status status = EH_OK;
    for (int64_t step = every; every > 0 && (double)step < last && status == EH_OK; step += every) {
        char *folder = NULL, name[48];
        snprintf(name, sizeof name, "step-%lld", (long long)step);
        status = eh_stage_phase_model(stage, name, &folder);
        if (status == EH_OK && is_there(folder))
            status = add_phase(list, name);
        eh_free(&folder);
    }
    return status;
}

static bool is_listed(const phase_list *list, const char *phase)
{
    for (int64_t p = 0; p < list->count; p++)
        if (strcmp(list->names[p], phase) == 0)
            return true;
    return false;
}

// Removes scores of this kind of phase that an earlier run has left and this one does not make anew.
static eh_status remove_other_scores(const eh_stage *stage, const char *kind, const phase_list *list)
{
    char **phases = NULL;
    int64_t count = 0;
    eh_status status = eh_scores_phases(stage->job.output, &phases, &count);
    for (int64_t p = 0; p < count; p++) {
        char *path = NULL;
        if (status == EH_OK && strncmp(phases[p], kind, strlen(kind)) == 0 && !is_listed(list, phases[p])) {
            status = eh_stage_path(stage, &path, "scores-%s.h5", phases[p]);
            if (status == EH_OK && remove(path) != 0)
                status = eh_error(EH_MACHINE, "can't remove %s: %s", path, strerror(errno));
        }
        eh_free(&path);
        eh_free(&phases[p]);
    }
    eh_free(&phases);
    return status;
}

// OUTPUT/steps.csv: what evaluate-steps has measured.
static eh_status write_steps(const eh_stage *stage, const phase_list *list)
{
    char *path = NULL;
    eh_string text = {0};
    eh_status status = eh_string_append_text(&text, "step,scores\n");
    for (int64_t p = 0; p < list->count && status == EH_OK; p++)
        status = eh_string_printf(&text, "%s,scores-%s.h5\n", list->names[p] + strlen("step-"), list->names[p]);
    if (status == EH_OK)
        status = eh_stage_path(stage, &path, "steps.csv");
    if (status == EH_OK)
        status = eh_atomic_write(path, text.bytes, text.size);
    eh_free(&path);
    eh_string_deinit(&text);
    return status;
}

static eh_status evaluate_list(eh_stage *stage, const char *kind, phase_list *list)
{
    const bool leads = eh_comm_rank(stage->comm) == 0;
    eh_status in_part = EH_OK, status = leads ? remove_other_scores(stage, kind, list) : EH_OK;
    char *const whole = stage->phase;
    for (int64_t p = 0; p < list->count && status == EH_OK; p++) {
        eh_log_line(&stage->log, "%s, %lld of %lld", list->names[p], (long long)p + 1, (long long)list->count);
        stage->phase = list->names[p];
        stage->done_in_part = false;
        status = evaluate_phase(stage);
        if (status == EH_INPUT && stage->done_in_part) { // the others lack the same
            in_part = status;
            status = EH_OK;
        }
    }
    stage->phase = whole;
    stage->done_in_part = in_part != EH_OK;
    if (status == EH_OK && leads && strcmp(kind, "step-") == 0)
        status = write_steps(stage, list);
    return eh_comm_agree(stage->comm, status == EH_OK ? in_part : status);
}

static eh_status evaluate(eh_stage *stage)
{
    phase_list list = {0};
    const bool steps = strcmp(stage->phase, "steps") == 0;
    if (!steps && strcmp(stage->phase, "control-damage") != 0)
        return evaluate_phase(stage);
    eh_status status = eh_comm_agree(stage->comm, steps ? find_steps(stage, &list) : find_damaged(stage, &list));
    if (status == EH_OK)
        status = evaluate_list(stage, steps ? "step-" : "control-damage", &list);
    eh_free(&list.names);
    return status;
}

int main(int argc, char **argv)
{
    eh_stage stage;
    eh_status status = eh_stage_begin(&stage, "evaluate", argc, argv);
    if (status == EH_OK)
        status = evaluate(&stage);
    return eh_stage_end(&stage, status);
}
