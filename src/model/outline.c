#include "model/outline.h"

#include "core/memory.h"
#include "model/folder.h"
#include "model/model_internal.h"

eh_status eh_model_outline_of(const char *where, const char *config_json, eh_dtype compute, eh_model_use use,
                              const eh_batch_limits *limits, eh_model_outline *outline)
{
    eh_model model = {.compute = compute, .use = use}; // only what describes it
    eh_status status = EH_OK;
    *outline = (eh_model_outline){0};
    EH_TRY_OR(done, eh_arch_read(where, config_json, &model.config, &model.arch, &model.t));
    EH_TRY_OR(done, eh_layout_make(model.arch, &model.t, &model.layout));
    *outline = (eh_model_outline){
        .kind = model.t.kind,
        .head = model.t.head,
        .vocab_size = model.t.vocab_size,
        .hidden_size = model.t.hidden_size,
        .max_length = eh_model_max_length(&model),
        .special = model.t.special,
        .block_count = model.layout.weight_count,
        .matrix_count = eh_layout_matrix_count(&model.layout),
        .activation_bytes = eh_model_activation_bytes(&model, limits),
    };
    for (int64_t p = 0; p < model.layout.count; p++) outline->parameter_count += model.layout.parameters[p].count;
done:
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
