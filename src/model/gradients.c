// Gradients that begin at 0. Of the block, matrices are most; the products that make their gradients can write them as
// well as add to them, so that a step needs neither fill nor read that memory first.
#include "model/model_internal.h"

// Whether every backward pass writes all of a parameter's gradient.
static bool is_written_whole(const eh_model *model, int64_t p)
{
    const eh_slot *slot = &model->layout.slots[p];
    if (slot->role == EH_TOKEN_EMBEDDING) // the output layer comes first, and the embedding's rows are added
        return model->t.tied && model->t.label_count == 0;
    return eh_slot_is_linear(slot) || (slot->role == EH_OUTPUT && !slot->is_bias);
}

eh_status eh_model_clear_gradients(eh_model *model)
{
    model->fresh = true;
    return EH_OK;
}

eh_status eh_gradients_pass_by(eh_model *model)
{
    const eh_tensor block = eh_model_gradients(model);
    if (!model->fresh)
        return EH_OK;
    model->fresh = false;
    return eh_fill(model->backend, 0, &block);
}

static eh_status fill_stretch(eh_model *model, const eh_tensor *block, int64_t first, int64_t end)
{
    if (first == end)
        return EH_OK;
    const eh_tensor stretch = eh_tensor_rows(block, first, end - first);
    return eh_fill(model->backend, 0, &stretch);
}

eh_status eh_gradients_begin(eh_model *model)
{
    if (!model->fresh)
        return EH_OK;
    for (int s = 0; s < EH_STACK_COUNT; s++) // layers without rows write nothing
        if (model->t.layer_count[s] > 0 && model->work.batch[s].rows == 0)
            return eh_gradients_pass_by(model);
    const eh_tensor block = eh_model_gradients(model);
    int64_t first = 0, end = 0; // vectors that follow each other take one call
    for (int64_t p = 0; p < model->layout.count; p++) {
        const eh_parameter *parameter = &model->layout.parameters[p];
        if (parameter->gradient < 0 || is_written_whole(model, p))
            continue;
        if (parameter->gradient < end || parameter->gradient >= end + EH_GRAIN) {
            EH_TRY(fill_stretch(model, &block, first, end));
            first = parameter->gradient;
        }
        end = parameter->gradient + parameter->count;
    }
    return fill_stretch(model, &block, first, end);
}
