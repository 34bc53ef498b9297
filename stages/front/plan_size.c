// How large a training's batches are.
#include <stdio.h>

#include "core/memory.h"
#include "io/shard.h"
#include "plan.h"
#include "train/batches.h"

static eh_status add_data_set(const eh_job *job, const eh_job_data *data, eh_training_set *set)
{
    eh_examples examples = {0};
    char folder[4096], *layout = NULL;
    snprintf(folder, sizeof folder, "%s/shards", job->output);
    eh_status status = eh_shards_attribute(folder, data->name, "layout", &layout);
    if (status == EH_OK)
        status = eh_shards_read(folder, data->name, &examples);
    if (status == EH_OK)
        status = eh_training_set_add(set, data, layout, &examples);
    eh_examples_deinit(&examples);
    eh_free(&layout);
    return status;
}

static eh_status measure_batches(const eh_job *job, const eh_training_set *set, eh_training_size *size)
{
    eh_batches batches = {0};
    eh_status status = eh_batches_init(set, &job->train, job->seed, &batches);
    if (status == EH_OK) {
        size->limits = batches.limits;
        size->steps = batches.step_count;
        size->examples = set->count;
        size->measured = true;
        const int64_t tokens = set->id_offsets[set->count] + set->decoder_offsets[set->count];
        size->tokens = (double)tokens / (double)set->count * (double)job->train.batch;
        size->labels = (double)set->label_offsets[set->count] / (double)set->count * (double)job->train.batch;
    }
    eh_batches_deinit(&batches);
    return status;
}

static eh_status read_shards(const eh_job *job, const eh_model_outline *outline, eh_training_size *size)
{
    const eh_model_facts facts = {outline->kind, outline->head, outline->vocab_size, outline->max_length,
                                  outline->special};
    eh_training_set set = {0};
    EH_TRY(eh_training_set_init(&facts, &set));
    eh_status status = EH_OK;
    for (int64_t d = 0; status == EH_OK && d < job->data_count; d++)
        if (eh_data_is_learnt(&job->data[d]))
            status = add_data_set(job, &job->data[d], &set);
    if (status == EH_OK)
        status = measure_batches(job, &set, size);
    eh_training_set_deinit(&set);
    return status;
}

// CrowS-Pairs by gap-fill: 1508 examples of about 28 tokens, 3 of them labelled.
static void assume_size(const eh_job *job, bool has_decoder, eh_training_size *size)
{
    enum { EXAMPLES = 1508, TOKENS = 28, LONGEST = 60, LABELS = 3 };
    const int64_t batch = job->train.batch, micro = (batch + job->train.micro_batches - 1) / job->train.micro_batches;
    *size = (eh_training_size){
        .limits = {.tokens = micro * LONGEST, .sequences = micro, .labels = micro * 2 * LABELS},
        .steps = job->train.epochs * ((EXAMPLES + batch - 1) / batch),
        .examples = EXAMPLES,
        .tokens = (double)(batch * TOKENS),
        .labels = (double)(batch * LABELS),
    };
    if (has_decoder)
        size->limits.decoder_tokens = size->limits.tokens;
    if (job->train.max_steps > 0 && size->steps > job->train.max_steps)
        size->steps = job->train.max_steps;
}

void eh_plan_read_size(const eh_job *job, const eh_model_outline *outline, eh_training_size *size)
{
    if (read_shards(job, outline, size) != EH_OK) {
        eh_error_clear();
        assume_size(job, outline->kind == EH_ENCODER_DECODER, size);
    }
}
