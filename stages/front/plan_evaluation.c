// The memory of evaluations, as evaluate itself will predict it: from the item with the longest text, where the shards
// are there; then also the time, from what a sample of the items asks.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/shard.h"
#include "metrics/evaluate.h"
#include "plan.h"
#include "stage_model.h"

#define MIB 1048576.0
#define PROGRAM (28 * MIB) // MPI, HDF5

typedef struct {
    const eh_planned_run *run;
    const eh_model_outline *outline;
    eh_tokenizer *tokenizer; // NULL: there is none yet
    eh_encoding encoding;
    bool prints;
    double most;    // bytes
    double seconds; // of all entries; NaN: of some it is not known
} evaluation_plan;

static eh_status open_tokenizer(const eh_job *job, eh_tokenizer **tokenizer)
{
    char *folder = NULL;
    eh_string path = {0};
    eh_status status = eh_job_tokenizer_folder(job, &folder);
    if (status == EH_OK && folder == NULL)
        status = eh_error(EH_INPUT, "the job names no tokenizer");
    if (status == EH_OK)
        status = eh_string_printf(&path, "%s/tokenizer.json", folder);
    if (status == EH_OK)
        status = eh_tokenizer_open(path.bytes, tokenizer);
    eh_string_deinit(&path);
    eh_free(&folder);
    return status;
}

// From what evaluate will ask; data NULL: the metric's own items.
static eh_status known_use(evaluation_plan *plan, const eh_job_metric *settings, const eh_metric *metric,
                           const eh_job_data *data, eh_inference_use *use, eh_evaluation_work *work)
{
    const eh_job *job = plan->run->job;
    eh_examples examples = {0};
    char shards[4096];
    if (plan->tokenizer == NULL)
        return eh_error(EH_INPUT, "no tokenizer");
    const eh_metric_setup setup = eh_metric_setup_planned(job, settings, data == NULL ? "" : data->format,
                                                          plan->outline, plan->tokenizer, &plan->encoding);
    snprintf(shards, sizeof shards, "%s/shards", job->output);
    eh_status status = data == NULL ? metric->items(&setup, &examples) : eh_shards_read(shards, data->name, &examples);
    if (status == EH_OK)
        status = eh_evaluation_use(metric, &setup, &examples, job->batch_tokens, plan->outline->vocab_size, use);
    if (status == EH_OK)
        status = eh_evaluation_work_of(metric, &setup, &examples, work);
    eh_examples_deinit(&examples);
    return status;
}

// Before the data are tokenized: prompts of 64 tokens, and as many after them.
static eh_inference_use assumed_use(const evaluation_plan *plan, const eh_metric *metric)
{
    enum { TOKENS = 64 };
    const bool decodes = plan->outline->kind == EH_ENCODER_DECODER;
    const int answers = eh_metric_answers(metric, plan->outline->kind);
    eh_inference_use use = eh_classification_use(plan->run->job->batch_tokens);
    if (decodes)
        use.batch.decoder_tokens = use.batch.tokens;
    if ((answers & (EH_LIKELIHOODS | EH_FILLS)) == 0)
        use.batch = (eh_batch_limits){0};
    if (answers & EH_FILLS)
        use.logit_rows = eh_fills_logit_rows(plan->run->job->batch_tokens, plan->outline->vocab_size);
    if ((answers & EH_GENERATIONS) == 0)
        return use;
    use.slots = use.logit_rows = eh_generation_slots(INT64_MAX, 0);
    use.slot_rows = decodes ? 1 + TOKENS : 2 * TOKENS;
    use.source_rows = decodes ? TOKENS : 0;
    use.prompts =
        (eh_batch_limits){decodes ? TOKENS : use.slots * TOKENS, decodes ? use.slots : 0, use.slots, use.slots};
    return use;
}

// All ranks at work: products at what the device is good for; a token that is written reads all weights besides, once
// for the texts that are written together. This machine's ranks share what was measured of it; GPUs have their own.
static double seconds_of(const eh_planned_run *run, const eh_model_outline *outline, const eh_evaluation_work *work)
{
    const eh_planned_device *device = &run->device;
    const eh_roofline_device *published = device->published;
    double tflops = device->tflops * device->share, gigabytes = device->gigabytes_per_second;
    if (published != NULL) {
        tflops =
            published->product_share * (device->compute == EH_F32 ? published->single_tflops : published->half_tflops);
        gigabytes = published->gigabytes_per_second * published->kernel_share;
    }
    const double head = 2 * (double)outline->vocab_size * (double)outline->hidden_size;
    const double layers = 2 * (double)outline->matrix_count, speed = tflops * 1e12;
    const double reading = (layers + head) / 2 * (double)eh_dtype_bytes(device->compute) / (gigabytes * 1e9);
    const double step = (layers + head) * (double)work->together / speed;
    const double scored = (layers * work->read + head * work->labels) / speed;
    return (scored + work->written / (double)work->together * fmax(step, reading)) /
           (published != NULL ? run->ranks : 1);
}

