#include "model/outline.h"

#include "core/memory.h"
#include "model/folder.h"
#include "model/model_internal.h"

static void outline_training(const eh_model *model, const eh_memory_use *memory, eh_model_outline *outline)
{
    const eh_shared *shared = &model->shared;
    const size_t element = eh_dtype_bytes(model->compute), block = (size_t)model->layout.weight_count;
    const size_t held = memory->level == 3 ? (size_t)shared->partition.shard_count : block;
    const size_t passing = (size_t)(shared->kept_count + 2 * shared->window_count);
    const size_t passing_gradients = (size_t)(shared->kept_gradient_count + 2 * shared->gradient_window_count);
    outline->sum_count = shared->partition.sum_count;
    outline->state_count = memory->level == 0 ? model->layout.gradient_count : shared->partition.sum_count;
    outline->weight_bytes = 4 * held;
    outline->copy_bytes = model->compute == EH_F32 ? 0 : element * held;
    outline->gradient_bytes = 4 * (memory->level >= 2 ? passing_gradients : (size_t)model->layout.gradient_count);
    if (memory->level >= 2)
        outline->divided_bytes = eh_split_reducer_bytes(&shared->partition, memory->leaf_count, memory->tree);
    if (memory->level < 3)
        return;
    outline->gathered_bytes = element * passing + 4 * (size_t)shared->vector_count;
    outline->layer_bytes = element * (block - (size_t)shared->kept_count);
}

// Adapters are merged into a copy of one matrix at a time when the model is saved.
static size_t merged_bytes(const eh_model *model)
{
    int64_t most = 0;
    for (int64_t p = 0; p < model->layout.count; p++)
        if (eh_adapters_change(model, p) && model->layout.parameters[p].count > most)
            most = model->layout.parameters[p].count;
    return (size_t)most * sizeof(float);
}

eh_status eh_model_outline_of(const char *where, const char *config_json, eh_dtype compute, const eh_memory_use *memory,
                              const eh_batch_limits *limits, eh_model_outline *outline)
{
    eh_model model = {.compute = compute, // only what describes it
                      .use = memory ? EH_FOR_TRAINING : EH_FOR_INFERENCE,
                      .recompute = memory && memory->recompute};
    eh_status status = EH_OK;
    *outline = (eh_model_outline){0};
    EH_TRY_OR(done, eh_arch_read(where, config_json, NULL, &model.config, &model.arch, &model.t));
    if (memory != NULL && memory->adaptation != NULL)
        model.adaptation = *memory->adaptation;
    EH_TRY_OR(done, eh_layout_make(model.arch, &model.t, memory ? memory->adaptation : NULL, &model.layout));
    *outline = (eh_model_outline){
        .kind = model.t.kind,
        .head = model.t.head,
        .vocab_size = model.t.vocab_size,
        .hidden_size = model.t.hidden_size,
        .layer_count = model.t.layer_count[EH_STACK_ENCODER] + model.t.layer_count[EH_STACK_DECODER],
        .max_length = eh_model_max_length(&model),
        .model_type = model.arch->model_type,
        .special = model.t.special,
        .block_count = model.layout.weight_count,
        .gradient_count = model.layout.gradient_count,
        .matrix_count = eh_layout_matrix_count(&model.layout, false),
        .trained_matrix_count = eh_layout_matrix_count(&model.layout, true),
        .activation_bytes = eh_model_activation_bytes(&model, limits),
    };
    const eh_work_sizes sizes = eh_model_work_sizes(&model, limits);
    outline->device_work_bytes = eh_device_work_bytes(&sizes) + merged_bytes(&model);
    outline->packed_bytes = memory ? 0 : eh_dtype_bytes(compute) * (size_t)eh_weights_packable(&model);
    if (memory) {
        EH_TRY_OR(done, eh_sharing_outline(&model, memory->ranks));
        outline_training(&model, memory, outline);
    }
    for (int64_t p = 0; p < model.layout.count; p++) outline->parameter_count += model.layout.parameters[p].count;
done:
    eh_sharing_deinit(&model);
    eh_layout_deinit(&model.layout);
    json_decref(model.config);
    return status;
}

eh_status eh_model_config_text(const char *folder, char **config_json)
{
    eh_string path = {0}, config = {0};
    eh_status status = eh_folder_read_config(folder, &path, &config);
    if (status == EH_OK)
        status = eh_copy_bytes(config.bytes, config.size, config_json);
    eh_string_deinit(&path);
    eh_string_deinit(&config);
    return status;
}
