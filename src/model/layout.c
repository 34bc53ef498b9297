// From a description to the table of parameters: names, shapes, and where each lies in the block. What is one matrix in
// a product (query, key and value) lies together, whatever number of parameters it is.
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "model/model_internal.h"

#define ALIGNMENT 16 // elements between parameters: 64 bytes of fp32

typedef struct {
    const eh_arch *arch;
    const eh_transformer *t;
    eh_layout *layout;
    eh_stack stack;
    int64_t layer;
} layout_place;

// "h.#.ln" -> "h.3.ln.weight"; "~x" -> "bert.x.weight".
static void full_name(const layout_place *place, const char *pattern, const char *ending, char name[256])
{
    int used = 0;
    if (*pattern == '~') {
        used = snprintf(name, 256, "%s", place->arch->prefix);
        pattern++;
    }
    const char *number = strchr(pattern, '#');
    if (number == NULL)
        snprintf(name + used, 256 - (size_t)used, "%s%s", pattern, ending);
    else
        snprintf(name + used, 256 - (size_t)used, "%.*s%lld%s%s", (int)(number - pattern), pattern,
                 (long long)place->layer, number + 1, ending);
}

eh_status eh_layout_add(eh_layout *layout, const eh_parameter *wanted, const eh_slot *slot)
{
    char *copy = NULL;
    EH_TRY(eh_copy_string(wanted->name, &copy));
    const int64_t name_index = layout->count;
    int64_t name_count = layout->count, slot_count = layout->count;
    EH_TRY(EH_APPEND(&layout->names, &name_count, &layout->name_capacity, copy));
    eh_parameter parameter = *wanted;
    parameter.name = layout->names[name_index];
    parameter.count = parameter.dimension_count == 2 ? parameter.shape[0] * parameter.shape[1] : parameter.shape[0];
    EH_TRY(EH_APPEND(&layout->slots, &slot_count, &layout->slot_capacity, *slot));
    EH_TRY(EH_APPEND(&layout->parameters, &layout->count, &layout->capacity, parameter));
    return EH_OK;
}

static eh_status add(layout_place *place, eh_role role, bool is_bias, bool joined, int64_t rows, int64_t columns)
{
    eh_layout *layout = place->layout;
    const char *pattern = place->arch->tensor_name(place->t, place->stack, role);
    EH_ASSERT(pattern != NULL);
    char name[256];
    full_name(place, pattern, role == EH_OUTPUT_BIAS ? "" : is_bias ? ".bias" : ".weight", name);
    const bool is_norm = role == EH_EMBEDDING_NORM || role == EH_ATTENTION_NORM || role == EH_CROSS_NORM ||
                         role == EH_FEED_NORM || role == EH_FINAL_NORM || role == EH_HEAD_NORM;
    const eh_parameter parameter = {.name = name,
                                    .shape = {rows, columns},
                                    .dimension_count = columns > 0 ? 2 : 1,
                                    .decays = !is_norm && strstr(name, "bias") == NULL,
                                    .trains = true};
    const eh_slot slot = {
        .role = role, .stack = place->stack, .layer = place->layer, .is_bias = is_bias, .joined = joined};
    return eh_layout_add(layout, &parameter, &slot);
}

static eh_status add_norm(layout_place *place, eh_role role)
{
    EH_TRY(add(place, role, false, false, place->t->hidden_size, 0));
    return place->t->norm == EH_LAYER_NORM ? add(place, role, true, false, place->t->hidden_size, 0) : EH_OK;
}

static eh_status add_matrix(layout_place *place, eh_role role, bool joined, int64_t outputs, int64_t inputs)
{
    return place->t->weights_in_out ? add(place, role, false, joined, inputs, outputs)
                                    : add(place, role, false, joined, outputs, inputs);
}

static eh_status add_linear(layout_place *place, eh_role role, int64_t outputs, int64_t inputs)
{
    EH_TRY(add_matrix(place, role, false, outputs, inputs));
    return place->t->biases ? add(place, role, true, false, outputs, 0) : EH_OK;
}

// Several matrices with the same input, one behind the other; then their biases likewise.
static eh_status add_joined(layout_place *place, const eh_role *roles, int role_count, int64_t outputs, int64_t inputs)
{
    for (int i = 0; i < role_count; i++) EH_TRY(add_matrix(place, roles[i], i > 0, outputs, inputs));
    for (int i = 0; i < role_count && place->t->biases; i++) EH_TRY(add(place, roles[i], true, i > 0, outputs, 0));
    return EH_OK;
}

