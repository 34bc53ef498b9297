// From the table of parameters to the layers of the transformer: each linear layer and norm gets views of its weights
// and of their gradients. A frozen parameter has no gradient, and the backward pass leaves it out.
#include "core/memory.h"
#include "model/model_internal.h"

static int64_t find_slot(const eh_model *model, eh_stack stack, int64_t layer, eh_role role, bool is_bias)
{
    for (int64_t p = 0; p < model->layout.count; p++) {
        const eh_slot *slot = &model->layout.slots[p];
        if (slot->role == role && slot->layer == layer && slot->is_bias == is_bias &&
            (slot->stack == stack || role < EH_RELATIVE_BIAS || role > EH_FINAL_NORM))
            return p;
    }
    return -1;
}

// A view of `count` parameters that lie together, from the first one's place.
static eh_tensor joined_view(const eh_tensor *first, int64_t count, bool is_bias)
{
    eh_tensor view = *first;
    if (!eh_tensor_exists(first))
        return view;
    EH_ASSERT(is_bias ? first->dimension_count == 1 : first->dimension_count == 2);
    view.shape[0] *= count;
    return view;
}

// Packed copies make inference faster: a decoding step of 8 sequences by 1.3 times, of one GPT-2 sequence (whose
// matrices are stored the other way) by 1.9, of 16 rows of a vocabulary by 2.3; bf16 gains only where the copy stays
// bf16, else it takes twice the weights. They are each rank's own, where the mapped file is shared, so a large model
// goes without.
static const int64_t packed_elements_most = (int64_t)128 << 20;

int64_t eh_weights_packable(const eh_model *model)
{
    const int64_t count = eh_layout_matrix_count(&model->layout, false) + eh_output_count(model) * model->t.hidden_size;
    return model->use == EH_FOR_INFERENCE && count <= packed_elements_most ? count : 0;
}

bool eh_weights_packed(const eh_model *model)
{
    return eh_weights_packable(model) > 0 && eh_backend_packs(model->backend, model->compute);
}

static void bind_pair(const eh_model *model, int64_t weight, int64_t bias, int64_t joined, eh_linear *linear)
{
    const eh_slot *slots = model->layout.slots;
    *linear = (eh_linear){.in_out = model->t.weights_in_out, .fresh = &model->fresh};
    if (weight < 0)
        return;
    linear->weight = joined_view(&slots[weight].matrix, joined, false);
    linear->grad_weight = joined_view(&slots[weight].gradient, joined, false);
    linear->constant = slots[weight].layer != EH_LAYERLESS && eh_weights_packed(model);
    if (bias >= 0) {
        linear->bias = joined_view(&slots[bias].value, joined, true);
        linear->grad_bias = joined_view(&slots[bias].gradient, joined, true);
    }
    eh_adapters_bind(model, weight, joined, linear);
}

static void bind_linear(const eh_model *model, eh_stack stack, int64_t layer, eh_role role, int64_t joined,
                        eh_linear *linear)
{
    bind_pair(model, find_slot(model, stack, layer, role, false), find_slot(model, stack, layer, role, true), joined,
              linear);
}

static void bind_norm(const eh_model *model, eh_stack stack, int64_t layer, eh_role role, eh_norm_layer *norm)
{
    const int64_t weight = find_slot(model, stack, layer, role, false),
                  bias = find_slot(model, stack, layer, role, true);
    *norm = (eh_norm_layer){.norm = {.kind = model->t.norm, .eps = model->t.norm_eps}};
    if (weight >= 0) {
        norm->norm.weight = model->layout.slots[weight].value;
        norm->grad_weight = model->layout.slots[weight].gradient;
    }
    if (bias >= 0) {
        norm->norm.bias = model->layout.slots[bias].value;
        norm->grad_bias = model->layout.slots[bias].gradient;
    }
}

