#include "stage_model.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "job/step.h"

eh_status eh_job_tokenizer_folder(const eh_job *job, char **folder)
{
    const eh_job_model *model = &job->model;
    const char *path = model->tokenizer ? model->tokenizer : model->path;
    *folder = NULL;
    if (path == NULL)
        return EH_OK;
    struct stat about;
    const char *slash = strrchr(path, '/');
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        return eh_copy_string(path, folder);
    return slash ? eh_copy_bytes(path, (size_t)(slash - path), folder) : eh_copy_string(".", folder);
}

eh_status eh_stage_tokenizer_folder(const eh_stage *stage, char **folder)
{
    return eh_job_tokenizer_folder(&stage->job, folder);
}

// The ids of the tokenizer's special tokens, under the names that they have in config.json.
static void add_special_ids(const eh_tokenizer *tokenizer, json_t *config)
{
    static const char *const names[][3] = {{"bos_token_id", "<s>", "<|endoftext|>"},
                                           {"eos_token_id", "</s>", "<|endoftext|>"},
                                           {"pad_token_id", "<pad>", "[PAD]"},
                                           {"decoder_start_token_id", "<pad>", "<pad>"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int token = 1; token < 3; token++) {
            const int32_t id = eh_tokenizer_id(tokenizer, names[i][token]);
            if (id >= 0 && json_object_get(config, names[i][0]) == NULL)
                json_object_set_new(config, names[i][0], json_integer(id));
        }
}

// What a random model's config leaves out and the tokenizer knows.
static eh_status complete_from_tokenizer(const eh_job *job, bool may_lack, json_t *config)
{
    char *folder = NULL;
    eh_string path = {0};
    eh_tokenizer *tokenizer = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_job_tokenizer_folder(job, &folder));
    if (folder == NULL && json_object_get(config, "vocab_size") == NULL)
        EH_TRY_OR(done, eh_error(EH_INPUT,
                                 "%s: model.config has no vocab_size, and there is no model.tokenizer to take it from",
                                 job->path));
    if (folder == NULL)
        goto done;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/tokenizer.json", folder));
    if (may_lack && access(path.bytes, F_OK) != 0 && json_object_get(config, "vocab_size") != NULL)
        goto done;
    EH_TRY_OR(done, eh_tokenizer_open(path.bytes, &tokenizer));
    if (json_object_get(config, "vocab_size") == NULL)
        json_object_set_new(config, "vocab_size", json_integer(eh_tokenizer_vocab_size(tokenizer)));
    add_special_ids(tokenizer, config);
done:
    eh_tokenizer_close(&tokenizer);
    eh_string_deinit(&path);
    eh_free(&folder);
    return status;
}

eh_status eh_starting_config(const eh_job *job, bool may_lack_tokenizer, char **text)
{
    const eh_job_model *model = &job->model;
    eh_status status = EH_OK;
    json_t *config = model->config ? json_loads(model->config, 0, NULL) : json_object();
    if (!json_is_object(config))
        EH_TRY_OR(done, eh_error(EH_INPUT, "%s: model.config is not a mapping", job->path));
    json_object_set_new(config, "model_type", json_string(model->architecture));
    EH_TRY_OR(done, complete_from_tokenizer(job, may_lack_tokenizer, config));
    char *dumped = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    status = dumped ? eh_copy_string(dumped, text) : eh_error(EH_MACHINE, "out of memory");
    free(dumped);
done:
    json_decref(config);
    return status;
}

void eh_stage_warn_of_model(const eh_stage *stage, const char *folder, const eh_model *model)
{
    const char *line = eh_model_warning(model);
    for (size_t size; *line != '\0'; line += size + (line[size] == '\n')) {
        size = strcspn(line, "\n");
        eh_log_warning(&stage->log, "%s: %.*s", folder != NULL ? folder : "the model", (int)size, line);
    }
}

const eh_adaptation *eh_stage_adaptation(const eh_job *job, eh_adaptation *adaptation)
{
    const eh_job_train *train = &job->train;
    if (strcmp(train->method, "full") == 0)
        return NULL;
    if (strcmp(train->method, "lora") == 0)
        *adaptation = (eh_adaptation){train->lora_rank, train->lora_alpha, train->lora_targets, job->seed, NULL};
    else
        *adaptation = (eh_adaptation){.freeze = train->freeze};
    return adaptation;
}

eh_status eh_stage_starting_model(eh_stage *stage, eh_dtype compute, eh_model_use use, eh_model **model)
{
    const eh_job_model *wanted = &stage->job.model;
    const eh_job *job = &stage->job;
    const eh_sharing sharing = {.comm = stage->comm,
                                .level = (int)job->memory.zero,
                                .leaf_count = job->train.micro_batches,
                                .tree = strcmp(job->train.reduction, "tree") == 0,
                                .folder = strcmp(job->memory.offload, "optimizer") == 0 ? job->output : NULL};
    const bool shares = use == EH_FOR_TRAINING;
    char *config = NULL;
    eh_status status = EH_OK;
    eh_adaptation chosen;
    const eh_adaptation *adaptation = eh_stage_adaptation(job, &chosen);
    if (wanted->path) {
        status = shares ? eh_model_open_shared(stage->backend, wanted->path, compute, &sharing, adaptation, model)
                        : eh_model_open(stage->backend, wanted->path, compute, use, model);
    } else if (wanted->architecture) {
        status = eh_starting_config(&stage->job, false, &config);
        if (shares)
            status = eh_comm_agree(stage->comm, status);
        if (status == EH_OK)
            status = shares
                         ? eh_model_new_shared(stage->backend, config, job->seed, compute, &sharing, adaptation, model)
                         : eh_model_new(stage->backend, config, job->seed, compute, use, model);
    } else {
        status = eh_error(EH_INPUT, "%s: which model? Give model.path, or model.architecture to start from random",
                          stage->job.path);
    }
    eh_free(&config);
    status = eh_comm_agree(stage->comm, status);
    if (status == EH_OK)
        eh_stage_warn_of_model(stage, wanted->path, *model);
    return status;
}

eh_status eh_stage_phase_model(const eh_stage *stage, const char *phase, char **folder)
{
    static const char damaged[] = "control-damage-";
    if (strcmp(phase, "after") == 0)
        return eh_stage_path(stage, folder, "model");
    if (strncmp(phase, damaged, strlen(damaged)) == 0)
        return eh_stage_path(stage, folder, "control-damage/model-%s", phase + strlen(damaged));
    return eh_stage_path(stage, folder, "%s/model", phase);
}

eh_status eh_stage_open_tokenizer(const eh_stage *stage, const char *folder, eh_tokenizer **tokenizer)
{
    eh_string path = {0};
    if (folder == NULL)
        return eh_error(EH_INPUT, "%s: which tokenizer? Give model.tokenizer", stage->job.path);
    eh_status status = eh_string_printf(&path, "%s/tokenizer.json", folder);
    if (status == EH_OK)
        status = eh_tokenizer_open(path.bytes, tokenizer);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_stage_find_mask(const eh_stage *stage, eh_special_ids *special)
{
    char *folder = NULL;
    eh_tokenizer *tokenizer = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_job_tokenizer_folder(&stage->job, &folder));
    if (folder == NULL || special->mask >= 0)
        goto done;
    EH_TRY_OR(done, eh_stage_open_tokenizer(stage, folder, &tokenizer));
    special->mask = eh_tokenizer_mask(tokenizer);
done:
    eh_tokenizer_close(&tokenizer);
    eh_free(&folder);
    return status;
}
