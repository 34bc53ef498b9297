#include "train/anchor.h"

static eh_status new_block(eh_backend *backend, int64_t count, const char *purpose, eh_buffer **buffer,
                           eh_tensor *tensor)
{
    EH_TRY(eh_buffer_new(backend, (size_t)count * sizeof(float), purpose, buffer));
    *tensor = (eh_tensor){.buffer = *buffer, .dtype = EH_F32, .dimension_count = 1, .shape = {count}};
    return EH_OK;
}

eh_status eh_anchor_init(eh_backend *backend, const eh_model *model, double strength, eh_anchor *anchor)
{
    int64_t first = eh_model_weight_count(model), end = 0;
    *anchor = (eh_anchor){.backend = backend, .strength = (float)strength};
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        if (!parameter->trains)
            continue;
        first = parameter->offset < first ? parameter->offset : first;
        end = parameter->offset + parameter->count > end ? parameter->offset + parameter->count : end;
    }
    anchor->first = first;
    anchor->count = end - first;
    EH_TRY(new_block(backend, anchor->count, "the starting weights", &anchor->start_buffer, &anchor->start));
    const eh_tensor weights = eh_model_weights(model), own = eh_tensor_rows(&weights, first, anchor->count);
    return eh_convert(backend, &own, &anchor->start);
}

eh_status eh_anchor_weigh(eh_backend *backend, const float *importance, eh_anchor *anchor)
{
    EH_TRY(new_block(backend, anchor->count, "the Fisher matrix's diagonal", &anchor->importance_buffer,
                     &anchor->importance));
    EH_TRY(eh_backend_upload(backend, importance + anchor->first, &anchor->importance));
    return eh_backend_wait(backend);
}

void eh_anchor_deinit(eh_anchor *anchor)
{
    eh_buffer_free(&anchor->start_buffer);
    eh_buffer_free(&anchor->importance_buffer);
    *anchor = (eh_anchor){0};
}

eh_status eh_anchor_pull(const eh_anchor *anchor, const eh_model *model, float scale, const eh_tensor *gradient)
{
    if (anchor->count == 0)
        return EH_OK;
    const eh_tensor block = eh_model_weights(model), weights = eh_tensor_rows(&block, anchor->first, anchor->count);
    const eh_tensor own = eh_tensor_rows(gradient, anchor->first, anchor->count);
    return eh_pull(anchor->backend, anchor->strength * scale, &weights, &anchor->start, &anchor->importance, &own);
}