// Whether evaluate will refuse the kind of model: then nothing is asked of it, and nothing may be.
static bool is_refused(evaluation_plan *plan, const eh_job_metric *settings, const eh_metric *metric,
                       const eh_job_data *data)
{
    if (plan->tokenizer == NULL || metric->check == NULL)
        return false;
    const eh_metric_setup setup = eh_metric_setup_planned(plan->run->job, settings, data == NULL ? "" : data->format,
                                                          plan->outline, plan->tokenizer, &plan->encoding);
    if (metric->check(&setup) == EH_OK)
        return false;
    if (plan->prints)
        printf("    %s: not measured: %s\n", metric->name, eh_error_message());
    eh_error_clear();
    return true;
}

static eh_status plan_entry(evaluation_plan *plan, const eh_job_metric *settings, const eh_metric *metric,
                            const eh_job_data *data)
{
    const eh_planned_run *run = plan->run;
    const bool on_cpu = run->device.is_here && strcmp(run->job->device, "cuda") != 0;
    eh_inference_use use;
    eh_inference_memory memory, other;
    eh_string text = {0};
    char *config = NULL;
    bool lacks_classifier = false;
    eh_evaluation_work work = {0};
    if (is_refused(plan, settings, metric, data))
        return EH_OK;
    eh_status status = known_use(plan, settings, metric, data, &use, &work);
    const bool known = status == EH_OK;
    if (!known) {
        eh_error_clear();
        use = assumed_use(plan, metric);
    }
    EH_TRY_OR(done, eh_config_inference_memory(run->job->path, run->config, run->device.compute, on_cpu,
                                               run->device.packs, &use, &memory));
    if (metric->answers & EH_DIVERGENCES) { // and the model that it was trained from
        other = memory;
        eh_inference_memory_add(&other, &memory);
    }
    if ((metric->answers & EH_CLASSES) && settings->classifier != NULL) {
        const eh_inference_use texts = eh_classification_use(run->job->batch_tokens);
        lacks_classifier = eh_model_config_text(settings->classifier, &config) != EH_OK;
        if (lacks_classifier) {
            eh_error_clear();
        } else {
            EH_TRY_OR(done,
                      eh_config_inference_memory(settings->classifier, config, EH_F32, on_cpu, true, &texts, &other));
            eh_inference_memory_add(&other, &memory);
        }
    }
    const double together = (double)eh_inference_memory_sum(&memory) + PROGRAM;
    plan->most = together > plan->most ? together : plan->most;
    const double seconds = known ? seconds_of(run, plan->outline, &work) : NAN;
    plan->seconds += seconds;
    EH_TRY_OR(done, eh_inference_memory_print(&memory, &text));
    if (plan->prints)
        printf("    %s%s%s: %s; with the program %.1f MiB%s%s\n", metric->name, data == NULL ? "" : " on ",
               data == NULL ? "" : data->name, text.bytes, together / MIB, known ? "" : " (assumed: not tokenized yet)",
               lacks_classifier ? " (its classifier, which is not here yet, comes on top)" : "");
    if (plan->prints && known)
        printf("      %lld items, %.0f tokens read%s: about %.3g s%s\n", (long long)work.item_count, work.read,
               work.written > 0 ? ", and texts written to their greatest length" : "", seconds,
               metric->answers & EH_CLASSES ? ", without the classifier's" : "");
done:
    eh_string_deinit(&text);
    eh_free(&config);
    return status;
}

static eh_status plan_entries(evaluation_plan *plan, const eh_job_metric *settings)
{
    const eh_job *job = plan->run->job;
    const eh_metric *metric;
    EH_TRY(eh_metric_find(settings->metric, settings->protocol, &metric));
    if (metric->items != NULL && settings->data == NULL)
        return plan_entry(plan, settings, metric, NULL);
    for (int64_t d = 0; d < job->data_count; d++)
        if (eh_metric_wants(metric, settings, &job->data[d]))
            EH_TRY(plan_entry(plan, settings, metric, &job->data[d]));
    return EH_OK;
}

eh_status eh_plan_evaluation(const eh_planned_run *run, const eh_model_outline *outline, bool prints, double *bytes,
                             double *seconds)
{
    evaluation_plan plan = {.run = run, .outline = outline, .prints = prints};
    eh_status status = EH_OK;
    *bytes = *seconds = 0;
    if (run->job->evaluate_count == 0)
        return EH_OK;
    if (open_tokenizer(run->job, &plan.tokenizer) != EH_OK)
        eh_error_clear();
    if (prints)
        printf("  evaluate, each rank (weights are mapped, once a node, where the file has their type):\n");
    for (int64_t m = 0; status == EH_OK && m < run->job->evaluate_count; m++)
        status = plan_entries(&plan, &run->job->evaluate[m]);
    *bytes = plan.most;
    *seconds = plan.seconds;
    if (status == EH_OK && prints)
        printf("    %.1f MiB at most; %s\n", plan.most / MIB,
               plan.most * (run->device.is_here ? run->ranks : 1) <= run->device.memory_gib * 1024 * MIB
                   ? "it fits"
                   : "IT DOES NOT FIT");
    if (status == EH_OK && prints && isfinite(plan.seconds))
        printf("    about %.3g min for each model that is measured\n", plan.seconds / 60);
    eh_tokenizer_close(&plan.tokenizer);
    eh_encoding_deinit(&plan.encoding);
    return status;
}
