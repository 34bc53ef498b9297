// Where weights come from (a file, random numbers), where they lie, and their binding to the layers.
//   training:  one fp32 block of all parameters, one of gradients, and a copy in the compute dtype for products;
//   inference: matrices in the compute dtype, in the mapped file itself where it holds them so; the rest fp32.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/half.h"
#include "core/memory.h"
#include "core/philox.h"
#include "core/sha256.h"
#include "model/model_internal.h"

#define BLOCK 4096        // elements that one thread converts at a time
#define CHUNK 1048576     // of all threads
#define CONVERTED 4194304 // the same, from memory to memory

bool eh_is_matrix(const eh_model *model, int64_t p)
{
    const eh_role role = model->layout.slots[p].role;
    return model->layout.parameters[p].dimension_count == 2 && role != EH_RELATIVE_BIAS &&
           !(role == EH_FEED_OUTPUT && eh_branch_dtype(model) != model->compute);
}

eh_tensor eh_parameter_view(eh_buffer *buffer, const eh_parameter *parameter, eh_dtype dtype, int64_t offset)
{
    eh_tensor tensor = {.buffer = buffer,
                        .offset = (size_t)offset * eh_dtype_bytes(dtype),
                        .dtype = dtype,
                        .dimension_count = parameter->dimension_count};
    memcpy(tensor.shape, parameter->shape, sizeof tensor.shape);
    return tensor;
}

// --- Finding tensors in files ------------------------------------------------------------------------------------
static const eh_stored_tensor *find_spelling(const eh_stored_tensors *stored, const char *name)
{
    const eh_stored_tensor *found = eh_stored_tensors_find(stored, name);
    const char *norm = strstr(name, "LayerNorm.");
    if (found != NULL || norm == NULL)
        return found;
    char older[256]; // the first BERT files
    snprintf(older, sizeof older, "%.*sLayerNorm.%s", (int)(norm - name), name,
             strcmp(norm, "LayerNorm.weight") == 0 ? "gamma" : "beta");
    return eh_stored_tensors_find(stored, older);
}

const eh_stored_tensor *eh_weights_find(const eh_model *model, const char *name)
{
    const char *prefix = model->arch->prefix;
    const size_t size = strlen(prefix);
    const eh_stored_tensor *found = find_spelling(&model->stored, name);
    if (found == NULL && size > 0 && strncmp(name, prefix, size) == 0)
        found = find_spelling(&model->stored, name + size);
    return found;
}

static eh_status check_stored(const eh_model *model, const eh_parameter *parameter, const eh_stored_tensor *in)
{
    const char *path = model->stored.files[in->file].path;
    bool equal = in->dimension_count == parameter->dimension_count;
    for (int d = 0; equal && d < in->dimension_count; d++) equal = in->shape[d] == parameter->shape[d];
    if (!equal) {
        char found[160], expected[160];
        return eh_error(EH_INPUT, "%s: tensor '%s' has shape %s, config.json asks for %s", path, in->name,
                        eh_shape_text(in->shape, in->dimension_count, found),
                        eh_shape_text(parameter->shape, parameter->dimension_count, expected));
    }
    if (in->dtype == EH_STORED_OTHER)
        return eh_error(EH_INPUT, "%s: tensor '%s' is of type %s, weights must be F32, BF16 or F16", path, in->name,
                        in->dtype_name);
    return EH_OK;
}

static bool is_ignored(const eh_model *model, const char *name)
{
    for (const char *const *end = model->arch->ignored; *end != NULL; end++) {
        const size_t size = strlen(*end), length = strlen(name);
        if (length >= size && strcmp(name + length - size, *end) == 0)
            return true;
    }
    return false;
}

static eh_status warn_of_unused(eh_model *model)
{
    uint8_t *used = NULL;
    eh_status status = EH_OK;
    int64_t unused = 0;
    const char *first = NULL;
    EH_TRY(EH_ALLOC(model->stored.count, &used));
    for (int64_t p = 0; p < model->layout.own_count; p++) used[model->layout.slots[p].in - model->stored.tensors] = 1;
    for (int64_t i = 0; i < model->stored.count; i++)
        if (!used[i] && !is_ignored(model, model->stored.tensors[i].name)) {
            first = first == NULL ? model->stored.tensors[i].name : first;
            unused++;
        }
    if (unused > 0)
        status = eh_string_printf(&model->warning, "%lld tensors of the file are not used, such as '%s'\n",
                                  (long long)unused, first);
    eh_free(&used);
    return status;
}

