// Linear layers and norms with their gradients. Whatever changes what a linear layer is (an adapter beside it, frozen
// weights) belongs here: the transformer's code calls nothing else.
#include "model/model_internal.h"

eh_status eh_linear_forward(eh_backend *backend, const eh_linear *linear, const eh_tensor *x, eh_output_mode mode,
                            const eh_tensor *y)
{
    return eh_multiply(backend, &(eh_product){.a = *x,
                                              .b = linear->weight,
                                              .bias = linear->bias,
                                              .y = *y,
                                              .transpose_b = !linear->in_out,
                                              .mode = mode,
                                              .b_is_constant = linear->constant});
}

eh_status eh_linear_backward(eh_backend *backend, const eh_linear *linear, const eh_tensor *x, const eh_tensor *grad_y,
                             eh_output_mode mode, const eh_tensor *grad_x)
{
    if (eh_tensor_exists(&linear->grad_weight))
        EH_TRY(eh_multiply(backend, &(eh_product){.a = linear->in_out ? *x : *grad_y,
                                                  .b = linear->in_out ? *grad_y : *x,
                                                  .y = linear->grad_weight,
                                                  .transpose_a = true,
                                                  .mode = EH_ADD}));
    if (eh_tensor_exists(&linear->grad_bias))
        EH_TRY(eh_column_sum(backend, grad_y, &linear->grad_bias));
    if (!eh_tensor_exists(grad_x))
        return EH_OK;
    return eh_multiply(
        backend,
        &(eh_product){.a = *grad_y, .b = linear->weight, .y = *grad_x, .transpose_b = linear->in_out, .mode = mode});
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
