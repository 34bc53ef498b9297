// Staying near a starting model: KL(start || model) over the vocabulary at each label, and its gradient. The starting
// model passes the same batch up to its hidden rows; logits of both are made for a block of labels at a time.
#include "model/model_internal.h"
#include "model/outline.h"

#define LOGIT_BYTES (64 << 20) // of a block of logits

int64_t eh_near_labels_at_once(int64_t outputs, int64_t label_count)
{
    const int64_t most = LOGIT_BYTES / (outputs * 4) > 0 ? LOGIT_BYTES / (outputs * 4) : 1;
    return label_count < most ? label_count : most;
}

eh_status eh_near_reserve(eh_model *model, eh_model *start, int64_t label_count)
{
    const int64_t block = eh_near_labels_at_once(eh_output_count(model), label_count);
    EH_TRY(eh_logits_reserve(model, block));
    return eh_logits_reserve(start, block);
}

eh_status eh_near_forward(eh_model *start, const eh_batch *batch, eh_tensor *hidden)
{
    static const eh_dropout_plan no_dropout = {0};
    eh_batch plain = *batch;
    plain.label_weights = NULL;
    EH_TRY(eh_batch_stage(start, &plain));
    EH_TRY(eh_stacks_forward(start, &no_dropout, NULL));
    return eh_head_forward(start, &no_dropout, batch->label_count, hidden);
}

static eh_status log_probabilities(eh_model *model, const eh_tensor *hidden, int64_t first, int64_t count,
                                   eh_tensor *rows)
{
    const eh_tensor part = eh_tensor_rows(hidden, first, count);
    *rows = eh_first_rows(&model->work.logits, count);
    EH_TRY(eh_head_logits(model, &part, rows));
    return eh_log_softmax_rows(model->backend, rows);
}

// Gradients of logits, in the dtype of products, through the output layer.
static eh_status output_gradients(eh_model *model, const eh_tensor *grad_logits, const eh_tensor *hidden,
                                  const eh_tensor *grad_hidden)
{
    const eh_linear *output = &model->w.output;
    eh_tensor rounded = *grad_logits;
    if (model->compute != EH_F32) { // the logits are used up: their memory serves
        rounded = model->work.logits;
        rounded.dtype = model->compute;
        rounded.shape[0] = grad_logits->shape[0];
        EH_TRY(eh_convert(model->backend, grad_logits, &rounded));
    }
    EH_TRY(eh_multiply(model->backend, &(eh_product){.a = rounded,
                                                     .b = output->weight,
                                                     .y = *grad_hidden,
                                                     .transpose_b = output->in_out,
                                                     .alpha = model->t.output_scale,
                                                     .mode = EH_ADD}));
    if (eh_tensor_exists(&output->grad_weight))
        EH_TRY(eh_multiply(model->backend, &(eh_product){.a = output->in_out ? *hidden : rounded,
                                                         .b = output->in_out ? rounded : *hidden,
                                                         .y = output->grad_weight,
                                                         .transpose_a = true,
                                                         .alpha = model->t.output_scale,
                                                         .mode = EH_ADD}));
    return eh_tensor_exists(&output->grad_bias) ? eh_column_sum(model->backend, grad_logits, &output->grad_bias)
                                                : EH_OK;
}

eh_status eh_near_backward(eh_model *model, const eh_nearness *near, const eh_tensor *hidden,
                           const eh_tensor *start_hidden, const eh_tensor *grad_hidden)
{
    eh_model *start = near->start;
    const int64_t n = hidden->shape[0], outputs = eh_output_count(model);
    const int64_t block = eh_near_labels_at_once(outputs, n);
    EH_ASSERT(start->backend == model->backend && eh_output_count(start) == outputs);
    EH_TRY(eh_logits_reserve(model, block)); // nothing after eh_near_reserve
    EH_TRY(eh_logits_reserve(start, block));
    const eh_tensor divergences = eh_first_rows(&start->work.log_probability, n);
    for (int64_t first = 0; first < n; first += block) {
        const int64_t count = n - first < block ? n - first : block;
        const eh_tensor row_weights = eh_tensor_rows(&model->work.row_weights, first, count);
        const eh_tensor own = eh_tensor_rows(&divergences, first, count);
        const eh_tensor rows = eh_tensor_rows(hidden, first, count), grad = eh_tensor_rows(grad_hidden, first, count);
        eh_tensor log_p, log_q;
        EH_TRY(log_probabilities(model, hidden, first, count, &log_p));
        EH_TRY(log_probabilities(start, start_hidden, first, count, &log_q));
        EH_TRY(eh_divergence_rows(model->backend, &log_p, &log_q, &row_weights, near->weight, &own));
        EH_TRY(output_gradients(model, &log_q, &rows, &grad));
    }
    return eh_backend_download(model->backend, &divergences, near->divergences);
}
