// Continuous batching: each slot works on one text; every round the model reads one token a slot (or a new prompt), and
// a finished text's slot takes the next prompt in the same round.
#include "model/generate.h"

#include <string.h>

#include "core/memory.h"
#include "model/cache.h"
#include "model/sample.h"

#define USUAL_SLOTS 16

typedef struct {
    bool busy;
    int64_t prompt, sample;
    int32_t *ids;        // what the decoder has read and made: prompt (or start token), then new tokens
    int64_t given;       // of them, those before the first new token
    int64_t count;       // ids so far
    int64_t read;        // of them, those in the cache
    int64_t source_rows; // encoder-decoder: keys of the source
} text_slot;

typedef struct {
    eh_model *model;
    const eh_generation *settings;
    int64_t prompt_count;
    const int32_t *prompt_ids;
    const int64_t *prompt_offsets, *item_ids;
    eh_generated_sink sink;
    void *sink_context;
    int64_t next_prompt, next_sample; // what the next free slot gets
    int64_t slot_count, slot_rows, source_rows, samples;
    int64_t batch_rows; // of the decoder: all slots may begin at once, with the longest prompt
    text_slot *slots;
    eh_cache cache;
    eh_sampler sampler;
    int64_t *row_slot; // which slot asked for row i of the logits
} generation;

static const eh_dropout_plan no_dropout = {0};

bool eh_generation_is_greedy(const eh_generation *settings)
{
    return !settings->sample && settings->repetition_penalty == 1 && settings->no_repeat_ngram == 0 &&
           (settings->min_new_tokens == 0 || settings->eos < 0);
}

int64_t eh_generation_slots(int64_t texts, int64_t wanted)
{
    const int64_t slots = wanted > 0 ? wanted : USUAL_SLOTS;
    return texts < slots ? texts : slots;
}

static bool has_source(const generation *g)
{
    return g->model->t.kind == EH_ENCODER_DECODER;
}

// Tokens that a prompt's text begins with: the prompt, or the decoder's start token.
static int64_t given_count(const generation *g, int64_t prompt)
{
    return has_source(g) ? 1 : g->prompt_offsets[prompt + 1] - g->prompt_offsets[prompt];
}

static eh_status check_settings(const generation *g)
{
    const eh_generation *s = g->settings;
    const eh_transformer *t = &g->model->t;
    if (t->kind == EH_ENCODER)
        return eh_error(EH_INPUT, "a %s model can't generate text", g->model->arch->model_type);
    if (s->max_new_tokens < 1 || s->samples < 1 || (s->sample && !(s->temperature > 0)) || !(s->top_p > 0) ||
        s->top_p > 1 || s->top_k < 0 || !(s->repetition_penalty > 0) || s->no_repeat_ngram < 0)
        return eh_error(EH_INPUT,
                        "generation: max_new_tokens, samples and temperature must be positive, top_p in (0, 1]");
    for (int64_t i = 0; i < s->stops.count; i++)
        if (s->stops.strings[i][0] == '\0')
            return eh_error(EH_INPUT, "generation: a stop string is empty");
    if (has_source(g) && t->special.decoder_start < 0)
        return eh_error(EH_INPUT, "config.json has no decoder_start_token_id");
    for (int64_t i = 0; i < g->prompt_offsets[g->prompt_count]; i++)
        if (g->prompt_ids[i] < 0 || g->prompt_ids[i] >= t->vocab_size)
            return eh_error(EH_INPUT, "token id %d is not in the model's vocabulary", (int)g->prompt_ids[i]);
    return EH_OK;
}

// The longest text decides how long a slot is; a bounded model's positions end it.
static eh_status plan_sizes(generation *g)
{
    const int64_t most = eh_model_max_length(g->model);
    g->samples = g->settings->sample ? g->settings->samples : 1;
    for (int64_t p = 0; p < g->prompt_count; p++) {
        const int64_t length = g->prompt_offsets[p + 1] - g->prompt_offsets[p], given = given_count(g, p);
        if (given < 1)
            return eh_error(EH_INPUT, "prompt %lld is empty: a decoder needs at least one token", (long long)p);
        if (given >= most)
            return eh_error(EH_INPUT, "prompt %lld has %lld tokens, the model's positions end at %lld", (long long)p,
                            (long long)given, (long long)most);
        const int64_t rows = given + g->settings->max_new_tokens < most ? given + g->settings->max_new_tokens : most;
        g->slot_rows = rows > g->slot_rows ? rows : g->slot_rows;
        g->batch_rows = given > g->batch_rows ? given : g->batch_rows;
        if (has_source(g))
            g->source_rows = length > g->source_rows ? length : g->source_rows;
    }
    const int64_t texts = g->prompt_count * g->samples;
    g->slot_count = eh_generation_slots(texts, g->settings->slots);
    g->batch_rows *= g->slot_count;
    return EH_OK;
}

