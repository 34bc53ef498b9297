// shards + model -> fine-tuned model. The same program trains from random weights (model.architecture).
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"
#include "io/shard.h"
#include "stage.h"
#include "stage_model.h"
#include "train/train.h"

typedef struct {
    eh_stage stage;
    eh_model *model;
    eh_model *start; // train.kl: as it was
    eh_training_set examples;
} finetuning;

static eh_status open_model(finetuning *run)
{
    eh_backend *backend;
    eh_dtype compute;
    EH_TRY(eh_stage_backend(&run->stage, &backend, &compute));
    EH_TRY(eh_stage_starting_model(&run->stage, compute, EH_FOR_TRAINING, &run->model));
    return run->stage.job.train.kl > 0 ? eh_stage_starting_model(&run->stage, compute, EH_FOR_INFERENCE, &run->start)
                                       : EH_OK;
}

static eh_status read_data_set(finetuning *run, const eh_job_data *data)
{
    eh_examples examples = {0};
    char *folder = NULL, *layout = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_stage_path(&run->stage, &folder, "shards"));
    EH_TRY_OR(done, eh_shards_attribute(folder, data->name, "layout", &layout));
    EH_TRY_OR(done, eh_shards_read(folder, data->name, &examples));
    EH_TRY_OR(done, eh_training_set_add(&run->examples, data, layout, &examples));
done:
    eh_examples_deinit(&examples);
    eh_free(&folder);
    eh_free(&layout);
    return status;
}

static eh_status read_examples(finetuning *run)
{
    const eh_job *job = &run->stage.job;
    eh_model_facts facts = eh_model_facts_of(run->model);
    eh_status status = facts.kind == EH_ENCODER ? eh_stage_find_mask(&run->stage, &facts.special) : EH_OK;
    if (status == EH_OK)
        status = eh_training_set_init(&facts, &run->examples);
    for (int64_t d = 0; status == EH_OK && d < job->data_count; d++)
        if (eh_data_is_learnt(&job->data[d]))
            status = read_data_set(run, &job->data[d]);
    EH_TRY(eh_comm_agree(run->stage.comm, status));
    if (run->examples.dropped_label_count > 0)
        eh_log_warning(&run->stage.log, "%lld overlaid labels lie before their prompt: they are not learnt",
                       (long long)run->examples.dropped_label_count);
    return EH_OK;
}

// OUTPUT/model, or OUTPUT/step-N/model on the way there. Adapters go to OUTPUT/adapter too, unless train.merge: false
// has them in OUTPUT/model itself.
static eh_status save_model(void *context, int64_t step)
{
    finetuning *run = context;
    char *folder = NULL, *tokenizer = NULL, *adapter = NULL, name[48] = "model";
    eh_status status = EH_OK;
    if (step > 0)
        snprintf(name, sizeof name, "step-%lld/model", (long long)step);
    const bool divided = run->stage.job.memory.zero == 3; // then all ranks bring their weights
    const bool first = eh_comm_rank(run->stage.comm) == 0;
    const bool adapts = strcmp(run->stage.job.train.method, "lora") == 0;
    const bool merges = strcmp(run->stage.job.train.merge, "true") == 0;
    if ((first || divided) && step == 0 && adapts && merges) {
        EH_TRY_OR(done, eh_stage_path(&run->stage, &adapter, "adapter"));
        EH_TRY_OR(done, eh_model_save_adapter(run->model, adapter, run->stage.job.model.path));
    }
    if (first || divided) {
        EH_TRY_OR(done, eh_stage_path(&run->stage, &folder, "%s", name));
        EH_TRY_OR(done, eh_stage_tokenizer_folder(&run->stage, &tokenizer));
        EH_TRY_OR(done, eh_make_folders(folder));
        EH_TRY_OR(done, adapts && !merges
                            ? eh_model_save_unmerged(run->model, folder, run->stage.job.model.path, tokenizer)
                            : eh_model_save(run->model, folder, tokenizer));
    }
done:
    eh_free(&folder);
    eh_free(&tokenizer);
    eh_free(&adapter);
    if (status != EH_OK && divided && eh_comm_size(run->stage.comm) > 1)
        eh_comm_abort(run->stage.comm, status); // the others may wait for its weights
    return eh_comm_agree(run->stage.comm, status);
}

static eh_status train(finetuning *run)
{
    const eh_stage *stage = &run->stage;
    const eh_training training = {.comm = stage->comm,
                                  .backend = stage->backend,
                                  .model = run->model,
                                  .start = run->start,
                                  .log = &stage->log,
                                  .job = &stage->job,
                                  .set = &run->examples,
                                  .folder = stage->job.output,
                                  .key = stage->key,
                                  .keep = save_model,
                                  .keep_context = run};
    return eh_train(&training);
}

int main(int argc, char **argv)
{
    finetuning run = {0};
    eh_status status = eh_stage_begin(&run.stage, "finetune", argc, argv);
    if (status == EH_OK)
        status = open_model(&run);
    if (status == EH_OK)
        status = read_examples(&run);
    if (status == EH_OK)
        status = train(&run); // keeps the model as OUTPUT/model
    eh_training_set_deinit(&run.examples);
    eh_model_close(&run.model);
    eh_model_close(&run.start);
    return eh_stage_end(&run.stage, status);
}
