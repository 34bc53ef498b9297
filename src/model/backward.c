// The backward pass of the stacks: the forward pass from its end. `stream` is the gradient of the residual stream; what
// a sublayer's input is owed is added to it by the norm before (norm_first) or by the product itself.
#include "model/model_internal.h"

typedef struct {
    eh_model *model;
    eh_backend *backend;
    const eh_dropout_plan *dropout;
    eh_stack stack;
    int64_t rows, source_rows;
    eh_tensor stream;      // fp32 [rows, hidden]
    eh_tensor source;      // the encoder's result
    eh_tensor grad_source; // fp32 [source rows, hidden], added to by all layers
} pass;

// The gradient of the branch that was added to the stream, in the compute dtype and behind its dropout.
static eh_status branch_gradient(pass *p, int64_t l, eh_dropout_site site, eh_tensor *grad)
{
    const float rate = eh_dropout_rate(p->dropout, p->model->t.hidden_dropout);
    *grad = p->stream;
    if (rate == 0 && p->model->compute == EH_F32)
        return EH_OK;
    *grad = eh_first_rows(&p->model->work.grad_branch, p->rows);
    if (rate == 0)
        return eh_convert(p->backend, &p->stream, grad);
    return eh_dropout(p->backend, &p->stream, rate, eh_dropout_seed(p->dropout, p->stack, l, site), 0, grad);
}

// Where a sublayer's input gradient goes: norm_first: a tensor of its own, for the norm; otherwise it is added to the
// stream at once, for input and stream are one.
static eh_tensor input_gradient(const pass *p, eh_output_mode *mode)
{
    *mode = p->model->t.norm_first ? EH_WRITE : EH_ADD;
    return p->model->t.norm_first ? eh_first_rows(&p->model->work.grad_input, p->rows) : p->stream;
}

static eh_status norm_before(pass *p, const eh_norm_layer *layer, const eh_norm_work *work)
{
    const eh_norm_work rows = eh_norm_rows(work, p->rows);
    const eh_tensor grad = eh_first_rows(&p->model->work.grad_input, p->rows);
    return eh_norm_layer_backward(p->backend, layer, &rows, &grad, EH_ADD, &p->stream);
}

static eh_status norm_behind(pass *p, const eh_norm_layer *layer, const eh_norm_work *work)
{
    const eh_norm_work rows = eh_norm_rows(work, p->rows);
    return eh_norm_layer_backward(p->backend, layer, &rows, &p->stream, EH_WRITE, &p->stream);
}

static eh_status feed_forward(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work,
                              const eh_tensor *input)
{
    const eh_transformer *t = &p->model->t;
    const eh_tensor inner = eh_first_rows(&work->inner, p->rows), gate = eh_first_rows(&work->gate, p->rows);
    const eh_tensor activated = eh_first_rows(&work->activated, p->rows);
    const eh_tensor grad_inner = eh_first_rows(&p->model->work.grad_inner, p->rows);
    const eh_tensor grad_gate = eh_first_rows(&p->model->work.grad_gate, p->rows);
    eh_output_mode mode;
    const eh_tensor grad_input = input_gradient(p, &mode);
    eh_tensor grad;
    EH_TRY(branch_gradient(p, l, EH_SITE_FEED, &grad));
    EH_TRY(eh_linear_backward(p->backend, &layer->feed_output, &activated, &grad, EH_WRITE, &grad_inner));
    EH_TRY(eh_drop(p->model, p->dropout, t->inner_dropout, p->stack, l, EH_SITE_INNER, &grad_inner));
    EH_TRY(eh_activation_backward(p->backend, t->activation, &inner, &gate, &grad_inner, &grad_inner, &grad_gate));
    EH_TRY(eh_linear_backward(p->backend, &layer->inner, input, &grad_inner, mode, &grad_input));
    return t->gated ? eh_linear_backward(p->backend, &layer->gate, input, &grad_gate, EH_ADD, &grad_input) : EH_OK;
}

