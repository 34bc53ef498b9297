// Linear layers and norms with their gradients. Whatever changes what a linear layer is (an adapter beside it, frozen
// weights) belongs here: the transformer's code calls nothing else.
#include "model/model_internal.h"

// --- Adapters ----------------------------------------------------------------------------------------------------
static eh_tensor shaped(const eh_tensor *block, int64_t rows, int64_t columns)
{
    eh_tensor view = *block;
    view.dimension_count = 2;
    view.shape[0] = rows;
    view.shape[1] = columns;
    return view;
}

// B [outputs, parts rank] of the whole product: each part's rows have its columns only, the rest is 0.
static eh_status joined_b(eh_backend *backend, const eh_adapter *adapter, eh_tensor *b)
{
    *b = adapter->b;
    if (!eh_tensor_exists(&adapter->index))
        return EH_OK;
    *b = shaped(&adapter->work->joined, adapter->outputs, adapter->part_count * adapter->rank);
    const eh_tensor pieces = shaped(b, adapter->outputs * adapter->part_count, adapter->rank);
    EH_TRY(eh_fill(backend, 0, b));
    return eh_scatter_add_rows(backend, &adapter->b, &adapter->index, &pieces);
}

// x A^T
static eh_status project(eh_backend *backend, const eh_adapter *adapter, const eh_tensor *x, eh_tensor *low)
{
    *low = shaped(&adapter->work->low, x->shape[0], adapter->part_count * adapter->rank);
    return eh_multiply(backend, &(eh_product){.a = *x, .b = adapter->a, .y = *low, .transpose_b = true});
}

static eh_status adapter_forward(eh_backend *backend, const eh_adapter *adapter, const eh_tensor *x, const eh_tensor *y)
{
    eh_tensor low, b;
    if (adapter->part_count == 0)
        return EH_OK;
    EH_TRY(project(backend, adapter, x, &low));
    EH_TRY(joined_b(backend, adapter, &b));
    return eh_multiply(
        backend,
        &(eh_product){.a = low, .b = b, .y = *y, .transpose_b = true, .alpha = adapter->scale, .mode = EH_ADD});
}

static eh_status adapter_backward(eh_backend *backend, const eh_adapter *adapter, const eh_tensor *x,
                                  const eh_tensor *grad_y, const eh_tensor *grad_x)
{
    if (adapter->part_count == 0)
        return EH_OK;
    const bool shared = eh_tensor_exists(&adapter->index);
    const int64_t width = adapter->part_count * adapter->rank;
    const eh_tensor grad_low = shaped(&adapter->work->grad_low, x->shape[0], width);
    const eh_tensor grad_b = shared ? shaped(&adapter->work->grad_joined, adapter->outputs, width) : adapter->grad_b;
    eh_tensor low, b;
    EH_TRY(project(backend, adapter, x, &low)); // again: cheaper than keeping it
    EH_TRY(joined_b(backend, adapter, &b));
    EH_TRY(eh_multiply(backend, &(eh_product){.a = *grad_y, .b = b, .y = grad_low, .alpha = adapter->scale}));
    EH_TRY(eh_multiply(
        backend, &(eh_product){.a = grad_low, .b = *x, .y = adapter->grad_a, .transpose_a = true, .mode = EH_ADD}));
    EH_TRY(eh_multiply(backend, &(eh_product){.a = *grad_y,
                                              .b = low,
                                              .y = grad_b,
                                              .transpose_a = true,
                                              .alpha = adapter->scale,
                                              .mode = shared ? EH_WRITE : EH_ADD}));
    if (shared) {
        const eh_tensor pieces = shaped(&grad_b, adapter->outputs * adapter->part_count, adapter->rank);
        EH_TRY(eh_gather_rows(backend, &pieces, &adapter->index, EH_ADD, &adapter->grad_b));
    }
    if (!eh_tensor_exists(grad_x))
        return EH_OK;
    return eh_multiply(backend, &(eh_product){.a = grad_low, .b = adapter->a, .y = *grad_x, .mode = EH_ADD});
}

