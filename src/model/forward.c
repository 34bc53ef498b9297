// The forward pass of the stacks. A sublayer (attention, attention to the source, feed-forward) reads its input and
// leaves what it adds in `branch`; the next norm takes the sum and normalises it in one pass over memory:
//   norm_first:  stream += branch; input = norm(stream)           (BLOOM, GPT-2, T5)
//   otherwise:   stream = input = norm(stream + branch)           (BERT, RoBERTa)
#include "model/cache.h"
#include "model/model_internal.h"

typedef struct {
    eh_model *model;
    eh_backend *backend;
    const eh_dropout_plan *dropout;
    eh_cache *cache; // NULL: keys and values of the batch itself
    eh_stack stack;
    int64_t rows, source_rows;
    eh_tensor stream; // the residual stream so far
    bool has_branch;  // work->branch is still to be added to it
    eh_tensor source; // the encoder's result
    bool again;       // for the backward pass, which needs all but the layer's result
} pass;

// Adds the branch to the stream, if there is one, and normalises the sum; the stream is what the next sum begins with.
static eh_status add_and_norm(pass *p, const eh_norm_layer *layer, const eh_norm_work *work)
{
    const eh_norm_work rows = eh_norm_rows(work, p->rows);
    const eh_tensor branch = eh_first_rows(&p->model->work.branch, p->rows);
    EH_TRY(p->has_branch ? eh_norm_layer_forward(p->backend, layer, &branch, &p->stream, &rows)
                         : eh_norm_layer_forward(p->backend, layer, &p->stream, NULL, &rows));
    p->has_branch = false;
    p->stream = p->model->t.norm_first ? rows.sum : rows.y;
    return EH_OK;
}

static eh_status finish_branch(pass *p, int64_t layer, eh_dropout_site site)
{
    const eh_tensor branch = eh_first_rows(&p->model->work.branch, p->rows);
    p->has_branch = true;
    return eh_drop(p->model, p->dropout, p->model->t.hidden_dropout, p->stack, layer, site, &branch);
}

static eh_status attention(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work, const eh_tensor *input)
{
    const eh_transformer *t = &p->model->t;
    const eh_tensor qkv = eh_first_rows(&work->qkv, p->rows), attended = eh_first_rows(&work->attended, p->rows);
    const eh_tensor lse = eh_first_rows(&work->log_sum_exp, p->rows),
                    branch = eh_first_rows(&p->model->work.branch, p->rows);
    EH_TRY(eh_linear_forward(p->backend, &layer->qkv, input, EH_WRITE, &qkv));
    const eh_heads query = eh_qkv_view(t, &qkv, EH_QUERY), output = eh_plain_view(t, &attended);
    eh_heads key = eh_qkv_view(t, &qkv, EH_KEY), value = eh_qkv_view(t, &qkv, EH_VALUE);
    if (p->cache != NULL) {
        eh_tensor seen;
        EH_TRY(eh_cache_store(p->cache, l, &qkv, &seen));
        key = eh_cross_view(t, &seen, 0);
        value = eh_cross_view(t, &seen, 1);
    }
    const eh_attention how = eh_self_attention(p->model, p->stack, l, p->dropout);
    EH_TRY(eh_attention_forward(p->backend, &how, &query, &key, &value, &output, &lse));
    EH_TRY(eh_linear_forward(p->backend, &layer->attention_output, &attended, EH_WRITE, &branch));
    return finish_branch(p, l, EH_SITE_ATTENDED);
}