static eh_status find_all(eh_model *model)
{
    for (int64_t p = 0; p < model->layout.own_count; p++) {
        const eh_parameter *parameter = &model->layout.parameters[p];
        const eh_stored_tensor *in = eh_weights_find(model, parameter->name);
        if (in == NULL)
            return eh_error(EH_INPUT, "%s: tensor '%s' is missing",
                            model->stored.file_count > 0 ? model->stored.files[0].path : model->folder,
                            parameter->name);
        EH_TRY(check_stored(model, parameter, in));
        model->layout.slots[p].in = in;
    }
    return warn_of_unused(model);
}

// --- Reading -----------------------------------------------------------------------------------------------------
static int64_t count_not_finite(const float *values, int64_t count)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < count; i++) bad += (eh_float_bits(values[i]) & 0x7f800000u) == 0x7f800000u;
    return bad;
}

// Writes values [first, first + count) to `place` as the dtype; NULL: they are looked at only. Returns how many are not
// finite.
static int64_t convert(const eh_stored_tensor *in, int64_t first, int64_t count, eh_dtype dtype, void *place)
{
    int64_t bad = 0;
#pragma omp parallel for reduction(+ : bad)
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        float block[BLOCK];
        const int64_t length = count - begin < BLOCK ? count - begin : BLOCK;
        float *values = place != NULL && dtype == EH_F32 ? (float *)place + begin : block;
        eh_stored_tensor_read(in, first + begin, length, values);
        bad += count_not_finite(values, length);
        if (place == NULL || dtype == EH_F32)
            continue;
        uint16_t *halves = (uint16_t *)place + begin;
        for (int64_t i = 0; i < length; i++)
            halves[i] = dtype == EH_BF16 ? eh_bf16_from_float(values[i]) : eh_fp16_from_float(values[i]);
    }
    return bad;
}

// Puts values [begin, begin + length) into `tensor`, a chunk at a time, so that the file's largest tensor is never in
// memory beside its copy; counts what is not finite.
static eh_status copy_in(eh_model *model, const eh_stored_tensor *in, int64_t begin, int64_t length,
                         const eh_tensor *tensor, int64_t *bad)
{
    char *staging = NULL, *host = eh_tensor_host(tensor);
    eh_status status = EH_OK;
    const int64_t chunk = length < CHUNK ? length : CHUNK;
    const size_t in_bytes = in->count > 0 ? in->size / (size_t)in->count : 0; // of a value
    const size_t out_bytes = eh_dtype_bytes(tensor->dtype);
    if (host == NULL)
        EH_TRY_OR(done, EH_ALLOC(chunk * (int64_t)out_bytes, &staging));
    for (int64_t first = 0; first < length; first += chunk) {
        const int64_t count = length - first < chunk ? length - first : chunk;
        const size_t offset = (size_t)first * out_bytes;
        *bad += convert(in, begin + first, count, tensor->dtype, host != NULL ? host + offset : staging);
        if (host == NULL) {
            const eh_tensor part = {.buffer = tensor->buffer,
                                    .offset = tensor->offset + offset,
                                    .dtype = tensor->dtype,
                                    .dimension_count = 1,
                                    .shape = {count}};
            EH_TRY_OR(done, eh_backend_upload(model->backend, staging, &part));
        }
        eh_mapped_file_forget(&model->stored.files[in->file], in->bytes + (size_t)(begin + first) * in_bytes,
                              (size_t)count * in_bytes);
    }
    eh_mapped_file_forget(&model->stored.files[in->file], in->bytes, in->size);
done:
    eh_free(&staging);
    return status;
}

eh_status eh_weights_warn(eh_model *model)
{
    int64_t *bad = NULL;
    const int64_t count = model->layout.count;
    eh_status status = EH_OK;
    EH_TRY(EH_ALLOC(count, &bad));
    for (int64_t p = 0; p < count; p++) bad[p] = model->layout.slots[p].bad;
    if (model->shared.how.level == 3) // each rank has seen its own
        EH_TRY_OR(done, eh_comm_sum_i64(model->shared.how.comm, bad, (int)count));
    for (int64_t p = 0; p < count; p++)
        if (bad[p] > 0)
            EH_TRY_OR(done,
                      eh_string_printf(&model->warning, "tensor '%s' holds %lld values that are NaN or infinite\n",
                                       model->layout.parameters[p].name, (long long)bad[p]));
done:
    eh_free(&bad);
    return status;
}