static void bind_layer(const eh_model *model, eh_stack stack, int64_t l, eh_layer *layer)
{
    const bool separate = model->t.qkv_layout == EH_QKV_SEPARATE;
    bind_norm(model, stack, l, EH_ATTENTION_NORM, &layer->attention_norm);
    bind_norm(model, stack, l, EH_CROSS_NORM, &layer->cross_norm);
    bind_norm(model, stack, l, EH_FEED_NORM, &layer->feed_norm);
    bind_linear(model, stack, l, separate ? EH_ATTENTION_QUERY : EH_ATTENTION_QKV, separate ? 3 : 1, &layer->qkv);
    bind_linear(model, stack, l, EH_ATTENTION_OUTPUT, 1, &layer->attention_output);
    bind_linear(model, stack, l, EH_CROSS_QUERY, 1, &layer->cross_query);
    bind_linear(model, stack, l, EH_CROSS_KEY, 2, &layer->cross_key_value);
    bind_linear(model, stack, l, EH_CROSS_OUTPUT, 1, &layer->cross_output);
    bind_linear(model, stack, l, EH_FEED_INNER, 1, &layer->inner);
    bind_linear(model, stack, l, EH_FEED_GATE, 1, &layer->gate);
    bind_linear(model, stack, l, EH_FEED_OUTPUT, 1, &layer->feed_output);
}

static void bind_table(const eh_model *model, eh_role role, eh_tensor *value, eh_tensor *gradient)
{
    const int64_t p = find_slot(model, EH_STACK_ENCODER, EH_LAYERLESS, role, false);
    *value = p < 0 ? (eh_tensor){0} : model->layout.slots[p].matrix; // in bf16, as inference reads it
    *gradient = p < 0 ? (eh_tensor){0} : model->layout.slots[p].gradient;
}

static void bind_output(eh_model *model)
{
    eh_weights *w = &model->w;
    const bool has_labels = model->t.label_count > 0;
    const int64_t weight = find_slot(model, EH_STACK_ENCODER, EH_LAYERLESS,
                                     model->t.tied && !has_labels ? EH_TOKEN_EMBEDDING : EH_OUTPUT, false);
    const int64_t bias =
        find_slot(model, EH_STACK_ENCODER, EH_LAYERLESS, has_labels ? EH_OUTPUT : EH_OUTPUT_BIAS, true);
    bind_pair(model, weight, bias, 1, &w->output);
    w->output.constant = eh_weights_packed(model);
    w->output.in_out = has_labels && model->t.weights_in_out;
}

static void bind_gradients(eh_model *model)
{
    for (int64_t p = 0; p < model->layout.count; p++) {
        const eh_parameter *parameter = &model->layout.parameters[p];
        if (parameter->gradient >= 0 && model->use == EH_FOR_TRAINING)
            model->layout.slots[p].gradient =
                model->shared.how.level >= 2
                    ? eh_sharing_gradient(model, p)
                    : eh_parameter_view(model->gradients, parameter, EH_F32, parameter->gradient);
    }
}

eh_status eh_weights_bind(eh_model *model)
{
    eh_weights *w = &model->w;
    bind_gradients(model);
    bind_table(model, EH_TOKEN_EMBEDDING, &w->tokens, &w->grad_tokens);
    bind_table(model, EH_POSITION_EMBEDDING, &w->positions, &w->grad_positions);
    bind_table(model, EH_TYPE_EMBEDDING, &w->types, &w->grad_types);
    bind_norm(model, EH_STACK_ENCODER, EH_LAYERLESS, EH_EMBEDDING_NORM, &w->embedding_norm);
    for (int s = 0; s < EH_STACK_COUNT; s++) {
        const eh_stack stack = (eh_stack)s;
        eh_stack_weights *weights = &w->stacks[s];
        if (weights->layers == NULL)
            EH_TRY(EH_ALLOC(model->t.layer_count[s], &weights->layers));
        for (int64_t l = 0; l < model->t.layer_count[s]; l++) bind_layer(model, stack, l, &weights->layers[l]);
        bind_norm(model, stack, EH_LAYERLESS, EH_FINAL_NORM, &weights->final_norm);
        const int64_t p = find_slot(model, stack, EH_LAYERLESS, EH_RELATIVE_BIAS, false);
        if (p >= 0) {
            weights->relative_bias = model->layout.slots[p].value;
            weights->grad_relative_bias = model->layout.slots[p].gradient;
        }
    }
    bind_linear(model, EH_STACK_ENCODER, EH_LAYERLESS, EH_HEAD_DENSE, 1, &w->head_dense);
    bind_norm(model, EH_STACK_ENCODER, EH_LAYERLESS, EH_HEAD_NORM, &w->head_norm);
    bind_output(model);
    return EH_OK;
}