static eh_status add_layer(layout_place *place, bool has_cross)
{
    static const eh_role self[] = {EH_ATTENTION_QUERY, EH_ATTENTION_KEY, EH_ATTENTION_VALUE};
    static const eh_role cross[] = {EH_CROSS_KEY, EH_CROSS_VALUE};
    const eh_transformer *t = place->t;
    const int64_t hidden = t->hidden_size, width = t->head_count * t->head_size;
    EH_TRY(add_norm(place, EH_ATTENTION_NORM));
    if (t->qkv_layout == EH_QKV_SEPARATE)
        EH_TRY(add_joined(place, self, 3, width, hidden));
    else
        EH_TRY(add_linear(place, EH_ATTENTION_QKV, 3 * width, hidden));
    EH_TRY(add_linear(place, EH_ATTENTION_OUTPUT, hidden, width));
    if (has_cross) {
        EH_TRY(add_norm(place, EH_CROSS_NORM));
        EH_TRY(add_linear(place, EH_CROSS_QUERY, width, hidden));
        EH_TRY(add_joined(place, cross, 2, width, hidden));
        EH_TRY(add_linear(place, EH_CROSS_OUTPUT, hidden, width));
    }
    EH_TRY(add_norm(place, EH_FEED_NORM));
    EH_TRY(add_linear(place, EH_FEED_INNER, t->inner_size, hidden));
    if (t->gated)
        EH_TRY(add_linear(place, EH_FEED_GATE, t->inner_size, hidden));
    return add_linear(place, EH_FEED_OUTPUT, hidden, t->inner_size);
}

static eh_status add_stack(layout_place *place)
{
    const eh_transformer *t = place->t;
    if (t->position_bias == EH_RELATIVE_BUCKETS)
        EH_TRY(add(place, EH_RELATIVE_BIAS, false, false, t->bucket_count, t->head_count));
    for (place->layer = 0; place->layer < t->layer_count[place->stack]; place->layer++)
        EH_TRY(add_layer(place, place->stack == EH_STACK_DECODER && t->kind == EH_ENCODER_DECODER));
    place->layer = EH_LAYERLESS;
    return t->norm_first ? add_norm(place, EH_FINAL_NORM) : EH_OK;
}

static eh_status add_head(layout_place *place)
{
    const eh_transformer *t = place->t;
    if (t->head_dense)
        EH_TRY(add_linear(place, EH_HEAD_DENSE, t->hidden_size, t->hidden_size));
    if (t->head_norm)
        EH_TRY(add_norm(place, EH_HEAD_NORM));
    if (t->label_count > 0)
        return add_linear(place, EH_OUTPUT, t->label_count, t->hidden_size);
    if (!t->tied) // as an embedding: [vocabulary, hidden] in every architecture
        EH_TRY(add(place, EH_OUTPUT, false, false, t->vocab_size, t->hidden_size));
    return t->output_bias ? add(place, EH_OUTPUT_BIAS, true, false, t->vocab_size, 0) : EH_OK;
}

// --- Where they lie ----------------------------------------------------------------------------------------------

// A group begins where the layer changes; all that belongs to no layer and lies together is one.
static bool begins_group(const eh_layout *layout, int64_t p)
{
    const eh_slot *slot = &layout->slots[p], *before = slot - 1;
    return p == 0 || slot->layer != before->layer || (slot->layer != EH_LAYERLESS && slot->stack != before->stack);
}

// Joined matrices have one product: their gradients are left out only where all of them are frozen.
static bool has_gradient(const eh_layout *layout, int64_t p)
{
    int64_t first = p, last = p;
    while (layout->slots[first].joined) first--;
    while (last + 1 < layout->count && layout->slots[last + 1].joined) last++;
    for (int64_t i = first; i <= last; i++)
        if (layout->parameters[i].trains)
            return true;
    return false;
}