static eh_status load_for_training(eh_model *model)
{
    for (int64_t p = 0; p < model->layout.own_count; p++) {
        eh_slot *slot = &model->layout.slots[p];
        int64_t first, count;
        const eh_tensor own = eh_sharing_own_part(model, p, &first, &count);
        EH_TRY(copy_in(model, slot->in, first, count, &own, &slot->bad));
        eh_tensor_release(&own);
    }
    return EH_OK;
}

static eh_dtype stored_dtype(const eh_stored_tensor *in)
{
    return in->dtype == EH_STORED_F32 ? EH_F32 : in->dtype == EH_STORED_BF16 ? EH_BF16 : EH_F16;
}

// May the file's own bytes serve? Joined matrices must lie together, so they are copied.
static bool can_map(const eh_model *model, int64_t p)
{
    const eh_slot *slot = &model->layout.slots[p];
    const bool joins = p + 1 < model->layout.count && model->layout.slots[p + 1].joined;
    if (slot->joined || joins || slot->in->dtype == EH_STORED_F64 || slot->in->count == 0)
        return false;
    const eh_dtype wanted = eh_is_matrix(model, p) ? model->compute : EH_F32;
    return stored_dtype(slot->in) == wanted && (uintptr_t)slot->in->bytes % eh_dtype_bytes(wanted) == 0;
}

static eh_status map_in(eh_model *model, int64_t p)
{
    eh_slot *slot = &model->layout.slots[p];
    const eh_parameter *parameter = &model->layout.parameters[p];
    eh_buffer *view = NULL;
    EH_TRY(eh_buffer_view(model->backend, slot->in->bytes, slot->in->size, &view));
    const eh_status status = EH_APPEND(&model->views, &model->view_count, &model->view_capacity, view);
    if (status != EH_OK) {
        eh_buffer_free(&view);
        return status;
    }
    slot->value = slot->matrix = eh_parameter_view(view, parameter, stored_dtype(slot->in), 0);
    slot->bad = convert(slot->in, 0, slot->in->count, EH_F32, NULL);
    return EH_OK;
}

static eh_status load_for_inference(eh_model *model)
{
    int64_t halves = 0, floats = 0; // elements of the two blocks of what is copied
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            EH_TRY(eh_buffer_new(model->backend, (size_t)floats * 4, "weights", &model->weights));
            EH_TRY(eh_buffer_new(model->backend, (size_t)halves * 2, "weights", &model->copy));
            halves = floats = 0;
        }
        for (int64_t p = 0; p < model->layout.count; p++) {
            eh_slot *slot = &model->layout.slots[p];
            if (can_map(model, p)) {
                if (pass == 1)
                    EH_TRY(map_in(model, p));
                continue;
            }
            const eh_dtype dtype = eh_is_matrix(model, p) ? model->compute : EH_F32;
            int64_t *end = dtype == EH_F32 ? &floats : &halves;
            if (!slot->joined)
                *end = (*end + 31) / 32 * 32;
            if (pass == 1) {
                slot->value = eh_parameter_view(dtype == EH_F32 ? model->weights : model->copy,
                                                &model->layout.parameters[p], dtype, *end);
                slot->matrix = slot->value;
                EH_TRY(copy_in(model, slot->in, 0, slot->in->count, &slot->value, &slot->bad));
            }
            *end += model->layout.parameters[p].count;
        }
    }
    return EH_OK;
}

static eh_status make_blocks(eh_model *model)
{
    const int64_t count = model->layout.weight_count;
    const bool has_copy = model->compute != EH_F32;
    if (model->shared.how.level >= 2)
        EH_TRY(eh_sharing_make_gradients(model));
    if (model->shared.how.level == 3)
        return eh_sharing_make_weights(model);
    EH_TRY(eh_buffer_new(model->backend, (size_t)count * 4, "weights", &model->weights));
    if (model->use == EH_FOR_TRAINING && model->shared.how.level < 2)
        EH_TRY(eh_buffer_new(model->backend, (size_t)model->layout.gradient_count * 4, "gradients", &model->gradients));
    if (has_copy)
        EH_TRY(eh_buffer_new(model->backend, (size_t)count * 2, "weights for products", &model->copy));
    for (int64_t p = 0; p < model->layout.count; p++) {
        eh_slot *slot = &model->layout.slots[p];
        const eh_parameter *parameter = &model->layout.parameters[p];
        slot->value = eh_parameter_view(model->weights, parameter, EH_F32, parameter->offset);
        slot->matrix = has_copy && eh_is_matrix(model, p)
                           ? eh_parameter_view(model->copy, parameter, model->compute, parameter->offset)
                           : slot->value;
    }
    return EH_OK;
}