static eh_status cross_attention(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work,
                                 const eh_tensor *input)
{
    const eh_transformer *t = &p->model->t;
    const eh_tensor query = eh_first_rows(&work->cross_query, p->rows);
    const eh_tensor attended = eh_first_rows(&work->cross_attended, p->rows);
    const eh_tensor lse = eh_first_rows(&work->cross_log_sum_exp, p->rows);
    const eh_tensor branch = eh_first_rows(&p->model->work.branch, p->rows);
    eh_tensor key_value = eh_first_rows(&work->cross_key_value, p->source_rows);
    EH_TRY(eh_linear_forward(p->backend, &layer->cross_query, input, EH_WRITE, &query));
    if (p->cache != NULL)
        key_value = eh_cache_source(p->cache, l);
    else if (p->source_rows > 0)
        EH_TRY(eh_linear_forward(p->backend, &layer->cross_key_value, &p->source, EH_WRITE, &key_value));
    const eh_heads q = eh_plain_view(t, &query), k = eh_cross_view(t, &key_value, 0),
                   v = eh_cross_view(t, &key_value, 1);
    const eh_heads output = eh_plain_view(t, &attended);
    const eh_attention how = eh_cross_attention(p->model, l, p->dropout);
    EH_TRY(eh_attention_forward(p->backend, &how, &q, &k, &v, &output, &lse));
    EH_TRY(eh_linear_forward(p->backend, &layer->cross_output, &attended, EH_WRITE, &branch));
    return finish_branch(p, l, EH_SITE_CROSSED);
}

static eh_status feed_forward(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work,
                              const eh_tensor *input)
{
    const eh_transformer *t = &p->model->t;
    const eh_tensor inner = eh_first_rows(&work->inner, p->rows), gate = eh_first_rows(&work->gate, p->rows);
    const eh_tensor activated = eh_first_rows(&work->activated, p->rows);
    const eh_tensor branch = eh_first_rows(&p->model->work.branch, p->rows);
    if (!t->gated) {
        EH_TRY(eh_linear_activate(p->backend, &layer->inner, input, t->activation, &inner, &activated));
    } else {
        EH_TRY(eh_linear_forward(p->backend, &layer->inner, input, EH_WRITE, &inner));
        EH_TRY(eh_linear_forward(p->backend, &layer->gate, input, EH_WRITE, &gate));
        EH_TRY(eh_activation_forward(p->backend, t->activation, &inner, &gate, &activated));
    }
    EH_TRY(eh_drop(p->model, p->dropout, t->inner_dropout, p->stack, l, EH_SITE_INNER, &activated));
    if (p->again && t->norm_first)
        return EH_OK;
    EH_TRY(eh_linear_forward(p->backend, &layer->feed_output, &activated, EH_WRITE, &branch));
    return finish_branch(p, l, EH_SITE_FEED);
}

static eh_status layer_norm_first(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work)
{
    EH_TRY(add_and_norm(p, &layer->attention_norm, &work->attention_norm));
    const eh_tensor attention_input = eh_first_rows(&work->attention_norm.y, p->rows);
    EH_TRY(attention(p, l, layer, work, &attention_input));
    if (eh_tensor_exists(&layer->cross_query.weight)) {
        EH_TRY(add_and_norm(p, &layer->cross_norm, &work->cross_norm));
        const eh_tensor cross_input = eh_first_rows(&work->cross_norm.y, p->rows);
        EH_TRY(cross_attention(p, l, layer, work, &cross_input));
    }
    EH_TRY(add_and_norm(p, &layer->feed_norm, &work->feed_norm));
    const eh_tensor feed_input = eh_first_rows(&work->feed_norm.y, p->rows);
    return feed_forward(p, l, layer, work, &feed_input);
}

static eh_status layer_norm_last(pass *p, int64_t l, const eh_layer *layer, const eh_layer_work *work)
{
    const eh_tensor input = eh_first_rows(&work->input, p->rows);
    EH_TRY(attention(p, l, layer, work, &input));
    EH_TRY(add_and_norm(p, &layer->attention_norm, &work->attention_norm));
    const eh_tensor feed_input = eh_first_rows(&work->attention_norm.y, p->rows);
    EH_TRY(feed_forward(p, l, layer, work, &feed_input));
    return add_and_norm(p, &layer->feed_norm, &work->feed_norm);
}

