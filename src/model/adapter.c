// Low-rank adapters (Hu et al. 2021): which layers get them, where they lie, how they begin, and how they are merged.
// What they do in a pass is in linear.c; how PEFT writes them down, in adapter_file.c.
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"
#include "model/model_internal.h"

// --- Which layers ------------------------------------------------------------------------------------------------

// "h.0.mlp.dense" fits "dense", "mlp.dense", "h.*.dense" and "all-linear".
static bool fits(const char *word, const char *module)
{
    const size_t size = strlen(word), length = strlen(module);
    if (strcmp(word, "all-linear") == 0 || fnmatch(word, module, 0) == 0)
        return true;
    return length > size && module[length - size - 1] == '.' && strcmp(module + length - size, word) == 0;
}

// The layer's name: the weight's without ".weight".
static void module_of(const char *parameter, char module[256])
{
    snprintf(module, 256, "%.*s", (int)(strlen(parameter) - strlen(".weight")), parameter);
}

// Marks the weights that word `word` fits; false if there is none.
static bool mark(const eh_layout *layout, const char *word, uint8_t *chosen)
{
    bool any = false;
    for (int64_t p = 0; p < layout->own_count; p++) {
        char module[256];
        if (!eh_slot_is_linear(&layout->slots[p]))
            continue;
        module_of(layout->parameters[p].name, module);
        if (fits(word, module)) {
            chosen[p] = 1;
            any = true;
        }
    }
    return any;
}

static eh_status choose(const eh_layout *layout, const char *targets, uint8_t *chosen)
{
    char word[256];
    for (const char *at = targets; *at != '\0';) {
        const size_t size = strcspn(at, ",+ ");
        snprintf(word, sizeof word, "%.*s", (int)size, at);
        at += size;
        at += strspn(at, ",+ ");
        if (size == 0 || mark(layout, word, chosen))
            continue;
        char example[256] = "";
        for (int64_t p = 0; p < layout->own_count && example[0] == '\0'; p++)
            if (eh_slot_is_linear(&layout->slots[p]))
                module_of(layout->parameters[p].name, example);
        return eh_error(EH_INPUT,
                        "train.lora_targets: '%s' fits no linear layer of this model: names or ends of names, such as "
                        "that of '%s', patterns, or all-linear, joined by ','",
                        word, example);
    }
    return EH_OK;
}

// --- Where they lie ----------------------------------------------------------------------------------------------

// Layers that share a product, from weight `first` on.
static int64_t group_size(const eh_layout *layout, int64_t first)
{
    int64_t size = 1;
    while (first + size < layout->own_count && layout->slots[first + size].joined) size++;
    return size;
}

static int64_t inputs_of(const eh_parameter *parameter, bool in_out)
{
    return parameter->shape[in_out ? 0 : 1];
}

static int64_t outputs_of(const eh_parameter *parameter, bool in_out)
{
    return parameter->shape[in_out ? 1 : 0];
}

static eh_status add_factor(eh_layout *layout, int64_t weight, eh_role role, bool joined, int64_t rank, bool in_out)
{
    const eh_parameter *adapted = &layout->parameters[weight];
    char module[256], name[300];
    module_of(adapted->name, module);
    snprintf(name, sizeof name, "%s.lora_%s.weight", module, role == EH_ADAPTER_A ? "A" : "B");
    eh_parameter parameter = {.name = name, .dimension_count = 2, .decays = true, .trains = true};
    parameter.shape[0] = role == EH_ADAPTER_A ? rank : outputs_of(adapted, in_out);
    parameter.shape[1] = role == EH_ADAPTER_A ? inputs_of(adapted, in_out) : rank;
    const eh_slot *its = &layout->slots[weight];
    const eh_slot slot = {.role = role, .stack = its->stack, .layer = EH_LAYERLESS, .joined = joined, .adapts = weight};
    return eh_layout_add(layout, &parameter, &slot);
}

static eh_status add_group(eh_layout *layout, int64_t first, const uint8_t *chosen, int64_t rank, bool in_out)
{
    static const eh_role factors[] = {EH_ADAPTER_A, EH_ADAPTER_B};
    const int64_t size = group_size(layout, first);
    for (int f = 0; f < 2; f++) {
        bool joined = false;
        for (int64_t p = first; p < first + size; p++)
            if (chosen[p]) {
                EH_TRY(add_factor(layout, p, factors[f], joined, rank, in_out));
                joined = true;
            }
    }
    return EH_OK;
}

