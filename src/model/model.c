// Opening, making and closing models, and what is known about them.
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/sha256.h"
#include "model/folder.h"
#include "model/model_internal.h"

// Slopes of attention with linear biases (Press et al. 2022): powers of 2^(-8/n); for n that is no power of two, those
// of the next lower power, then every other one of the next higher.
static eh_status make_slopes(eh_model *model)
{
    const int64_t heads = model->t.head_count;
    float *slopes = NULL;
    int64_t lower = 1;
    while (lower * 2 <= heads) lower *= 2;
    EH_TRY(EH_ALLOC(heads, &slopes));
    for (int64_t h = 0; h < heads; h++)
        slopes[h] = (float)(h < lower ? pow(2, -8.0 / (double)lower * (double)(h + 1))
                                      : pow(2, -4.0 / (double)lower * (double)(2 * (h - lower) + 1)));
    eh_status status = eh_buffer_new(model->backend, (size_t)heads * 4, "slopes", &model->slopes);
    if (status == EH_OK) {
        model->alibi_slopes =
            (eh_tensor){.buffer = model->slopes, .dtype = EH_F32, .dimension_count = 1, .shape = {heads}};
        status = eh_backend_upload(model->backend, slopes, &model->alibi_slopes);
    }
    eh_free(&slopes);
    return status;
}

static eh_status begin(eh_backend *backend, eh_dtype compute, eh_model_use use, const char *where, const char *config,
                       const eh_head *head, eh_model *model)
{
    model->backend = backend;
    model->compute = compute;
    model->use = use;
    EH_TRY(eh_arch_read(where, config, head, &model->config, &model->arch, &model->t));
    return model->t.position_bias == EH_ALIBI ? make_slopes(model) : EH_OK;
}

// T5's output layer is its own if the file has one that differs from the embedding.
static void tie_by_file(eh_model *model)
{
    const eh_stored_tensor *output = eh_stored_tensors_find(&model->stored, "lm_head.weight");
    const eh_stored_tensor *tokens = eh_stored_tensors_find(
        &model->stored, model->arch->tensor_name(&model->t, EH_STACK_ENCODER, EH_TOKEN_EMBEDDING));
    if (tokens == NULL)
        tokens = eh_stored_tensors_find(&model->stored, "shared.weight");
    model->t.tied = output == NULL || (tokens != NULL && output->size == tokens->size &&
                                       memcmp(output->bytes, tokens->bytes, tokens->size) == 0);
}

// Ranks that share a model end loading together; then what is derived from all their weights can be made.
static eh_status finish(eh_model *model, eh_comm *comm, eh_status status)
{
    if (comm != NULL)
        status = eh_comm_agree(comm, status);
    EH_TRY(status);
    EH_TRY(eh_weights_warn(model));
    EH_TRY(eh_weights_bind(model));
    return eh_model_weights_changed(model);
}

static void adapt(eh_model *model, const eh_adaptation *adaptation)
{
    if (adaptation == NULL)
        return;
    EH_ASSERT(model->use == EH_FOR_TRAINING);
    model->adaptation = *adaptation;
    model->adaptation.targets = model->adaptation.freeze = NULL;
}

static eh_status open_model(eh_backend *backend, const char *folder, const eh_head *head, eh_dtype compute,
                            eh_model_use use, const eh_sharing *sharing, const eh_adaptation *adaptation,
                            eh_model **model)
{
    eh_status status = EH_OK;
    eh_string config = {0}, path = {0};
    char *base = NULL; // of an adapter
    *model = NULL;
    EH_TRY_OR(done, EH_ALLOC(1, model));
    EH_TRY_OR(done, eh_adapter_find_base(folder, &base));
    const char *adapter = base != NULL ? folder : NULL;
    folder = base != NULL ? base : folder;
    EH_TRY_OR(done, eh_copy_string(folder, &(*model)->folder));
    EH_TRY_OR(done, eh_folder_read_config(folder, &path, &config));
    EH_TRY_OR(done, begin(backend, compute, use, path.bytes, config.bytes, head, *model));
    EH_TRY_OR(done, eh_folder_open_weights(folder, &(*model)->stored));
    if (adapter != NULL)
        EH_TRY_OR(done, eh_adapter_merge_stored(*model, adapter));
    if ((*model)->t.tied_by_file)
        tie_by_file(*model);
    adapt(*model, adaptation);
    EH_TRY_OR(done, eh_layout_make((*model)->arch, &(*model)->t, adaptation, &(*model)->layout));
    EH_TRY_OR(done, eh_sharing_init(*model, sharing));
    status = eh_weights_load(*model);
done:
    status = finish(*model, sharing ? sharing->comm : NULL, status);
    eh_string_deinit(&config);
    eh_string_deinit(&path);
    eh_free(&base);
    if (status != EH_OK)
        eh_model_close(model);
    return status;
}

eh_status eh_model_open(eh_backend *backend, const char *folder, eh_dtype compute, eh_model_use use, eh_model **model)
{
    return open_model(backend, folder, NULL, compute, use, NULL, NULL, model);
}

eh_status eh_model_open_head(eh_backend *backend, const char *folder, eh_head head, eh_dtype compute, eh_model_use use,
                             eh_model **model)
{
    return open_model(backend, folder, &head, compute, use, NULL, NULL, model);
}

eh_status eh_model_open_shared(eh_backend *backend, const char *folder, eh_dtype compute, const eh_sharing *sharing,
                               const eh_adaptation *adaptation, eh_model **model)
{
    return open_model(backend, folder, NULL, compute, EH_FOR_TRAINING, sharing, adaptation, model);
}

