// Adapters as PEFT keeps them: adapter_config.json, and adapter_model.safetensors with PEFT's names.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

// --- Reading -----------------------------------------------------------------------------------------------------

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_string(value) && strcmp(json_string_value(value), "none") == 0);
}

// What changes the product beyond alpha / r, or brings weights of its own.
static eh_status check_plain(const char *path, const json_t *config)
{
    static const char *const others[] = {"use_rslora",    "use_dora",        "bias",      "rank_pattern",
                                         "alpha_pattern", "modules_to_save", "lora_bias", "target_parameters"};
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    if (type == NULL || strcmp(type, "LORA") != 0)
        return eh_error(EH_INPUT, "%s: peft_type is %s: only LORA can be read", path, type != NULL ? type : "missing");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!is_absent(json_object_get(config, others[i])))
            return eh_error(EH_INPUT, "%s: has %s: only plain LORA can be read", path, others[i]);
    if (json_string_value(json_object_get(config, "base_model_name_or_path")) == NULL)
        return eh_error(EH_INPUT, "%s: base_model_name_or_path does not say which model is adapted", path);
    if (json_integer_value(json_object_get(config, "r")) <= 0 || !json_is_number(json_object_get(config, "lora_alpha")))
        return eh_error(EH_INPUT, "%s: r or lora_alpha is missing", path);
    return EH_OK;
}

// *config stays NULL where the folder is no adapter.
static eh_status read_config(const char *folder, json_t **config)
{
    eh_string path = {0};
    json_error_t problem;
    *config = NULL;
    EH_TRY(eh_string_printf(&path, "%s/adapter_config.json", folder));
    eh_status status = EH_OK;
    if (access(path.bytes, F_OK) == 0) {
        *config = json_load_file(path.bytes, 0, &problem);
        status =
            *config != NULL ? check_plain(path.bytes, *config) : eh_error(EH_INPUT, "%s: %s", path.bytes, problem.text);
    }
    eh_string_deinit(&path);
    return status;
}

eh_status eh_adapter_find_base(const char *folder, char **base)
{
    json_t *config = NULL;
    *base = NULL;
    eh_status status = read_config(folder, &config);
    if (status == EH_OK && config != NULL)
        status = eh_copy_string(json_string_value(json_object_get(config, "base_model_name_or_path")), base);
    json_decref(config);
    return status;
}

// A matrix's three tensors.
typedef struct {
    const eh_stored_tensor *a, *b;
    eh_stored_tensor *weight;
} stored_adapter;

// The one that `a` begins, by its name; EH_INPUT where the others are missing or don't fit.
static eh_status find_stored(eh_model *model, const char *path, const eh_stored_tensors *factors,
                             const eh_stored_tensor *a, stored_adapter *adapter)
{
    static const char before[] = "base_model.model.", behind[] = ".lora_A.weight";
    const size_t size = strlen(a->name), ends = strlen(behind);
    char name[256];
    if (size <= strlen(before) + ends || size >= sizeof name || strncmp(a->name, before, strlen(before)) != 0)
        return eh_error(EH_INPUT, "%s: tensor '%s' is no factor of LoRA", path, a->name);
    snprintf(name, sizeof name, "%.*s.lora_B.weight", (int)(size - ends), a->name);
    const eh_stored_tensor *b = eh_stored_tensors_find(factors, name);
    snprintf(name, sizeof name, "%.*s.weight", (int)(size - ends - strlen(before)), a->name + strlen(before));
    const eh_stored_tensor *weight = eh_weights_find(model, name);
    if (b == NULL || weight == NULL)
        return eh_error(EH_INPUT, "%s: '%s' has no %s", path, a->name,
                        b == NULL ? "factor B" : "weight in the model that is adapted");
    const int outputs = model->t.weights_in_out ? 1 : 0;
    if (a->dimension_count != 2 || b->dimension_count != 2 || weight->dimension_count != 2 ||
        a->shape[0] != b->shape[1] || b->shape[0] != weight->shape[outputs] ||
        a->shape[1] != weight->shape[1 - outputs] || a->dtype == EH_STORED_OTHER || b->dtype == EH_STORED_OTHER ||
        weight->dtype == EH_STORED_OTHER)
        return eh_error(EH_INPUT, "%s: '%s' and its factor B don't fit weight '%s'", path, a->name, name);
    *adapter = (stored_adapter){a, b, &model->stored.tensors[weight - model->stored.tensors]};
    return EH_OK;
}

