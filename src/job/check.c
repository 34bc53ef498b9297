#include "job/check.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"

static bool is(const char *text, const char *word)
{
    return text != NULL && strcmp(text, word) == 0;
}

// The job file's name without folder and ending.
static eh_status complete_name(eh_job *job)
{
    if (job->name == NULL) {
        const char *slash = strrchr(job->path, '/'), *base = slash != NULL ? slash + 1 : job->path;
        const char *dot = strrchr(base, '.');
        EH_TRY(eh_copy_bytes(base, dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base), &job->name));
    }
    if (job->output == NULL) {
        eh_string path = {0};
        EH_TRY(eh_string_printf(&path, "results/%s", job->name));
        job->output = path.bytes;
    }
    return EH_OK;
}

static eh_status check_model(const eh_job *job)
{
    const eh_job_model *model = &job->model;
    if (model->path == NULL && model->architecture == NULL)
        return eh_error(
            EH_INPUT,
            "%s: no model: give model.path (a Hugging Face folder), or model.architecture, model.config and "
            "model.tokenizer to start from random weights",
            job->path);
    if (model->path != NULL && model->architecture != NULL)
        return eh_error(EH_INPUT, "%s: model.path and model.architecture exclude each other", job->path);
    if (model->architecture != NULL && (model->config == NULL || model->tokenizer == NULL))
        return eh_error(EH_INPUT, "%s: model.architecture needs %s too", job->path,
                        model->config == NULL ? "model.config" : "model.tokenizer");
    if (model->path != NULL && model->config != NULL)
        return eh_error(EH_INPUT, "%s: model.config is for random weights: the folder model.path has its own",
                        job->path);
    return EH_OK;
}

// model_type is what model.architecture says, so that the config alone describes the model.
static eh_status complete_config(eh_job *job)
{
    if (job->model.config == NULL)
        return EH_OK;
    json_t *config = json_loads(job->model.config, 0, NULL);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    eh_status status = EH_OK;
    if (type != NULL && strcmp(type, job->model.architecture) != 0)
        status = eh_error(EH_INPUT, "%s: model.architecture is '%s', but model.config.model_type '%s'", job->path,
                          job->model.architecture, type);
    else if (type == NULL && json_object_set_new(config, "model_type", json_string(job->model.architecture)) != 0)
        status = eh_error(EH_INPUT, "%s: model.config is not a mapping in UTF-8", job->path);
    char *text = status == EH_OK ? json_dumps(config, 0) : NULL;
    if (text != NULL) {
        eh_free(&job->model.config);
        job->model.config = text;
    }
    json_decref(config);
    return status;
}

bool eh_data_is_learnt(const eh_job_data *data)
{
    return (data->use == EH_USE_TRAIN || data->use == EH_USE_BOTH) && data->task != EH_TASK_NONE;
}

bool eh_data_is_measured(const eh_job_data *data)
{
    return data->use == EH_USE_EVALUATE || data->use == EH_USE_BOTH || data->holdout > 0;
}

static bool holds_pairs(const eh_job_data *data)
{
    return is(data->format, "crows-pairs") || is(data->format, "pairs");
}

static void complete_data(eh_job_data *data)
{
    const bool plain = is(data->format, "jsonl") || is(data->format, "text");
    if ((int)data->use < 0)
        data->use = holds_pairs(data) || plain ? EH_USE_TRAIN : EH_USE_EVALUATE;
    if ((int)data->task < 0) {
        data->task = EH_TASK_NONE;
        if (plain)
            data->task = EH_TASK_LM;
        else if (holds_pairs(data) && data->use != EH_USE_EVALUATE)
            data->task = EH_TASK_GAP_FILL;
    }
}

static eh_status check_data(const eh_job *job, int64_t index)
{
    const eh_job_data *data = &job->data[index];
    char entry[160];
    snprintf(entry, sizeof entry, "%s: data entry %lld", job->path, (long long)index + 1);
    if (data->name == NULL || data->format == NULL || data->path == NULL)
        return eh_error(EH_INPUT, "%s needs '%s'", entry,
                        data->name == NULL     ? "name"
                        : data->format == NULL ? "format"
                                               : "path");
    const char *safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (data->name[0] == '\0' || strspn(data->name, safe) != strlen(data->name) || strlen(data->name) > 64)
        return eh_error(EH_INPUT,
                        "%s: the name '%s' must be of letters, digits, '-' and '_', as files are named after it", entry,
                        data->name);
    for (int64_t other = 0; other < index; other++)
        if (strcmp(job->data[other].name, data->name) == 0)
            return eh_error(EH_INPUT, "%s: the name '%s' is taken by entry %lld", entry, data->name,
                            (long long)other + 1);
    const bool pair_task = data->task == EH_TASK_GAP_FILL || data->task == EH_TASK_PREFERRED ||
                           (data->task == EH_TASK_REWRITE && !is(data->format, "jsonl")); // prompts have completions
    if (pair_task && !holds_pairs(data))
        return eh_error(EH_INPUT, "%s ('%s'): this task needs pairs of sentences, which the format %s does not have",
                        entry, data->name, data->format);
    if (data->task == EH_TASK_NONE && data->use != EH_USE_EVALUATE)
        return eh_error(EH_INPUT, "%s ('%s'): use train needs a task", entry, data->name);
    return EH_OK;
}

