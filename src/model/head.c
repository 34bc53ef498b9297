// What is behind the stacks, for rows with labels only: the last residual sum and the final norm, the head's own
// layers, and the output layer, whose logits are never stored as a whole.
#include "model/model_internal.h"

static eh_status gather_top(eh_model *model, const eh_tensor *index, int64_t n)
{
    const eh_transformer *t = &model->t;
    eh_work *work = &model->work;
    const eh_stack stack = eh_top_stack(t);
    const int64_t rows = work->batch[stack].rows;
    if (!t->norm_first) {
        const eh_tensor top = eh_first_rows(&work->stacks[stack].output, rows),
                        y = eh_first_rows(&work->head_final_norm.y, n);
        return eh_gather_rows(model->backend, &top, index, EH_WRITE, &y);
    }
    const eh_tensor branch = eh_first_rows(&work->branch, rows), sum = eh_first_rows(&work->gathered, n);
    EH_TRY(eh_gather_rows(model->backend, &work->top_stream, index, EH_WRITE, &sum));
    EH_TRY(eh_gather_rows(model->backend, &branch, index, EH_ADD, &sum));
    eh_norm_work norm = eh_norm_rows(&work->head_final_norm, n);
    norm.sum = sum;
    return eh_norm_layer_forward(model->backend, &model->w.stacks[stack].final_norm, &sum, NULL, &norm);
}

eh_status eh_head_forward(eh_model *model, const eh_dropout_plan *dropout, int64_t n, eh_tensor *hidden)
{
    const eh_transformer *t = &model->t;
    eh_work *work = &model->work;
    const eh_stack stack = eh_top_stack(t);
    const eh_tensor index = eh_first_rows(&work->label_rows, n);
    EH_TRY(gather_top(model, &index, n));
    *hidden = eh_first_rows(&work->head_final_norm.y, n);
    EH_TRY(eh_drop(model, dropout, t->final_dropout, stack, -1, EH_SITE_FINAL, hidden));
    if (!t->head_dense)
        return EH_OK;
    const eh_tensor dense = eh_first_rows(&work->head_dense, n), activated = eh_first_rows(&work->head_activated, n);
    EH_TRY(eh_linear_forward(model->backend, &model->w.head_dense, hidden, EH_WRITE, &dense));
    EH_TRY(eh_activation_forward(model->backend, t->head_activation, &dense, NULL, &activated));
    *hidden = activated;
    if (t->head_norm) {
        eh_norm_work norm = eh_norm_rows(&work->head_norm, n);
        norm.sum = activated;
        EH_TRY(eh_norm_layer_forward(model->backend, &model->w.head_norm, &activated, NULL, &norm));
        *hidden = norm.y;
    }
    return eh_drop(model, dropout, t->head_dropout, stack, -1, EH_SITE_HEAD, hidden);
}

static eh_output_layer output_layer(const eh_model *model, const eh_tensor *hidden, int64_t n, bool backward_follows)
{
    return (eh_output_layer){.hidden = *hidden,
                             .weight = model->w.output.weight,
                             .bias = model->w.output.bias,
                             .target = eh_first_rows(&model->work.label_ids, n),
                             .scale = model->t.output_scale,
                             .weight_is_constant = model->w.output.constant,
                             .backward_follows = backward_follows,
                             .gradient_is_fresh = model->fresh,
                             .log_probability = eh_first_rows(&model->work.log_probability, n),
                             .log_sum_exp = eh_first_rows(&model->work.log_sum_exp, n)};
}