// --- Linear layers -----------------------------------------------------------------------------------------------
eh_status eh_linear_forward(eh_backend *backend, const eh_linear *linear, const eh_tensor *x, eh_output_mode mode,
                            const eh_tensor *y)
{
    EH_TRY(eh_multiply(backend, &(eh_product){.a = *x,
                                              .b = linear->weight,
                                              .bias = linear->bias,
                                              .y = *y,
                                              .transpose_b = !linear->in_out,
                                              .mode = mode,
                                              .b_is_constant = linear->constant}));
    return adapter_forward(backend, &linear->adapter, x, y);
}

eh_status eh_linear_activate(eh_backend *backend, const eh_linear *linear, const eh_tensor *x, eh_activation kind,
                             const eh_tensor *y, const eh_tensor *activated)
{
    if (linear->adapter.part_count > 0) { // adds to y
        EH_TRY(eh_linear_forward(backend, linear, x, EH_WRITE, y));
        return eh_activation_forward(backend, kind, y, NULL, activated);
    }
    const eh_product product = {.a = *x,
                                .b = linear->weight,
                                .bias = linear->bias,
                                .y = *y,
                                .transpose_b = !linear->in_out,
                                .b_is_constant = linear->constant};
    return eh_multiply_activate(backend, &product, kind, activated);
}

eh_status eh_linear_backward(eh_backend *backend, const eh_linear *linear, const eh_tensor *x, const eh_tensor *grad_y,
                             eh_output_mode mode, const eh_tensor *grad_x)
{
    if (eh_tensor_exists(&linear->grad_weight))
        EH_TRY(eh_multiply(backend, &(eh_product){.a = linear->in_out ? *x : *grad_y,
                                                  .b = linear->in_out ? *grad_y : *x,
                                                  .y = linear->grad_weight,
                                                  .transpose_a = true,
                                                  .mode = *linear->fresh ? EH_WRITE : EH_ADD}));
    if (eh_tensor_exists(&linear->grad_bias))
        EH_TRY(eh_column_sum(backend, grad_y, &linear->grad_bias));
    if (eh_tensor_exists(grad_x))
        EH_TRY(eh_multiply(
            backend,
            &(eh_product){
                .a = *grad_y, .b = linear->weight, .y = *grad_x, .transpose_b = linear->in_out, .mode = mode}));
    return adapter_backward(backend, &linear->adapter, x, grad_y, grad_x);
}

eh_status eh_norm_layer_forward(eh_backend *backend, const eh_norm_layer *layer, const eh_tensor *x,
                                const eh_tensor *residual, const eh_norm_work *work)
{
    return eh_norm_forward(backend, &layer->norm, x, residual, &work->sum, &work->y, &work->mean, &work->scale);
}

eh_status eh_norm_layer_backward(eh_backend *backend, const eh_norm_layer *layer, const eh_norm_work *work,
                                 const eh_tensor *grad_y, eh_output_mode mode, const eh_tensor *grad_x)
{
    return eh_norm_backward(backend, &layer->norm, &work->sum, &work->mean, &work->scale, grad_y, mode, grad_x,
                            &layer->grad_weight, &layer->grad_bias);
}

eh_norm_work eh_norm_rows(const eh_norm_work *work, int64_t rows)
{
    return (eh_norm_work){.sum = eh_first_rows(&work->sum, rows),
                          .mean = eh_first_rows(&work->mean, rows),
                          .scale = eh_first_rows(&work->scale, rows),
                          .y = eh_first_rows(&work->y, rows)};
}

eh_status eh_drop(eh_model *model, const eh_dropout_plan *plan, float own_rate, eh_stack stack, int64_t layer,
                  eh_dropout_site site, const eh_tensor *y)
{
    const float rate = eh_dropout_rate(plan, own_rate);
    if (rate == 0)
        return EH_OK;
    return eh_dropout(model->backend, y, rate, eh_dropout_seed(plan, stack, layer, site), 0, y);
}