// Token, position and type embeddings, summed into the first layer's input.
static eh_status embed(pass *p)
{
    eh_model *model = p->model;
    const eh_transformer *t = &model->t;
    const eh_weights *w = &model->w;
    const eh_stack_batch *batch = &model->work.batch[p->stack];
    const eh_layer_work *first = &model->work.stacks[p->stack].layers[0];
    const eh_tensor ids = eh_first_rows(&batch->ids, p->rows), positions = eh_first_rows(&batch->positions, p->rows);
    const eh_tensor types = eh_first_rows(&batch->types, p->rows);
    const eh_tensor start = eh_first_rows(t->norm_first ? &first->attention_norm.sum : &first->input, p->rows);
    const eh_tensor sum = eh_first_rows(&model->work.embedding_norm.sum, p->rows);
    const eh_tensor *into = t->embedding_norm ? &sum : &start;
    EH_TRY(eh_gather_rows(p->backend, &w->tokens, &ids, EH_WRITE, into));
    if (t->type_count > 0)
        EH_TRY(eh_gather_rows(p->backend, &w->types, &types, EH_ADD, into));
    if (t->position_count > 0)
        EH_TRY(eh_gather_rows(p->backend, &w->positions, &positions, EH_ADD, into));
    if (t->embedding_norm) {
        eh_norm_work work = eh_norm_rows(&model->work.embedding_norm, p->rows);
        work.y = start;
        EH_TRY(eh_norm_layer_forward(p->backend, &w->embedding_norm, &sum, NULL, &work));
    }
    p->stream = start;
    p->has_branch = false;
    return eh_drop(model, p->dropout, t->embedding_dropout, p->stack, -1, EH_SITE_EMBEDDING, &start);
}

static eh_status run_stack(pass *p)
{
    eh_model *model = p->model;
    p->rows = model->work.batch[p->stack].rows;
    if (p->rows == 0)
        return eh_sharing_skip_stack(model, p->stack, EH_FORWARD);
    EH_TRY(embed(p));
    for (int64_t l = 0; l < model->t.layer_count[p->stack]; l++) {
        const eh_layer *layer = &model->w.stacks[p->stack].layers[l];
        const eh_layer_work *work = &model->work.stacks[p->stack].layers[l];
        EH_TRY(eh_sharing_begin_layer(model, p->stack, l, EH_FORWARD));
        EH_TRY(model->t.norm_first ? layer_norm_first(p, l, layer, work) : layer_norm_last(p, l, layer, work));
    }
    model->work.top_stream = p->stream; // the head adds the last branch at labelled rows only
    return EH_OK;
}

eh_status eh_encoder_forward(eh_model *model, const eh_dropout_plan *dropout, eh_tensor *source)
{
    pass p = {.model = model, .backend = model->backend, .dropout = dropout, .stack = EH_STACK_ENCODER};
    EH_TRY(run_stack(&p));
    *source = (eh_tensor){0};
    if (p.rows == 0)
        return EH_OK;
    const eh_norm_work *work = &model->work.stacks[EH_STACK_ENCODER].final_norm;
    EH_TRY(add_and_norm(&p, &model->w.stacks[EH_STACK_ENCODER].final_norm, work));
    *source = eh_first_rows(&work->y, p.rows);
    return eh_drop(model, dropout, model->t.final_dropout, EH_STACK_ENCODER, -1, EH_SITE_FINAL, source);
}

eh_status eh_stacks_forward(eh_model *model, const eh_dropout_plan *dropout, eh_cache *cache)
{
    pass p = {.model = model,
              .backend = model->backend,
              .dropout = dropout,
              .cache = cache,
              .stack = eh_top_stack(&model->t),
              .source_rows = model->work.batch[EH_STACK_ENCODER].rows};
    if (model->t.kind == EH_ENCODER_DECODER && cache == NULL)
        EH_TRY(eh_encoder_forward(model, dropout, &p.source));
    return run_stack(&p);
}

eh_status eh_layer_recompute(eh_model *model, const eh_dropout_plan *dropout, eh_stack stack, int64_t l,
                             const eh_tensor *source)
{
    const eh_layer *layer = &model->w.stacks[stack].layers[l];
    const eh_layer_work *work = &model->work.stacks[stack].layers[l];
    pass p = {.model = model,
              .backend = model->backend,
              .dropout = dropout,
              .stack = stack,
              .rows = model->work.batch[stack].rows,
              .source_rows = model->work.batch[EH_STACK_ENCODER].rows,
              .source = *source,
              .again = true};
    p.stream = eh_first_rows(model->t.norm_first ? &work->attention_norm.sum : &work->input, p.rows);
    return model->t.norm_first ? layer_norm_first(&p, l, layer, work) : layer_norm_last(&p, l, layer, work);
}