static eh_status check_metric(const eh_job *job, int64_t index)
{
    const eh_job_metric *metric = &job->evaluate[index];
    if (metric->metric == NULL)
        return eh_error(EH_INPUT, "%s: evaluate entry %lld needs 'metric'", job->path, (long long)index + 1);
    if (metric->data == NULL)
        return EH_OK;
    for (int64_t d = 0; d < job->data_count; d++)
        if (strcmp(job->data[d].name, metric->data) == 0) {
            if (job->data[d].use != EH_USE_CONTROL || eh_data_is_measured(&job->data[d]))
                return EH_OK;
            return eh_error(EH_INPUT,
                            "%s: evaluate entry %lld (%s): all of '%s' is for the control neutral: give it a "
                            "'holdout' to be measured",
                            job->path, (long long)index + 1, metric->metric, metric->data);
        }
    return eh_error(EH_INPUT, "%s: evaluate entry %lld (%s): there is no data set named '%s'", job->path,
                    (long long)index + 1, metric->metric, metric->data);
}

// A control that can't be made is refused before anything is computed.
static eh_status check_controls(const eh_job *job)
{
    bool learns = false, pairs = false, text = false, capability = false;
    const unsigned which = job->controls.which;
    for (int64_t i = 0; i < job->data_count; i++) {
        learns = learns || eh_data_is_learnt(&job->data[i]);
        pairs = pairs || (eh_data_is_learnt(&job->data[i]) && holds_pairs(&job->data[i]));
        text = text || job->data[i].use == EH_USE_CONTROL;
    }
    for (int64_t i = 0; i < job->evaluate_count; i++)
        capability = capability || is(job->evaluate[i].metric, "perplexity");
    const char *what = NULL;
    if (which != 0 && job->evaluate_count == 0)
        what = "controls are there to be measured: 'evaluate' names no metric";
    else if ((which & ~(1u << EH_CONTROL_REPEAT)) != 0 && !learns)
        what = "controls stand beside a treatment: no data set of the job is trained on";
    else if ((which & (1u << EH_CONTROL_PLACEBO | 1u << EH_CONTROL_REVERSED)) != 0 && !pairs)
        what = "the controls placebo and reversed turn pairs round: no data set with pairs is trained on";
    else if ((which & 1u << EH_CONTROL_NEUTRAL) != 0 && !text)
        what = "the control neutral needs text to be trained on: a data set with 'format: text, use: control' (with a "
               "'holdout', that part of it is measured)";
    else if ((which & 1u << EH_CONTROL_DAMAGE) != 0 && !capability)
        what = "the control damage is made as capable as the treated model, so capability must be measured: add "
               "{metric: perplexity} to 'evaluate'";
    return what == NULL ? EH_OK : eh_error(EH_INPUT, "%s: %s", job->path, what);
}

// Methods that don't go together are refused before anything is computed.
static eh_status check_train(const eh_job *job)
{
    bool replays = false;
    for (int64_t i = 0; i < job->data_count; i++)
        replays = replays || (eh_data_is_learnt(&job->data[i]) && job->data[i].replay > 0);
    const char *what = NULL;
    if (is(job->memory.offload, "parameters"))
        what = "memory.offload: parameters is not in this version";
    else if (is(job->train.method, "freeze") && (job->train.freeze == NULL || job->train.freeze[0] == '\0'))
        what = "train.method is freeze: say in train.freeze which weights learn, such as norms+positions";
    else if (is(job->train.method, "lora") && is(job->train.merge, "false") && job->model.path == NULL)
        what = "train.merge: false needs model.path: an adapter says by its folder which model it adapts, and random "
               "weights have none";
    else if (job->train.fisher > 0 && job->memory.zero > 1)
        what = "train.fisher takes memory.zero: 1 at most: it squares the gradients of single examples, which are "
               "whole nowhere at levels 2 and 3";
    else if (job->train.fisher > 0 && job->train.l2 == 0)
        what = "train.fisher weighs what train.l2 pulls: give that too";
    else if (job->train.fisher > 0 && !replays)
        what = "train.fisher needs general text: a data set with replay above 0";
    return what == NULL ? EH_OK : eh_error(EH_INPUT, "%s: %s", job->path, what);
}

eh_status eh_job_complete(eh_job *job)
{
    EH_TRY(complete_name(job));
    EH_TRY(check_model(job));
    EH_TRY(complete_config(job));
    for (int64_t i = 0; i < job->data_count; i++) {
        complete_data(&job->data[i]);
        EH_TRY(check_data(job, i));
    }
    for (int64_t i = 0; i < job->evaluate_count; i++) EH_TRY(check_metric(job, i));
    EH_TRY(check_train(job));
    return check_controls(job);
}