// Whether the attention's gradients are written as the products take them, where each is one sum. A device saves most
// of their bytes so; on the host the fp32 rows stay in the cache.
static bool rounds_at_once(const pass *p, const eh_attention *how)
{
    return p->model->compute != EH_F32 && eh_tensor_host(&p->model->work.grad_qkv) == NULL &&
           !eh_attention_shares_keys(how);
}

// In the compute dtype for the products that follow.
static eh_status round_gradient(pass *p, const eh_tensor *exact, int64_t rows, int64_t columns, eh_tensor *rounded)
{
    *rounded = *exact;
    if (p->model->compute == exact->dtype)
        return EH_OK;
    *rounded = p->model->work.grad_products;
    rounded->shape[0] = rows;
    rounded->shape[1] = columns;
    return eh_convert(p->backend, exact, rounded);
}

// Rows of gradients from an element of `block` on.
static eh_tensor grad_rows(const eh_tensor *block, int64_t first, int64_t rows, int64_t columns)
{
    eh_tensor grad = *block;
    grad.offset += (size_t)first * eh_dtype_bytes(block->dtype);
    grad.shape[0] = rows;
    grad.shape[1] = columns;
    return grad;
}

static eh_status attention(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work, const eh_tensor *input)
{
    const eh_transformer *t = &p->model->t;
    const int64_t width = t->head_count * t->head_size;
    const eh_tensor qkv = eh_first_rows(&work->qkv, p->rows), attended = eh_first_rows(&work->attended, p->rows);
    const eh_tensor grad_attended = eh_first_rows(&p->model->work.grad_attended, p->rows);
    const eh_attention how = eh_self_attention(p->model, p->stack, l, p->dropout);
    const eh_work *all = &p->model->work;
    const eh_tensor grad_qkv =
        grad_rows(rounds_at_once(p, &how) ? &all->grad_products : &all->grad_qkv, 0, p->rows, 3 * width);
    eh_output_mode mode;
    const eh_tensor grad_input = input_gradient(p, &mode);
    eh_tensor grad, rounded;
    EH_TRY(branch_gradient(p, l, EH_SITE_ATTENDED, &grad));
    EH_TRY(eh_linear_backward(p->backend, &layer->attention_output, &attended, &grad, EH_WRITE, &grad_attended));
    const bool fresh = !eh_attention_shares_keys(&how);
    if (!fresh)
        EH_TRY(eh_fill(p->backend, 0, &grad_qkv));
    const eh_attention_grads grads = {.query = eh_qkv_view(t, &qkv, EH_QUERY),
                                      .key = eh_qkv_view(t, &qkv, EH_KEY),
                                      .value = eh_qkv_view(t, &qkv, EH_VALUE),
                                      .output = eh_plain_view(t, &attended),
                                      .grad_output = eh_plain_view(t, &grad_attended),
                                      .log_sum_exp = eh_first_rows(&work->log_sum_exp, p->rows),
                                      .grad_query = eh_qkv_view(t, &grad_qkv, EH_QUERY),
                                      .grad_key = eh_qkv_view(t, &grad_qkv, EH_KEY),
                                      .grad_value = eh_qkv_view(t, &grad_qkv, EH_VALUE),
                                      .grad_relative_bias = p->model->w.stacks[p->stack].grad_relative_bias,
                                      .fresh = fresh};
    EH_TRY(eh_attention_backward(p->backend, &how, &grads));
    EH_TRY(round_gradient(p, &grad_qkv, p->rows, 3 * width, &rounded));
    return eh_linear_backward(p->backend, &layer->qkv, input, &rounded, mode, &grad_input);
}