static eh_status new_model(eh_backend *backend, const char *config_json, uint64_t seed, eh_dtype compute,
                           eh_model_use use, const eh_sharing *sharing, const eh_adaptation *adaptation,
                           eh_model **model)
{
    eh_status status = EH_OK;
    *model = NULL;
    EH_TRY_OR(done, EH_ALLOC(1, model));
    EH_TRY_OR(done, begin(backend, compute, use, "the model's config", config_json, NULL, *model));
    adapt(*model, adaptation);
    EH_TRY_OR(done, eh_layout_make((*model)->arch, &(*model)->t, adaptation, &(*model)->layout));
    EH_TRY_OR(done, eh_sharing_init(*model, sharing));
    status = eh_weights_random(*model, seed);
done:
    status = finish(*model, sharing ? sharing->comm : NULL, status);
    if (status != EH_OK)
        eh_model_close(model);
    return status;
}

eh_status eh_model_new(eh_backend *backend, const char *config_json, uint64_t seed, eh_dtype compute, eh_model_use use,
                       eh_model **model)
{
    return new_model(backend, config_json, seed, compute, use, NULL, NULL, model);
}

eh_status eh_model_new_shared(eh_backend *backend, const char *config_json, uint64_t seed, eh_dtype compute,
                              const eh_sharing *sharing, const eh_adaptation *adaptation, eh_model **model)
{
    return new_model(backend, config_json, seed, compute, EH_FOR_TRAINING, sharing, adaptation, model);
}

void eh_model_close(eh_model **address)
{
    eh_model *model = *address;
    if (model == NULL)
        return;
    eh_work_deinit(model);
    eh_sharing_deinit(model);
    for (int s = 0; s < EH_STACK_COUNT; s++) eh_free(&model->w.stacks[s].layers);
    for (int64_t v = 0; v < model->view_count; v++) eh_buffer_free(&model->views[v]);
    eh_free(&model->views);
    eh_buffer_free(&model->weights);
    eh_buffer_free(&model->copy);
    eh_buffer_free(&model->gradients);
    eh_buffer_free(&model->slopes);
    eh_buffer_free(&model->adapter_index);
    eh_stored_tensors_close(&model->stored);
    eh_unmap(&model->merged, model->merged_bytes);
    eh_free(&model->kept);
    eh_layout_deinit(&model->layout);
    json_decref(model->config);
    eh_string_deinit(&model->warning);
    eh_free(&model->folder);
    eh_free(address);
}

eh_model_kind eh_model_kind_of(const eh_model *model)
{
    return model->t.kind;
}

eh_head eh_model_head(const eh_model *model)
{
    return model->t.head;
}

const char *eh_model_type(const eh_model *model)
{
    return model->arch->model_type;
}

eh_dtype eh_model_compute_dtype(const eh_model *model)
{
    return model->compute;
}

bool eh_model_drops(const eh_model *model, float dropout)
{
    const eh_transformer *t = &model->t;
    const float own[] = {t->embedding_dropout, t->attention_dropout, t->hidden_dropout,
                         t->inner_dropout,     t->final_dropout,     t->head_dropout};
    for (size_t i = 0; dropout < 0 && i < sizeof own / sizeof *own; i++)
        if (own[i] > 0)
            return true;
    return dropout > 0;
}

int64_t eh_model_vocab_size(const eh_model *model)
{
    return model->t.vocab_size;
}

int64_t eh_model_max_length(const eh_model *model)
{
    return model->t.position_count > 0 ? model->t.position_count - model->t.position_offset : INT64_MAX;
}

int64_t eh_model_label_count(const eh_model *model)
{
    return model->t.label_count;
}

eh_special_ids eh_model_special_ids(const eh_model *model)
{
    return model->t.special;
}

const char *eh_model_label_name(const eh_model *model, int64_t label)
{
    char key[24];
    snprintf(key, sizeof key, "%lld", (long long)label);
    return json_string_value(json_object_get(json_object_get(model->config, "id2label"), key));
}

const char *eh_model_warning(const eh_model *model)
{
    return model->warning.bytes != NULL ? model->warning.bytes : "";
}

int64_t eh_model_parameter_count(const eh_model *model)
{
    return model->layout.count;
}

const eh_parameter *eh_model_parameters(const eh_model *model)
{
    return model->layout.parameters;
}

int64_t eh_model_weight_count(const eh_model *model)
{
    return model->layout.weight_count;
}

static eh_tensor whole_block(const eh_model *model, eh_buffer *buffer, eh_dtype dtype, int64_t count)
{
    const bool is_block = buffer != NULL && !eh_weights_mapped(model);
    return (eh_tensor){.buffer = is_block ? buffer : NULL, .dtype = dtype, .dimension_count = 1, .shape = {count}};
}

static int64_t held_count(const eh_model *model)
{
    return model->shared.how.level == 3 ? model->shared.partition.shard_count : model->layout.weight_count;
}

eh_tensor eh_model_weights(const eh_model *model)
{
    return whole_block(model, model->weights, EH_F32, held_count(model));
}

int64_t eh_model_gradient_count(const eh_model *model)
{
    return model->layout.gradient_count;
}

eh_tensor eh_model_gradients(const eh_model *model)
{
    return whole_block(model, model->gradients, EH_F32, model->layout.gradient_count);
}

eh_tensor eh_model_weight_copy(const eh_model *model)
{
    return whole_block(model, model->copy, model->compute, held_count(model));
}