eh_status eh_adapters_add(const eh_arch *arch, const eh_transformer *t, const eh_adaptation *adaptation,
                          eh_layout *layout)
{
    uint8_t *chosen = NULL;
    const char *chosen_by_peft = arch->lora_targets != NULL ? arch->lora_targets : "all-linear";
    const char *targets = adaptation->targets;
    EH_TRY(EH_ALLOC(layout->own_count, &chosen));
    eh_status status = choose(layout, targets == NULL || targets[0] == '\0' ? chosen_by_peft : targets, chosen);
    for (int64_t p = 0; p < layout->own_count; p++) layout->parameters[p].trains = false;
    for (int64_t p = 0; status == EH_OK && p < layout->own_count; p++)
        if (!layout->slots[p].joined)
            status = add_group(layout, p, chosen, adaptation->rank, t->weights_in_out);
    eh_free(&chosen);
    return status;
}

// --- Products that several layers share --------------------------------------------------------------------------

// The adapters of weights [weight, weight + joined): the first A, the number of parts.
static int64_t find_parts(const eh_layout *layout, int64_t weight, int64_t joined, int64_t *parts)
{
    int64_t first = -1;
    *parts = 0;
    for (int64_t p = layout->own_count; p < layout->count; p++) {
        const eh_slot *slot = &layout->slots[p];
        if (slot->role != EH_ADAPTER_A || slot->adapts < weight || slot->adapts >= weight + joined)
            continue;
        first = first < 0 ? p : first;
        ++*parts;
    }
    return first;
}

int64_t eh_adapters_width(const eh_model *model)
{
    int64_t widest = 0;
    for (int64_t p = 0; p < model->layout.own_count; p++) {
        int64_t parts;
        find_parts(&model->layout, p, group_size(&model->layout, p), &parts);
        widest = parts > widest ? parts : widest;
    }
    return widest * model->adaptation.rank;
}

int64_t eh_adapters_joined_count(const eh_model *model)
{
    int64_t most = 1;
    for (int64_t p = 0; p < model->layout.own_count; p++) {
        int64_t parts;
        const int64_t size = group_size(&model->layout, p);
        find_parts(&model->layout, p, size, &parts);
        const int64_t outputs = size * outputs_of(&model->layout.parameters[p], model->t.weights_in_out);
        const int64_t count = outputs * parts * model->adaptation.rank;
        if (size > 1 && count > most)
            most = count;
    }
    return most;
}

// Row o of part number j, whose layer is number q of the product, is piece j of the joined matrix's row q outputs + o.
static eh_status make_index(eh_model *model)
{
    const eh_layout *layout = &model->layout;
    int32_t *index = NULL;
    int64_t count = 0;
    eh_status status = EH_OK;
    for (int64_t p = layout->own_count; p < layout->count; p++)
        if (layout->slots[p].role == EH_ADAPTER_B)
            count += layout->parameters[p].shape[0];
    EH_TRY(EH_ALLOC(count, &index));
    int64_t next = 0;
    for (int64_t p = layout->own_count, part = 0; p < layout->count; p++) {
        if (layout->slots[p].role != EH_ADAPTER_B)
            continue;
        part = layout->slots[p].joined ? part + 1 : 0;
        int64_t first = layout->slots[p].adapts, parts;
        while (layout->slots[first].joined) first--;
        find_parts(layout, first, group_size(layout, first), &parts);
        const int64_t outputs = layout->parameters[p].shape[0], before = layout->slots[p].adapts - first;
        for (int64_t o = 0; o < outputs; o++) index[next++] = (int32_t)((before * outputs + o) * parts + part);
    }
    const eh_tensor all = {.dtype = EH_I32, .dimension_count = 1, .shape = {count}};
    EH_TRY_OR(done, eh_buffer_new(model->backend, eh_tensor_bytes(&all), "adapters", &model->adapter_index));
    eh_tensor placed = all;
    placed.buffer = model->adapter_index;
    status = eh_backend_upload(model->backend, index, &placed);
done:
    eh_free(&index);
    return status;
}

void eh_adapters_bind(const eh_model *model, int64_t weight, int64_t joined, eh_linear *linear)
{
    const eh_layout *layout = &model->layout;
    eh_adapter *adapter = &linear->adapter;
    if (model->adaptation.rank == 0)
        return;
    int64_t parts, index_before = 0;
    const int64_t a = find_parts(layout, weight, joined, &parts), b = a + parts, rank = model->adaptation.rank;
    if (a < 0)
        return;
    const eh_slot *slots = layout->slots;
    *adapter = (eh_adapter){.part_count = parts,
                            .rank = rank,
                            .scale = (float)(model->adaptation.alpha / (double)rank),
                            .a = slots[a].matrix,
                            .b = slots[b].matrix,
                            .grad_a = slots[a].gradient,
                            .grad_b = slots[b].gradient,
                            .work = &model->work.adapter};
    const int64_t outputs = slots[b].matrix.shape[0];
    adapter->outputs = joined * outputs;
    adapter->a.shape[0] = adapter->grad_a.shape[0] = parts * rank;
    adapter->b.shape[0] = adapter->grad_b.shape[0] = parts * outputs;
    for (int64_t p = layout->own_count; p < b; p++)
        index_before += slots[p].role == EH_ADAPTER_B ? layout->parameters[p].shape[0] : 0;
    if (joined > 1)
        adapter->index = (eh_tensor){.buffer = model->adapter_index,
                                     .offset = (size_t)index_before * sizeof(int32_t),
                                     .dtype = EH_I32,
                                     .dimension_count = 1,
                                     .shape = {parts * outputs}};
}