static eh_status place(eh_backend *backend, const eh_stored_tensor *in, eh_buffer **buffer, eh_tensor *tensor)
{
    float *values = NULL;
    EH_TRY(EH_ALLOC(in->count, &values));
    eh_stored_tensor_read(in, 0, in->count, values);
    eh_status status = eh_buffer_new(backend, (size_t)in->count * sizeof(float), "a merged matrix", buffer);
    *tensor =
        (eh_tensor){.buffer = *buffer, .dtype = EH_F32, .dimension_count = 2, .shape = {in->shape[0], in->shape[1]}};
    if (status == EH_OK)
        status = eh_backend_upload(backend, values, tensor);
    eh_free(&values);
    return status;
}

// The product of eh_adapters_merge, on the same backend: the same bits.
static eh_status merge_one(eh_model *model, const stored_adapter *adapter, double scale, float *result)
{
    eh_merging merging = {0};
    eh_tensor a, b, value;
    eh_status status = EH_OK;
    const bool in_out = model->t.weights_in_out;
    EH_TRY_OR(done, place(model->backend, adapter->weight, &merging.value, &value));
    EH_TRY_OR(done, place(model->backend, adapter->a, &merging.a, &a));
    EH_TRY_OR(done, place(model->backend, adapter->b, &merging.b, &b));
    EH_TRY_OR(done, eh_multiply(model->backend, &(eh_product){.a = in_out ? a : b,
                                                              .b = in_out ? b : a,
                                                              .y = value,
                                                              .transpose_a = in_out,
                                                              .transpose_b = in_out,
                                                              .alpha = (float)scale,
                                                              .mode = EH_ADD}));
    status = eh_backend_download(model->backend, &value, result);
done:
    eh_merging_deinit(&merging);
    return status;
}

static size_t merged_bytes_of(const eh_stored_tensor *weight)
{
    return ((size_t)weight->count * sizeof(float) + 63) / 64 * 64;
}

static eh_status merge_all(eh_model *model, const stored_adapter *adapters, int64_t count, const char *path,
                           double scale)
{
    eh_mapped_file none = {0}; // what lies in memory has nothing that can be read again: see eh_mapped_file_forget
    for (int64_t i = 0; i < count; i++) model->merged_bytes += merged_bytes_of(adapters[i].weight);
    EH_TRY(eh_map(model->merged_bytes, "merged matrices", &model->merged));
    EH_TRY(eh_copy_string(path, &none.path));
    eh_stored_tensors *stored = &model->stored;
    const eh_status status = EH_APPEND(&stored->files, &stored->file_count, &stored->file_capacity, none);
    if (status != EH_OK) {
        eh_mapped_file_close(&none);
        return status;
    }
    uint8_t *at = model->merged;
    for (int64_t i = 0; i < count; i++) {
        eh_stored_tensor *weight = adapters[i].weight;
        EH_TRY(merge_one(model, &adapters[i], scale, (float *)(void *)at));
        weight->bytes = at;
        weight->dtype = EH_STORED_F32;
        weight->dtype_name = "F32";
        weight->size = (size_t)weight->count * sizeof(float);
        weight->file = stored->file_count - 1;
        at += merged_bytes_of(weight);
    }
    return EH_OK;
}

eh_status eh_adapter_merge_stored(eh_model *model, const char *folder)
{
    static const char behind[] = ".lora_A.weight";
    eh_stored_tensors factors = {0};
    eh_string path = {0};
    stored_adapter *adapters = NULL;
    json_t *config = NULL;
    int64_t count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, read_config(folder, &config));
    EH_TRY_OR(done, eh_string_printf(&path, "%s/adapter_model.safetensors", folder));
    EH_TRY_OR(done, eh_safetensors_open(path.bytes, &factors));
    EH_TRY_OR(done, eh_stored_tensors_sort(&factors));
    EH_TRY_OR(done, EH_ALLOC(factors.count, &adapters));
    for (int64_t i = 0; i < factors.count; i++) {
        const char *name = factors.tensors[i].name;
        const size_t size = strlen(name);
        if (size > strlen(behind) && strcmp(name + size - strlen(behind), behind) == 0)
            EH_TRY_OR(done, find_stored(model, path.bytes, &factors, &factors.tensors[i], &adapters[count++]));
    }
    if (count == 0 || factors.count != 2 * count)
        EH_TRY_OR(done, eh_error(EH_INPUT, "%s: %lld tensors with %lld factors A: only LoRA's A and B can be read",
                                 path.bytes, (long long)factors.count, (long long)count));
    const double rank = (double)json_integer_value(json_object_get(config, "r"));
    status =
        merge_all(model, adapters, count, path.bytes, json_number_value(json_object_get(config, "lora_alpha")) / rank);
done:
    json_decref(config);
    eh_free(&adapters);
    eh_string_deinit(&path);
    eh_stored_tensors_close(&factors);
    return status;
}