eh_status eh_weights_load(eh_model *model)
{
    EH_TRY(find_all(model));
    EH_TRY(eh_kept_find(model));
    if (model->use == EH_FOR_INFERENCE) {
        EH_TRY(load_for_inference(model));
    } else {
        EH_TRY(make_blocks(model));
        EH_TRY(eh_adapters_init(model));
        EH_TRY(load_for_training(model));
        if (model->kept_count == 0) {
            eh_stored_tensors_close(&model->stored);
            eh_unmap(&model->merged, model->merged_bytes);
        }
    }
    return EH_OK;
}

// --- Random weights ----------------------------------------------------------------------------------------------
static float random_std(const eh_model *model, const eh_slot *slot)
{
    return model->arch->initial_std != NULL ? model->arch->initial_std(&model->t, slot->role) : model->t.initial_std;
}

static bool is_norm_weight(const eh_slot *slot)
{
    return !slot->is_bias &&
           (slot->role == EH_EMBEDDING_NORM || slot->role == EH_ATTENTION_NORM || slot->role == EH_CROSS_NORM ||
            slot->role == EH_FEED_NORM || slot->role == EH_FINAL_NORM || slot->role == EH_HEAD_NORM);
}

uint64_t eh_name_key(const char *name)
{
    uint8_t digest[EH_SHA256_BYTES];
    eh_sha256 sha;
    eh_sha256_begin(&sha);
    eh_sha256_add(&sha, name, strlen(name));
    eh_sha256_end(&sha, digest);
    uint64_t key;
    memcpy(&key, digest, sizeof key);
    return key;
}

eh_status eh_weights_random(eh_model *model, uint64_t seed)
{
    eh_status status = EH_OK;
    float *values = NULL;
    EH_TRY(make_blocks(model));
    EH_TRY(eh_adapters_init(model));
    EH_TRY(EH_ALLOC(CHUNK, &values));
    for (int64_t p = 0; p < model->layout.own_count; p++) {
        const eh_slot *slot = &model->layout.slots[p];
        const eh_parameter *parameter = &model->layout.parameters[p];
        int64_t begin, length;
        const eh_tensor own = eh_sharing_own_part(model, p, &begin, &length);
        if (slot->is_bias || is_norm_weight(slot)) {
            if (length > 0)
                EH_TRY_OR(done, eh_fill(model->backend, slot->is_bias ? 0 : 1, &own));
            continue;
        }
        const uint64_t key = eh_name_key(parameter->name);
        const double deviation = random_std(model, slot);
        for (int64_t first = 0; first < length; first += CHUNK) {
            const int64_t count = length - first < CHUNK ? length - first : CHUNK;
            for (int64_t i = 0; i < count; i++)
                values[i] =
                    (float)(deviation * eh_random_normal(seed ^ key, EH_STREAM_WEIGHTS, (uint64_t)(begin + first + i)));
            const eh_tensor part = eh_tensor_rows(&own, first, count);
            EH_TRY_OR(done, eh_backend_upload(model->backend, values, &part));
            eh_tensor_release(&part);
        }
    }
done:
    eh_free(&values);
    return status;
}

bool eh_weights_mapped(const eh_model *model)
{
    return model->use == EH_FOR_INFERENCE && model->stored.count > 0;
}

eh_status eh_model_weights_changed(eh_model *model)
{
    if (eh_weights_mapped(model)) // nothing is derived
        return EH_OK;
    if (model->copy == NULL)
        return eh_model_weights_stepped(model);
    const eh_tensor weights = eh_model_weights(model), copy = eh_model_weight_copy(model);
    const int64_t count = eh_tensor_count(&weights);
    for (int64_t first = 0; first < count; first += CONVERTED) {
        const int64_t now = count - first < CONVERTED ? count - first : CONVERTED;
        const eh_tensor from = eh_tensor_rows(&weights, first, now), to = eh_tensor_rows(&copy, first, now);
        EH_TRY(eh_convert(model->backend, &from, &to));
        eh_tensor_release(&from);
    }
    return eh_model_weights_stepped(model);
}

eh_status eh_model_weights_stepped(eh_model *model)
{
    return model->shared.how.level == 3 ? eh_sharing_refresh(model) : EH_OK;
}