// --- First and last values ---------------------------------------------------------------------------------------

// Kaiming's uniform with a = sqrt(5), as PEFT draws A: within 1/sqrt(inputs).
static eh_status draw(eh_model *model, int64_t p)
{
    const eh_parameter *parameter = &model->layout.parameters[p];
    const double bound = 1 / sqrt((double)parameter->shape[1]);
    const uint64_t seed = model->adaptation.seed ^ eh_name_key(parameter->name);
    float *values = NULL;
    int64_t first, count;
    const eh_tensor own = eh_sharing_own_part(model, p, &first, &count);
    EH_TRY(EH_ALLOC(count, &values));
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(bound * (2 * eh_random_uniform(seed, EH_STREAM_WEIGHTS, (uint64_t)(first + i)) - 1));
    const eh_tensor flat = {
        .buffer = own.buffer, .offset = own.offset, .dtype = EH_F32, .dimension_count = 1, .shape = {count}};
    const eh_status status = eh_backend_upload(model->backend, values, &flat);
    eh_tensor_release(&flat);
    eh_free(&values);
    return status;
}

// Memory is 0 when it is new, and so is B.
eh_status eh_adapters_init(eh_model *model)
{
    if (model->adaptation.rank == 0)
        return EH_OK;
    EH_TRY(make_index(model));
    for (int64_t p = model->layout.own_count; p < model->layout.count; p++)
        if (model->layout.slots[p].role == EH_ADAPTER_A)
            EH_TRY(draw(model, p));
    return EH_OK;
}

// --- Last values: merged into their matrices --------------------------------------------------------------------

// The number of a matrix's A (then *b that of its B), or -1.
static int64_t find_factors(const eh_layout *layout, int64_t p, int64_t *b)
{
    int64_t parts = 0, a = -1;
    if (p < layout->own_count)
        a = find_parts(layout, p, 1, &parts);
    for (*b = a; a >= 0 && (layout->slots[*b].role != EH_ADAPTER_B || layout->slots[*b].adapts != p);) ++*b;
    return a;
}

bool eh_adapters_change(const eh_model *model, int64_t p)
{
    int64_t b;
    return find_factors(&model->layout, p, &b) >= 0;
}

// A copy of a parameter's master values; collective where they are divided.
static eh_status copy_whole(eh_model *model, int64_t p, eh_buffer **buffer, eh_tensor *value)
{
    const eh_parameter *parameter = &model->layout.parameters[p];
    const size_t bytes = (size_t)parameter->count * sizeof(float);
    float *host = NULL;
    if (*buffer == NULL || eh_buffer_bytes(*buffer) < bytes) {
        eh_buffer_free(buffer);
        EH_TRY(eh_buffer_new(model->backend, bytes, "a merged matrix", buffer));
    }
    *value = eh_parameter_view(*buffer, parameter, EH_F32, 0);
    if (model->shared.how.level < 3)
        return eh_convert(model->backend, &model->layout.slots[p].value, value);
    EH_TRY(EH_ALLOC(parameter->count, &host));
    eh_status status = eh_sharing_read(model, p, 0, parameter->count, host);
    if (status == EH_OK)
        status = eh_backend_upload(model->backend, host, value);
    eh_free(&host);
    return status;
}

void eh_merging_deinit(eh_merging *merging)
{
    eh_buffer_free(&merging->value);
    eh_buffer_free(&merging->a);
    eh_buffer_free(&merging->b);
}

eh_status eh_adapters_merge(eh_model *model, int64_t p, eh_merging *merging, eh_tensor *value)
{
    int64_t b;
    const int64_t a = find_factors(&model->layout, p, &b);
    eh_tensor factor_a, factor_b;
    *value = model->layout.slots[p].value;
    if (a < 0)
        return EH_OK;
    EH_TRY(copy_whole(model, p, &merging->value, value));
    EH_TRY(copy_whole(model, a, &merging->a, &factor_a));
    EH_TRY(copy_whole(model, b, &merging->b, &factor_b));
    const bool in_out = model->t.weights_in_out;
    return eh_multiply(model->backend,
                       &(eh_product){.a = in_out ? factor_a : factor_b,
                                     .b = in_out ? factor_b : factor_a,
                                     .y = *value,
                                     .transpose_a = in_out,
                                     .transpose_b = in_out,
                                     .alpha = (float)(model->adaptation.alpha / (double)model->adaptation.rank),
                                     .mode = EH_ADD});
}
