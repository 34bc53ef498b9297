#include "model/memory.h"

#include "model/cache.h"
#include "model/model_internal.h"

#define MIB 1048576.0

size_t eh_inference_memory_sum(const eh_inference_memory *memory)
{
    return memory->weights + memory->packed + memory->activations + memory->cache + memory->logits + memory->scratch;
}

void eh_inference_memory_add(const eh_inference_memory *more, eh_inference_memory *memory)
{
    memory->weights += more->weights;
    memory->packed += more->packed;
    memory->activations += more->activations;
    memory->cache += more->cache;
    memory->logits += more->logits;
    memory->scratch += more->scratch;
}

eh_status eh_inference_memory_print(const eh_inference_memory *memory, eh_string *text)
{
    const struct {
        const char *name;
        size_t bytes;
    } parts[] = {{"weights", memory->weights},         {"packed copies", memory->packed},
                 {"activations", memory->activations}, {"keys and values", memory->cache},
                 {"logits", memory->logits},           {"scratch", memory->scratch}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        EH_TRY(eh_string_printf(text, "%s%s %.1f", i > 0 ? ", " : "", parts[i].name, (double)parts[i].bytes / MIB));
    return eh_string_append_text(text, " MiB");
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static size_t larger_bytes(size_t a, size_t b)
{
    return a > b ? a : b;
}

// Weights as load_for_inference lays them out, or, without a file, a block in fp32 and its copy for products.
static size_t weight_bytes(const eh_model *model)
{
    const size_t element = eh_dtype_bytes(model->compute);
    const bool from_file = model->folder != NULL;
    size_t bytes = 0;
    for (int64_t p = 0; p < model->layout.count; p++)
        bytes += (size_t)model->layout.parameters[p].count * (from_file && eh_is_matrix(model, p) ? element : 4);
    return from_file || model->compute == EH_F32 ? bytes : bytes + element * (size_t)model->layout.weight_count;
}

static int64_t most_rows(const eh_batch_limits *limits)
{
    return larger(larger(limits->tokens, limits->decoder_tokens), limits->labels);
}

// Of the CPU backend (product.c, output.c): both operands of a product once more in fp32, one that is kept packed but
// not; a maximum and a sum for each label and block of 512 words; a MiB of a thread's own. Each grows by a quarter more
// than is asked for.
static size_t scratch_bytes(const eh_model *model, bool packed, const eh_inference_use *use)
{
    const size_t most = (size_t)64 << 20, rows = (size_t)larger(most_rows(&use->batch), most_rows(&use->prompts));
    const size_t blocks = (size_t)(eh_output_count(model) + 511) / 512;
    size_t bytes = (size_t)use->batch.labels * (8 * blocks + 4);
    for (int64_t p = 0; p < model->layout.count; p++) {
        const eh_parameter *parameter = &model->layout.parameters[p];
        if (model->layout.slots[p].layer == EH_LAYERLESS || parameter->dimension_count != 2)
            continue;
        const size_t inputs = (size_t)parameter->shape[model->t.weights_in_out ? 0 : 1];
        const size_t a = 4 * rows * inputs, b = packed ? 0 : 4 * (size_t)parameter->count;
        bytes = larger_bytes(bytes, (a <= most ? a : 0) + (b <= most ? b : 0));
    }
    return ((size_t)1 << 20) + bytes + bytes / 4;
}

// `packed`: the backend keeps packed copies, in the compute dtype.
static eh_inference_memory memory_of(const eh_model *model, bool on_cpu, bool packed, const eh_inference_use *use)
{
    const size_t row = 4 * (size_t)eh_output_count(model), logits = (size_t)use->logit_rows * row;
    const size_t device_logits = use->slots == 0 && logits > (size_t)64 << 20 ? (size_t)64 << 20 : logits;
    eh_inference_memory memory = {.weights = weight_bytes(model),
                                  .logits = (use->greedy || use->slots > 0 ? 0 : logits) + device_logits};
    memory.activations =
        larger_bytes(eh_model_activation_bytes(model, &use->batch), eh_model_activation_bytes(model, &use->prompts));
    if (use->slots > 0) {
        memory.cache = eh_cache_bytes(model, use->slots, use->slot_rows, use->source_rows,
                                      larger(use->prompts.decoder_tokens, use->prompts.tokens));
        memory.logits += use->greedy ? 0 : 3 * row; // the sampler's scores and order
    }
    if (on_cpu) {
        memory.packed = packed ? eh_dtype_bytes(model->compute) * (size_t)eh_weights_packable(model) : 0;
        memory.scratch = scratch_bytes(model, packed, use);
    }
    return memory;
}

eh_inference_memory eh_model_inference_memory(const eh_model *model, bool on_cpu, const eh_inference_use *use)
{
    return memory_of(model, on_cpu, eh_weights_packed(model), use);
}

eh_status eh_config_inference_memory(const char *where, const char *config_json, eh_dtype compute, bool on_cpu,
                                     bool packs, const eh_inference_use *use, eh_inference_memory *memory)
{
    char folder[] = "";
    eh_model model = {.compute = compute, .use = EH_FOR_INFERENCE, .folder = folder}; // only what describes it
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_arch_read(where, config_json, NULL, &model.config, &model.arch, &model.t));
    EH_TRY_OR(done, eh_layout_make(model.arch, &model.t, NULL, &model.layout));
    *memory = memory_of(&model, on_cpu, packs && eh_weights_packable(&model) > 0, use);
done:
    eh_layout_deinit(&model.layout);
    json_decref(model.config);
    return status;
}