static eh_status begin(generation *g)
{
    EH_TRY(check_settings(g));
    EH_TRY(plan_sizes(g));
    const eh_batch_limits limits = {.tokens = has_source(g) ? g->source_rows : g->batch_rows,
                                    .decoder_tokens = has_source(g) ? g->batch_rows : 0,
                                    .sequences = g->slot_count,
                                    .labels = g->slot_count};
    EH_TRY(eh_model_reserve(g->model, &limits));
    EH_TRY(eh_logits_reserve(g->model, g->slot_count));
    EH_TRY(eh_cache_init(&g->cache, g->model, g->slot_count, g->slot_rows, g->source_rows, g->batch_rows));
    EH_TRY(EH_ALLOC(g->slot_count, &g->slots));
    EH_TRY(EH_ALLOC(g->slot_count, &g->row_slot));
    for (int64_t s = 0; s < g->slot_count; s++) EH_TRY(EH_ALLOC(g->slot_rows, &g->slots[s].ids));
    return eh_sampler_init(g->model->backend, g->settings, g->model->t.vocab_size, g->slot_count, g->slot_rows,
                           &g->sampler);
}

static void finish(generation *g)
{
    for (int64_t s = 0; g->slots != NULL && s < g->slot_count; s++) eh_free(&g->slots[s].ids);
    eh_free(&g->slots);
    eh_free(&g->row_slot);
    eh_cache_deinit(&g->cache);
    eh_sampler_deinit(&g->sampler);
}

// Runs the encoder over one prompt and keeps what the decoder will look at.
static eh_status read_source(generation *g, int64_t slot, const int32_t *ids, int64_t count)
{
    eh_model *model = g->model;
    const int64_t offsets[2] = {0, count}, none[2] = {0, 0};
    const eh_batch batch = {
        .sequence_count = 1, .input_ids = ids, .input_offsets = offsets, .decoder_ids = ids, .decoder_offsets = none};
    eh_tensor source;
    EH_TRY(eh_batch_stage(model, &batch));
    EH_TRY(eh_encoder_forward(model, &no_dropout, &source));
    g->slots[slot].source_rows = count;
    return eh_cache_fill_source(&g->cache, slot, &source);
}

// A free slot takes the next text, if there is one.
static eh_status take_next(generation *g, int64_t s)
{
    text_slot *slot = &g->slots[s];
    slot->busy = g->next_prompt < g->prompt_count;
    if (!slot->busy)
        return EH_OK;
    const int32_t *ids = g->prompt_ids + g->prompt_offsets[g->next_prompt];
    const int64_t count = g->prompt_offsets[g->next_prompt + 1] - g->prompt_offsets[g->next_prompt];
    slot->prompt = g->next_prompt;
    slot->sample = g->next_sample;
    slot->read = 0;
    slot->count = slot->given = given_count(g, slot->prompt);
    if (++g->next_sample == g->samples) {
        g->next_sample = 0;
        g->next_prompt++;
    }
    if (!has_source(g)) {
        memcpy(slot->ids, ids, (size_t)count * sizeof *ids);
        return EH_OK;
    }
    slot->ids[0] = g->model->t.special.decoder_start;
    return read_source(g, s, ids, count);
}

