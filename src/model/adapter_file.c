// Adapters as PEFT keeps them: adapter_config.json, and adapter_model.safetensors with PEFT's names.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/memory.h"
#include "model/model_internal.h"

static const char *task_type(eh_head head)
{
    return head == EH_HEAD_CAUSAL ? "CAUSAL_LM" : head == EH_HEAD_SEQ2SEQ ? "SEQ_2_SEQ_LM" : NULL;
}

static eh_status set(json_t *object, const char *key, json_t *value)
{
    return value != NULL && json_object_set_new(object, key, value) == 0
               ? EH_OK
               : eh_error(EH_MACHINE, "no memory for adapter_config.json");
}

// Full names of the adapted layers, which PEFT takes as they are.
static json_t *target_modules(const eh_layout *layout)
{
    json_t *list = json_array();
    for (int64_t p = layout->own_count; p < layout->count; p++) {
        if (layout->slots[p].role != EH_ADAPTER_A)
            continue;
        const char *name = layout->parameters[layout->slots[p].adapts].name;
        json_array_append_new(list, json_stringn(name, strlen(name) - strlen(".weight")));
    }
    return list;
}

static eh_status write_config(const eh_model *model, const char *folder, const char *base)
{
    const double alpha = model->adaptation.alpha;
    const char *task = task_type(model->t.head);
    eh_status status = EH_OK;
    json_t *config = json_pack("{s:s, s:I, s:f, s:s, s:b, s:b, s:b, s:b, s:b}", "peft_type", "LORA", "r",
                               (json_int_t)model->adaptation.rank, "lora_dropout", 0.0, "bias", "none",
                               "fan_in_fan_out", (int)model->t.weights_in_out, "inference_mode", 1, "init_lora_weights",
                               1, "use_rslora", 0, "use_dora", 0);
    if (config == NULL)
        return eh_error(EH_MACHINE, "no memory for adapter_config.json");
    const bool whole = alpha == floor(alpha) && fabs(alpha) < 1e15;
    EH_TRY_OR(done, set(config, "lora_alpha", whole ? json_integer((json_int_t)alpha) : json_real(alpha)));
    EH_TRY_OR(done, set(config, "base_model_name_or_path", base != NULL ? json_string(base) : json_null()));
    EH_TRY_OR(done, set(config, "task_type", task != NULL ? json_string(task) : json_null()));
    EH_TRY_OR(done, set(config, "target_modules", target_modules(&model->layout)));
    status = eh_save_json(folder, "adapter_config.json", config);
done:
    json_decref(config);
    return status;
}

static eh_status write_factors(eh_model *model, const char *folder)
{
    const eh_layout *layout = &model->layout;
    const int64_t count = layout->count - layout->own_count;
    eh_safetensors_entry *entries = NULL;
    eh_string path = {0}, *names = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(count, &entries));
    EH_TRY_OR(done, EH_ALLOC(count, &names));
    for (int64_t i = 0; i < count; i++) {
        const eh_parameter *parameter = &layout->parameters[layout->own_count + i];
        EH_TRY_OR(done, eh_string_printf(&names[i], "base_model.model.%s", parameter->name));
        entries[i] = (eh_safetensors_entry){.name = names[i].bytes,
                                            .dtype = "F32",
                                            .dimension_count = parameter->dimension_count,
                                            .size = (size_t)parameter->count * sizeof(float),
                                            .index = layout->own_count + i};
        memcpy(entries[i].shape, parameter->shape, sizeof entries[i].shape);
    }
    EH_TRY_OR(done, eh_string_printf(&path, "%s/adapter_model.safetensors", folder));
    status = eh_save_tensors(model, path.bytes, entries, count);
done:
    for (int64_t i = 0; names != NULL && i < count; i++) eh_string_deinit(&names[i]);
    eh_free(&names);
    eh_free(&entries);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_model_save_adapter(eh_model *model, const char *folder, const char *base)
{
    EH_ASSERT(model->adaptation.rank > 0);
    if (model->shared.how.level == 3 && eh_comm_rank(model->shared.how.comm) != 0)
        return eh_save_attend(model, model->layout.own_count, model->layout.count - model->layout.own_count);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return eh_error(EH_MACHINE, "%s: cannot make the folder: %s", folder, strerror(errno));
    EH_TRY(write_factors(model, folder));
    return write_config(model, folder, base);
}