static eh_status dense_backward(eh_model *model, int64_t n, eh_tensor *grad)
{
    const eh_transformer *t = &model->t;
    eh_work *work = &model->work;
    const eh_tensor dense = eh_first_rows(&work->head_dense, n), top = eh_first_rows(&work->head_final_norm.y, n);
    const eh_tensor other = eh_first_rows(&work->grad_head, n);
    if (t->head_norm) {
        eh_norm_work norm = eh_norm_rows(&work->head_norm, n);
        norm.sum = eh_first_rows(&work->head_activated, n);
        EH_TRY(eh_norm_layer_backward(model->backend, &model->w.head_norm, &norm, grad, EH_WRITE, grad));
    }
    EH_TRY(eh_activation_backward(model->backend, t->head_activation, &dense, NULL, grad, grad, NULL));
    EH_TRY(eh_linear_backward(model->backend, &model->w.head_dense, &top, grad, EH_WRITE, &other));
    *grad = other;
    return EH_OK;
}

eh_status eh_head_backward(eh_model *model, const eh_dropout_plan *dropout, int64_t n, const eh_tensor *hidden,
                           const eh_nearness *near, const eh_tensor *start_hidden)
{
    const eh_transformer *t = &model->t;
    eh_work *work = &model->work;
    const eh_stack stack = eh_top_stack(t);
    const eh_tensor index = eh_first_rows(&work->label_rows, n), row_weights = eh_first_rows(&work->row_weights, n);
    const eh_tensor grad_top = eh_first_rows(&work->grad_stream[stack], work->batch[stack].rows);
    eh_tensor grad = eh_first_rows(&work->grad_hidden, n);
    const eh_output_layer layer = output_layer(model, hidden, n, true);
    EH_TRY(eh_output_backward(model->backend, &layer, &row_weights, &grad, &model->w.output.grad_weight,
                              &model->w.output.grad_bias));
    if (near != NULL)
        EH_TRY(eh_near_backward(model, near, hidden, start_hidden, &grad));
    EH_TRY(eh_drop(model, dropout, t->head_dropout, stack, -1, EH_SITE_HEAD, &grad));
    if (t->head_dense)
        EH_TRY(dense_backward(model, n, &grad));
    EH_TRY(eh_drop(model, dropout, t->final_dropout, stack, -1, EH_SITE_FINAL, &grad));
    EH_TRY(eh_fill(model->backend, 0, &grad_top));
    if (!t->norm_first)
        return eh_scatter_add_rows(model->backend, &grad, &index, &grad_top);
    eh_norm_work norm = eh_norm_rows(&work->head_final_norm, n);
    norm.sum = eh_first_rows(&work->gathered, n);
    const eh_tensor grad_sum = eh_first_rows(&work->grad_gathered, n);
    EH_TRY(
        eh_norm_layer_backward(model->backend, &model->w.stacks[stack].final_norm, &norm, &grad, EH_WRITE, &grad_sum));
    return eh_scatter_add_rows(model->backend, &grad_sum, &index, &grad_top);
}

static const eh_dropout_plan no_dropout = {0};

static eh_status forward_labels(eh_model *model, const eh_batch *batch, const eh_dropout_plan *dropout,
                                bool backward_follows, eh_tensor *hidden)
{
    const int64_t n = batch->label_count;
    EH_ASSERT(batch->label_ids != NULL || n == 0);
    EH_TRY(eh_batch_stage(model, batch));
    if (n == 0)
        return eh_model_pass_by(model, false);
    EH_TRY(eh_stacks_forward(model, dropout, NULL));
    EH_TRY(eh_head_forward(model, dropout, n, hidden));
    const eh_output_layer layer = output_layer(model, hidden, n, backward_follows);
    return eh_output_forward(model->backend, &layer);
}

static eh_status fetch_log_probabilities(eh_model *model, int64_t n, float *log_probabilities)
{
    const eh_tensor rows = eh_first_rows(&model->work.log_probability, n);
    return n > 0 ? eh_backend_download(model->backend, &rows, log_probabilities) : EH_OK;
}

eh_status eh_model_score(eh_model *model, const eh_batch *batch, float *log_probabilities)
{
    eh_tensor hidden;
    EH_TRY(forward_labels(model, batch, &no_dropout, false, &hidden));
    return fetch_log_probabilities(model, batch->label_count, log_probabilities);
}