// The unread tokens of all slots as one batch: ids and positions, where keys lie, and the rows whose logits are asked
// for.
static eh_status stage_round(generation *g, int64_t *row_count)
{
    eh_model *model = g->model;
    eh_work *work = &model->work;
    eh_stack_batch *staged = &work->batch[EH_STACK_DECODER];
    int64_t rows = 0, n = 0;
    for (int64_t s = 0; s < g->slot_count; s++) {
        text_slot *slot = &g->slots[s];
        if (!slot->busy)
            continue;
        const int64_t count = slot->count - slot->read, first = s * g->slot_rows;
        for (int64_t i = 0; i < count; i++) {
            work->host_ids[EH_STACK_DECODER][rows + i] = slot->ids[slot->read + i];
            work->host_positions[EH_STACK_DECODER][rows + i] = (int32_t)(model->t.position_offset + slot->read + i);
        }
        staged->host_segments[n] =
            (eh_segment){(int32_t)rows, (int32_t)count, (int32_t)first, (int32_t)slot->count, 0, 0, 0, 0};
        work->host_cross_segments[n] = (eh_segment){
            (int32_t)rows, (int32_t)count, (int32_t)(s * g->source_rows), (int32_t)slot->source_rows, 0, 0, 0, 0};
        g->cache.runs[n] = (eh_cache_run){rows, first + slot->read, count};
        g->row_slot[n] = s;
        rows += count;
        work->host_rows[n++] = (int32_t)(rows - 1);
        slot->read = slot->count;
    }
    staged->rows = rows;
    staged->segment_count = g->cache.run_count = *row_count = n;
    const eh_tensor ids = eh_first_rows(&staged->ids, rows), positions = eh_first_rows(&staged->positions, rows);
    const eh_tensor segments = eh_first_rows(&staged->segments, n), label_rows = eh_first_rows(&work->label_rows, n);
    EH_TRY(eh_backend_upload(model->backend, work->host_ids[EH_STACK_DECODER], &ids));
    EH_TRY(eh_backend_upload(model->backend, work->host_positions[EH_STACK_DECODER], &positions));
    EH_TRY(eh_backend_upload(model->backend, staged->host_segments, &segments));
    if (has_source(g)) {
        const eh_tensor cross = eh_first_rows(&work->cross_segments, n);
        EH_TRY(eh_backend_upload(model->backend, work->host_cross_segments, &cross));
    }
    return eh_backend_upload(model->backend, work->host_rows, &label_rows);
}

// Adds the next token of a slot; when the text is done, delivers it and takes the next.
static eh_status advance(generation *g, int64_t s, int32_t token)
{
    text_slot *slot = &g->slots[s];
    const eh_generation *settings = g->settings;
    const bool by_eos = token == settings->eos && settings->eos >= 0, broken = token < 0;
    if (!by_eos && !broken)
        slot->ids[slot->count++] = token;
    const bool full = slot->count - slot->given >= settings->max_new_tokens || slot->count >= g->slot_rows;
    eh_generated text = {.item = g->item_ids[slot->prompt],
                         .sample = slot->sample,
                         .ids = slot->ids + slot->given,
                         .count = slot->count - slot->given,
                         .ended_by_eos = by_eos,
                         .is_broken = broken};
    if (!by_eos && !broken)
        EH_TRY(eh_stops_find(&settings->stops, text.ids, &text.count, &text.text_size, &text.ended_by_stop));
    if (!by_eos && !broken && !full && !text.ended_by_stop)
        return EH_OK;
    EH_TRY(g->sink(g->sink_context, &text));
    return take_next(g, s);
}

static eh_status run_round(generation *g)
{
    eh_model *model = g->model;
    int64_t n = 0;
    eh_tensor hidden;
    EH_TRY(stage_round(g, &n));
    EH_TRY(eh_stacks_forward(model, &no_dropout, &g->cache));
    EH_TRY(eh_head_forward(model, &no_dropout, n, &hidden));
    const eh_tensor logits = eh_first_rows(&model->work.logits, n);
    EH_TRY(eh_head_logits(model, &hidden, &logits));
    eh_sampler_begin(&g->sampler);
    for (int64_t i = 0; i < n; i++) {
        const text_slot *slot = &g->slots[g->row_slot[i]];
        const int64_t made = slot->count - slot->given;
        const eh_sample_place place = {.item = g->item_ids[slot->prompt], .sample = slot->sample, .index = made};
        eh_sampler_add(&g->sampler, &place, slot->ids, slot->count, made);
    }
    const int32_t *tokens;
    EH_TRY(eh_sampler_end(&g->sampler, &logits, &tokens));
    for (int64_t i = 0; i < n; i++) EH_TRY(advance(g, g->row_slot[i], tokens[i]));
    return EH_OK;
}

static bool is_busy(const generation *g)
{
    for (int64_t s = 0; s < g->slot_count; s++)
        if (g->slots[s].busy)
            return true;
    return false;
}

eh_status eh_generate(eh_model *model, const eh_generation *settings, int64_t prompt_count, const int32_t *prompt_ids,
                      const int64_t *prompt_offsets, const int64_t *item_ids, eh_generated_sink sink,
                      void *sink_context)
{
    generation g = {.model = model,
                    .settings = settings,
                    .prompt_count = prompt_count,
                    .prompt_ids = prompt_ids,
                    .prompt_offsets = prompt_offsets,
                    .item_ids = item_ids,
                    .sink = sink,
                    .sink_context = sink_context};
    if (prompt_count == 0)
        return EH_OK;
    eh_status status = begin(&g);
    for (int64_t s = 0; status == EH_OK && s < g.slot_count; s++) status = take_next(&g, s);
    while (status == EH_OK && is_busy(&g)) status = run_round(&g);
    finish(&g);
    return status;
}