// The parameters of [begin, end) that have gradients, or those that have none, one behind the other.
static eh_status place_unit(eh_layout *layout, int64_t begin, int64_t end, bool frozen)
{
    eh_unit unit = {.first = layout->weight_count, .frozen = frozen};
    bool any = false;
    for (int64_t p = begin; p < end; p++) {
        eh_parameter *parameter = &layout->parameters[p];
        if (has_gradient(layout, p) == frozen)
            continue;
        any = true;
        if (!layout->slots[p].joined)
            layout->weight_count = (layout->weight_count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        parameter->offset = layout->weight_count;
        parameter->gradient = frozen ? -1 : layout->gradient_count + parameter->offset - unit.first;
        layout->slots[p].unit = layout->unit_count;
        layout->has_muted = layout->has_muted || (!frozen && !parameter->trains);
        layout->weight_count += parameter->count;
    }
    layout->weight_count = (layout->weight_count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    unit.count = layout->weight_count - unit.first;
    layout->gradient_count += frozen ? 0 : unit.count;
    return any ? EH_APPEND(&layout->units, &layout->unit_count, &layout->unit_capacity, unit) : EH_OK;
}

static eh_status place_all(eh_layout *layout)
{
    for (int64_t begin = 0, end; begin < layout->count; begin = end) {
        for (end = begin + 1; end < layout->count && !begins_group(layout, end);) end++;
        EH_TRY(place_unit(layout, begin, end, false));
        EH_TRY(place_unit(layout, begin, end, true));
    }
    return EH_OK;
}

eh_status eh_layout_make(const eh_arch *arch, const eh_transformer *t, const eh_adaptation *adaptation,
                         eh_layout *layout)
{
    layout_place place = {arch, t, layout, EH_STACK_ENCODER, EH_LAYERLESS};
    EH_TRY(add(&place, EH_TOKEN_EMBEDDING, false, false, t->vocab_size, t->hidden_size));
    if (t->position_count > 0)
        EH_TRY(add(&place, EH_POSITION_EMBEDDING, false, false, t->position_count, t->hidden_size));
    if (t->type_count > 0)
        EH_TRY(add(&place, EH_TYPE_EMBEDDING, false, false, t->type_count, t->hidden_size));
    if (t->embedding_norm)
        EH_TRY(add_norm(&place, EH_EMBEDDING_NORM));
    for (int stack = 0; stack < EH_STACK_COUNT; stack++) {
        place.stack = (eh_stack)stack;
        if (t->layer_count[stack] > 0)
            EH_TRY(add_stack(&place));
    }
    EH_TRY(add_head(&place));
    layout->own_count = layout->count;
    if (adaptation != NULL && adaptation->rank > 0)
        EH_TRY(eh_adapters_add(arch, t, adaptation, layout));
    else if (adaptation != NULL && adaptation->freeze != NULL)
        EH_TRY(eh_layout_freeze(adaptation->freeze, layout));
    return place_all(layout);
}

void eh_layout_deinit(eh_layout *layout)
{
    for (int64_t i = 0; i < layout->count; i++) eh_free(&layout->names[i]);
    eh_free(&layout->names);
    eh_free(&layout->slots);
    eh_free(&layout->parameters);
    eh_free(&layout->units);
    *layout = (eh_layout){0};
}

bool eh_slot_is_linear(const eh_slot *slot)
{
    switch (slot->role) {
    case EH_ATTENTION_QKV:
    case EH_ATTENTION_QUERY:
    case EH_ATTENTION_KEY:
    case EH_ATTENTION_VALUE:
    case EH_ATTENTION_OUTPUT:
    case EH_CROSS_QUERY:
    case EH_CROSS_KEY:
    case EH_CROSS_VALUE:
    case EH_CROSS_OUTPUT:
    case EH_FEED_INNER:
    case EH_FEED_GATE:
    case EH_FEED_OUTPUT:
    case EH_HEAD_DENSE:
        return !slot->is_bias;
    default:
        return false;
    }
}

int64_t eh_layout_matrix_count(const eh_layout *layout, bool trained)
{
    int64_t count = 0;
    for (int64_t p = 0; p < layout->count; p++) {
        const eh_slot *slot = &layout->slots[p];
        if (slot->layer != EH_LAYERLESS && !slot->is_bias && layout->parameters[p].dimension_count == 2 &&
            slot->role != EH_RELATIVE_BIAS && (!trained || layout->parameters[p].gradient >= 0))
            count += layout->parameters[p].count;
    }
    return count;
}