eh_status eh_model_backward(eh_model *model, const eh_batch *batch, float dropout, uint64_t dropout_seed,
                            float *log_probabilities)
{
    return eh_model_backward_near(model, NULL, batch, dropout, dropout_seed, log_probabilities);
}

eh_status eh_model_backward_near(eh_model *model, const eh_nearness *near, const eh_batch *batch, float dropout,
                                 uint64_t dropout_seed, float *log_probabilities)
{
    EH_ASSERT(model->use == EH_FOR_TRAINING && (batch->label_weights != NULL || batch->label_count == 0));
    const eh_dropout_plan plan = {.on = dropout != 0, .rate = dropout, .seed = dropout_seed};
    eh_tensor hidden, start_hidden = {0};
    if (batch->label_count == 0)
        return eh_model_pass_by(model, true);
    if (near != NULL) // first: between the model's own passes nothing else may use the backend's scratch
        EH_TRY(eh_near_forward(near->start, batch, &start_hidden));
    EH_TRY(forward_labels(model, batch, &plan, true, &hidden));
    EH_TRY(eh_gradients_begin(model));
    EH_TRY(eh_sharing_begin_backward(model));
    EH_TRY(eh_head_backward(model, &plan, batch->label_count, &hidden, near, &start_hidden));
    EH_TRY(eh_stacks_backward(model, &plan));
    model->fresh = false;
    EH_TRY(eh_sharing_end_backward(model));
    return fetch_log_probabilities(model, batch->label_count, log_probabilities); // waits: a device has all its work
}

// Logits of hidden rows [first, first + count) into work->logits.
eh_status eh_head_logits(eh_model *model, const eh_tensor *hidden, const eh_tensor *logits)
{
    return eh_multiply(model->backend, &(eh_product){.a = *hidden,
                                                     .b = model->w.output.weight,
                                                     .bias = model->w.output.bias,
                                                     .y = *logits,
                                                     .transpose_b = !model->w.output.in_out,
                                                     .b_is_constant = model->w.output.constant,
                                                     .alpha = model->t.output_scale});
}

int64_t eh_output_count(const eh_model *model)
{
    return model->t.label_count > 0 ? model->t.label_count : model->t.vocab_size;
}

eh_status eh_logits_reserve(eh_model *model, int64_t rows)
{
    eh_work *work = &model->work;
    const int64_t outputs = model->t.label_count > 0 ? model->t.label_count : model->t.vocab_size;
    if (work->logits_buffer != NULL && work->logits.shape[0] >= rows)
        return EH_OK;
    eh_buffer_free(&work->logits_buffer);
    EH_TRY(eh_buffer_new(model->backend, (size_t)rows * (size_t)outputs * 4, "logits", &work->logits_buffer));
    work->logits =
        (eh_tensor){.buffer = work->logits_buffer, .dtype = EH_F32, .dimension_count = 2, .shape = {rows, outputs}};
    return EH_OK;
}

eh_status eh_model_logits(eh_model *model, const eh_batch *batch, float *logits)
{
    const int64_t n = batch->label_count,
                  outputs = model->t.label_count > 0 ? model->t.label_count : model->t.vocab_size;
    const int64_t most = (64 << 20) / (outputs * 4) > 0 ? (64 << 20) / (outputs * 4) : 1, block = n < most ? n : most;
    eh_tensor hidden;
    EH_TRY(eh_batch_stage(model, batch));
    if (n == 0)
        return EH_OK;
    EH_TRY(eh_stacks_forward(model, &no_dropout, NULL));
    EH_TRY(eh_head_forward(model, &no_dropout, n, &hidden));
    EH_TRY(eh_logits_reserve(model, block));
    for (int64_t first = 0; first < n; first += block) {
        const int64_t count = n - first < block ? n - first : block;
        const eh_tensor rows = eh_tensor_rows(&hidden, first, count), out = eh_first_rows(&model->work.logits, count);
        EH_TRY(eh_head_logits(model, &rows, &out));
        EH_TRY(eh_backend_download(model->backend, &out, logits + first * outputs));
    }
    return EH_OK;
}