static eh_status cross_attention(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work,
                                 const eh_tensor *input)
{
    const eh_transformer *t = &p->model->t;
    const int64_t width = t->head_count * t->head_size;
    const eh_tensor query = eh_first_rows(&work->cross_query, p->rows);
    const eh_tensor key_value = eh_first_rows(&work->cross_key_value, p->source_rows);
    const eh_tensor attended = eh_first_rows(&work->cross_attended, p->rows);
    const eh_tensor grad_attended = eh_first_rows(&p->model->work.grad_attended, p->rows);
    const eh_attention how = eh_cross_attention(p->model, l, p->dropout);
    const eh_work *all = &p->model->work;
    const bool at_once = rounds_at_once(p, &how);
    const eh_tensor grad_query = grad_rows(at_once ? &all->grad_products : &all->grad_qkv, 0, p->rows, width);
    const eh_tensor grad_key_value =
        at_once ? grad_rows(&all->grad_products, all->grad_products.shape[0] * width, p->source_rows, 2 * width)
                : eh_first_rows(&all->grad_key_value, p->source_rows);
    const eh_tensor grad_input = eh_first_rows(&p->model->work.grad_input, p->rows);
    eh_tensor grad, rounded;
    EH_TRY(branch_gradient(p, l, EH_SITE_CROSSED, &grad));
    EH_TRY(eh_linear_backward(p->backend, &layer->cross_output, &attended, &grad, EH_WRITE, &grad_attended));
    const bool fresh = !eh_attention_shares_keys(&how);
    if (!fresh) {
        EH_TRY(eh_fill(p->backend, 0, &grad_query));
        EH_TRY(eh_fill(p->backend, 0, &grad_key_value));
    }
    const eh_attention_grads grads = {.query = eh_plain_view(t, &query),
                                      .key = eh_cross_view(t, &key_value, 0),
                                      .value = eh_cross_view(t, &key_value, 1),
                                      .output = eh_plain_view(t, &attended),
                                      .grad_output = eh_plain_view(t, &grad_attended),
                                      .log_sum_exp = eh_first_rows(&work->cross_log_sum_exp, p->rows),
                                      .grad_query = eh_plain_view(t, &grad_query),
                                      .grad_key = eh_cross_view(t, &grad_key_value, 0),
                                      .grad_value = eh_cross_view(t, &grad_key_value, 1),
                                      .fresh = fresh};
    EH_TRY(eh_attention_backward(p->backend, &how, &grads));
    EH_TRY(round_gradient(p, &grad_query, p->rows, width, &rounded));
    EH_TRY(eh_linear_backward(p->backend, &layer->cross_query, input, &rounded, EH_WRITE, &grad_input));
    if (p->source_rows == 0)
        return EH_OK;
    EH_TRY(round_gradient(p, &grad_key_value, p->source_rows, 2 * width, &rounded));
    return eh_linear_backward(p->backend, &layer->cross_key_value, &p->source, &rounded, EH_ADD, &p->grad_source);
}

static eh_status layer_norm_first(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work)
{
    const eh_tensor feed_input = eh_first_rows(&work->feed_norm.y, p->rows);
    EH_TRY(feed_forward(p, l, layer, work, &feed_input));
    EH_TRY(norm_before(p, &layer->feed_norm, &work->feed_norm));
    if (eh_tensor_exists(&layer->cross_query.weight)) {
        const eh_tensor cross_input = eh_first_rows(&work->cross_norm.y, p->rows);
        EH_TRY(cross_attention(p, l, layer, work, &cross_input));
        EH_TRY(norm_before(p, &layer->cross_norm, &work->cross_norm));
    }
    const eh_tensor attention_input = eh_first_rows(&work->attention_norm.y, p->rows);
    EH_TRY(attention(p, l, layer, work, &attention_input));
    return norm_before(p, &layer->attention_norm, &work->attention_norm);
}

static eh_status layer_norm_last(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work)
{
    const eh_tensor feed_input = eh_first_rows(&work->attention_norm.y, p->rows);
    const eh_tensor input = eh_first_rows(&work->input, p->rows);
    EH_TRY(norm_behind(p, &layer->feed_norm, &work->feed_norm));
    EH_TRY(feed_forward(p, l, layer, work, &feed_input));
    EH_TRY(norm_behind(p, &layer->attention_norm, &work->attention_norm));
    return attention(p, l, layer, work, &input);
}

static eh_status add_table_gradient(pass *p, const eh_tensor *index, const eh_tensor *grad_table)
{
    const eh_tensor rows = eh_first_rows(index, p->rows);
    return eh_tensor_exists(grad_table) ? eh_scatter_add_rows(p->backend, &p->stream, &rows, grad_table) : EH_OK;
}

static eh_status embeddings(pass *p)
{
    eh_model *model = p->model;
    const eh_weights *w = &model->w;
    const eh_stack_batch *batch = &model->work.batch[p->stack];
    EH_TRY(eh_drop(model, p->dropout, model->t.embedding_dropout, p->stack, -1, EH_SITE_EMBEDDING, &p->stream));
    if (model->t.embedding_norm) {
        const eh_norm_work work = eh_norm_rows(&model->work.embedding_norm, p->rows);
        EH_TRY(eh_norm_layer_backward(p->backend, &w->embedding_norm, &work, &p->stream, EH_WRITE, &p->stream));
    }
    EH_TRY(add_table_gradient(p, &batch->ids, &w->grad_tokens));
    if (model->t.type_count > 0)
        EH_TRY(add_table_gradient(p, &batch->types, &w->grad_types));
    return model->t.position_count > 0 ? add_table_gradient(p, &batch->positions, &w->grad_positions) : EH_OK;
}

static eh_status run_stack(pass *p)
{
    eh_model *model = p->model;
    p->rows = model->work.batch[p->stack].rows;
    p->stream = eh_first_rows(&model->work.grad_stream[p->stack], p->rows);
    if (p->rows == 0)
        return eh_sharing_skip_stack(model, p->stack, EH_BACKWARD);
    for (int64_t l = model->t.layer_count[p->stack] - 1; l >= 0; l--) {
        const eh_layer *layer = &model->w.stacks[p->stack].layers[l];
        const eh_layer_work *work = &model->work.stacks[p->stack].layers[l];
        EH_TRY(eh_sharing_begin_layer(model, p->stack, l, EH_BACKWARD));
        if (model->recompute && l + 1 < model->t.layer_count[p->stack]) // the last one's are still there
            EH_TRY(eh_layer_recompute(model, p->dropout, p->stack, l, &p->source));
        EH_TRY(model->t.norm_first ? layer_norm_first(p, l, layer, work) : layer_norm_last(p, l, layer, work));
        EH_TRY(eh_sharing_end_layer(model, p->stack, l));
    }
    return embeddings(p);
}

static eh_status encoder_backward(pass *p)
{
    eh_model *model = p->model;
    const eh_norm_work work = eh_norm_rows(&model->work.stacks[EH_STACK_ENCODER].final_norm, p->source_rows);
    const eh_norm_layer *layer = &model->w.stacks[EH_STACK_ENCODER].final_norm;
    p->stack = EH_STACK_ENCODER;
    EH_TRY(eh_drop(model, p->dropout, model->t.final_dropout, EH_STACK_ENCODER, -1, EH_SITE_FINAL, &p->grad_source));
    EH_TRY(eh_norm_layer_backward(p->backend, layer, &work, &p->grad_source, EH_WRITE, &p->grad_source));
    return run_stack(p);
}

eh_status eh_stacks_backward(eh_model *model, const eh_dropout_plan *dropout)
{
    pass p = {.model = model,
              .backend = model->backend,
              .dropout = dropout,
              .stack = eh_top_stack(&model->t),
              .source_rows = model->work.batch[EH_STACK_ENCODER].rows};
    if (model->t.kind != EH_ENCODER_DECODER)
        return run_stack(&p);
    p.source = eh_first_rows(&model->work.stacks[EH_STACK_ENCODER].final_norm.y, p.source_rows);
    p.grad_source = eh_first_rows(&model->work.grad_stream[EH_STACK_ENCODER], p.source_rows);
    EH_TRY(eh_fill(model->backend, 0, &p.grad_source));
    EH_TRY(run_stack(&p));
    return p.source_rows > 0 ? encoder_backward(&p) : eh_sharing_skip_stack(model, EH_STACK_ENCODER, EH_BACKWARD);
}
