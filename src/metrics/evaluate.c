// The loop of an evaluation: take a chunk of items, piece by piece ask, score, write rows, until none are left.
#include "metrics/evaluate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/signals.h"
#include "metrics/ask_internal.h"
#include "metrics/batch_internal.h"
#include "metrics/divergence_internal.h"
#include "metrics/fills_internal.h"
#include "metrics/items_internal.h"
#include "metrics/journal.h"
#include "metrics/rows_internal.h"
#include "metrics/sample_internal.h"
#include "metrics/texts_internal.h"

// One item that is being worked on.
typedef struct {
    eh_item item;
    char *text; // the item's fields, cut into NUL-terminated strings
    eh_asked asked;
    float *classes;
    int64_t class_capacity;
} work_item;

typedef struct work {
    eh_evaluator *evaluator;
    const eh_metric *metric;
    int answers; // of the metric's, those that the model gives
    const eh_metric_setup *setup;
    const eh_examples *examples;
    eh_score_table *table;
    eh_batcher *batcher, *classifier;
    eh_journal *journal;
    int64_t *chosen; // examples that are items and still to do
    double *costs;
    int64_t chosen_count, total_count; // total: with those that an earlier run has done
    int64_t piece_items;               // to be worked on next
    work_item *items;                  // of the piece
    int64_t item_count, item_capacity;
    eh_asked **asked; // [item_count]
    int64_t asked_capacity;
    eh_encoding encoding; // of texts for the classifier
} work;

static void work_deinit(work *w)
{
    for (int64_t i = 0; i < w->item_capacity; i++) {
        work_item *item = &w->items[i];
        eh_free(&item->text);
        eh_free(&item->classes);
        eh_asked_deinit(&item->asked);
    }
    eh_free(&w->items);
    eh_free(&w->asked);
    eh_free(&w->chosen);
    eh_free(&w->costs);
    eh_batcher_free(&w->batcher);
    eh_batcher_free(&w->classifier);
    eh_encoding_deinit(&w->encoding);
    eh_journal_close(&w->journal);
}

// --- Items --------------------------------------------------------------------------------------------------------

// What an item costs, roughly: its text, and a constant for what every item has.
static double cost_of(const eh_examples *examples, int64_t example)
{
    return 16 + (double)(examples->text_offsets[example + 1] - examples->text_offsets[example]);
}

// Which of its entity's prompts an example is, from 0: the format's field "index". 0 where there is none.
static eh_status number_in_entity(const eh_examples *examples, int64_t example, int64_t *number)
{
    char *text = NULL;
    eh_item item;
    EH_TRY(eh_item_read(examples, example, &text, &item));
    *number = strtoll(eh_item_field(&item, "index"), NULL, 10);
    eh_free(&text);
    return EH_OK;
}

// The examples that are items: one per row of the data set (training may have made several of one), of a data set that
// is trained on the held-out ones where the metric wants unseen text, and as many as the entry allows.
static eh_status choose_items(work *w)
{
    const eh_examples *examples = w->examples;
    const eh_job_metric *settings = w->setup->settings;
    bool held_out = false;
    uint64_t last = UINT64_MAX;
    int64_t *group_counts = NULL; // [65536], as groups are uint16_t
    eh_status status = EH_OK;
    for (int64_t i = 0; i < examples->count; i++) held_out = held_out || examples->splits[i] == EH_SPLIT_HOLDOUT;
    EH_TRY_OR(done, EH_ALLOC(examples->count, &w->chosen));
    EH_TRY_OR(done, EH_ALLOC(examples->count, &w->costs));
    EH_TRY_OR(done, EH_ALLOC(UINT16_MAX + 1, &group_counts));
    for (int64_t i = 0; i < examples->count; i++) {
        if ((w->metric->unseen_only && held_out && examples->splits[i] == EH_SPLIT_TRAIN) ||
            examples->source_rows[i] == last)
            continue;
        if (settings->limit > 0 && w->total_count == settings->limit)
            break;
        int64_t number = 0;
        if (settings->per_entity > 0)
            EH_TRY_OR(done, number_in_entity(examples, i, &number));
        if (settings->per_entity > 0 && number >= settings->per_entity)
            continue;
        int64_t *of_group = &group_counts[examples->groups[i]];
        if (settings->per_group > 0 && *of_group == settings->per_group)
            continue;
        ++*of_group;
        last = examples->source_rows[i];
        w->total_count++;
        if (w->journal != NULL && eh_journal_has(w->journal, (int64_t)last))
            continue;
        w->costs[w->chosen_count] = cost_of(examples, i);
        w->chosen[w->chosen_count++] = i;
    }
done:
    eh_free(&group_counts);
    return status;
}

// --- What is to be done, for plans --------------------------------------------------------------------------------

static void add_scoring(const work *w, eh_requests *requests, eh_evaluation_work *total)
{
    if (w->answers & EH_LIKELIHOODS) // other answers don't share
        eh_requests_find_prefixes(w->setup->kind, requests);
    total->read += (double)eh_requests_read_count(requests);
    for (int64_t s = 0; s < requests->sequence_count; s++) total->labels += (double)requests->sequences[s].label_count;
}

static void add_writing(const work *w, eh_requests *requests, eh_evaluation_work *total)
{
    const eh_generation generation = eh_item_generation(w->metric, w->setup);
    const double samples = eh_generation_is_greedy(&generation) ? 1 : (double)generation.samples;
    total->together = eh_generation_slots(INT64_MAX, generation.slots);
    for (int64_t p = 0; p < requests->prompt_count; p++) {
        eh_request_cut_prompt(requests, p, generation.max_new_tokens);
        total->read += (double)requests->prompts[2 * p + 1];
        total->written += samples * (double)generation.max_new_tokens;
    }
}

eh_status eh_evaluation_work_of(const eh_metric *metric, const eh_metric_setup *setup, const eh_examples *examples,
                                eh_evaluation_work *total)
{
    enum { SAMPLE = 64 };
    work w = {
        .metric = metric, .answers = eh_metric_answers(metric, setup->kind), .setup = setup, .examples = examples};
    eh_requests requests = {0};
    char *text = NULL;
    *total = (eh_evaluation_work){.together = 1};
    eh_status status = choose_items(&w);
    const int64_t count = w.chosen_count < SAMPLE ? w.chosen_count : SAMPLE;
    for (int64_t i = 0; i < count && status == EH_OK; i++) {
        eh_item item;
        status = eh_item_read(examples, w.chosen[i * w.chosen_count / count], &text, &item);
        if (status == EH_OK)
            status = eh_item_requests(metric, setup, &item, &requests);
        if (status != EH_OK)
            break;
        add_scoring(&w, &requests, total);
        if (w.answers & EH_GENERATIONS)
            add_writing(&w, &requests, total);
    }
    const double share = count > 0 ? (double)w.chosen_count / (double)count : 0;
    total->read *= share * (w.answers & EH_DIVERGENCES ? 2 : 1);
    total->labels *= share * (w.answers & EH_DIVERGENCES ? 2 : 1);
    total->written *= share;
    total->item_count = w.chosen_count;
    eh_requests_deinit(&requests);
    eh_free(&text);
    work_deinit(&w);
    return status;
}

// --- Asking -------------------------------------------------------------------------------------------------------

static eh_status begin_piece(work *w, const int64_t *indices, int64_t count)
{
    if (count > w->item_capacity) {
        EH_TRY(EH_RESIZE(w->item_capacity, count, &w->items));
        w->item_capacity = count;
    }
    EH_TRY(eh_reserve(count, &w->asked_capacity, sizeof *w->asked, (void **)&w->asked));
    w->item_count = count;
    for (int64_t i = 0; i < count; i++) {
        work_item *item = &w->items[i];
        w->asked[i] = &item->asked;
        eh_asked_forget_texts(&item->asked);
        EH_TRY(eh_item_read(w->examples, w->chosen[indices[i]], &item->text, &item->item));
        item->asked.item = item->item.index;
        EH_TRY(eh_item_requests(w->metric, w->setup, &item->item, &item->asked.requests));
    }
    return EH_OK;
}

static eh_status score_likelihoods(work *w)
{
    return eh_batcher_score(w->batcher, w->asked, w->item_count);
}

static eh_status score_divergences(work *w)
{
    for (int64_t i = 0; i < w->item_count; i++)
        EH_TRY(eh_divergence_score(w->evaluator->base, w->evaluator->model, w->asked[i]));
    eh_batcher_reserve_again(w->batcher);
    return EH_OK;
}

static eh_status generate_texts(work *w)
{
    const eh_generation generation = eh_item_generation(w->metric, w->setup);
    EH_TRY(eh_texts_generate(w->evaluator->model, w->setup->tokenizer, &generation, w->asked, w->item_count));
    eh_batcher_reserve_again(w->batcher);
    return EH_OK;
}

static eh_answers answers_of(const work *w, const work_item *item)
{
    return (eh_answers){.sequence_count = item->asked.requests.sequence_count,
                        .tags = item->asked.tags,
                        .label_first = item->asked.label_first,
                        .log_probabilities = item->asked.log_probabilities,
                        .divergences = item->asked.divergences,
                        .text_count = item->asked.text_count,
                        .texts = item->asked.texts,
                        .classified_count = w->classifier == NULL ? 0 : item->asked.requests.text_count,
                        .class_count = w->classifier == NULL ? 0 : eh_model_label_count(w->evaluator->classifier),
                        .classes = item->classes};
}

static eh_status classify_item(work *w, work_item *item)
{
    const eh_evaluator *e = w->evaluator;
    const eh_requests *r = &item->asked.requests;
    const int64_t labels = eh_model_label_count(e->classifier), longest = eh_model_max_length(e->classifier);
    eh_status status = EH_OK;
    int32_t *ids = NULL;
    int64_t *offsets = NULL, id_count = 0, id_capacity = 0;
    EH_TRY_OR(done, EH_ALLOC(r->text_count + 1, &offsets));
    EH_TRY_OR(done, eh_reserve(r->text_count * labels, &item->class_capacity, sizeof *item->classes,
                               (void **)&item->classes));
    for (int64_t t = 0; t < r->text_count; t++) {
        EH_TRY_OR(done, eh_tokenizer_encode(e->classifier_tokenizer, r->text.bytes + r->texts[2 * t],
                                            (size_t)r->texts[2 * t + 1], EH_WITH_SPECIAL, &w->encoding));
        EH_TRY_OR(done, eh_encoding_truncate(&w->encoding, longest));
        for (int64_t i = 0; i < w->encoding.count; i++)
            EH_TRY_OR(done, EH_APPEND(&ids, &id_count, &id_capacity, w->encoding.ids[i]));
        offsets[t + 1] = id_count;
    }
    status = eh_batcher_classify(w->classifier, r->text_count, ids, offsets, item->classes);
done:
    eh_free(&ids);
    eh_free(&offsets);
    return status;
}

static eh_status classify_texts(work *w)
{
    for (int64_t i = 0; i < w->item_count; i++) {
        work_item *item = &w->items[i];
        const eh_answers answers = answers_of(w, item);
        if (w->metric->classify != NULL)
            EH_TRY(w->metric->classify(w->setup, &item->item, &answers, &item->asked.requests));
        if (item->asked.requests.text_count > 0)
            EH_TRY(classify_item(w, item));
    }
    return EH_OK;
}

// Says in the item's rows what the bound on its length did to it, and whether its texts broke off.
static eh_status note_trouble(const eh_asked *asked, eh_score_table *table, int64_t first)
{
    for (int64_t row = first; row < table->row_count; row++) {
        eh_rows_integer(table, row, "cut", asked->requests.cut_tokens);
        if (asked->is_broken)
            EH_TRY(eh_rows_reason(table, row, EH_REASON_BROKEN));
        if (asked->requests.too_long_count > 0)
            EH_TRY(eh_rows_reason(table, row, EH_REASON_TOO_LONG));
    }
    return EH_OK;
}

static eh_status write_rows(work *w)
{
    for (int64_t i = 0; i < w->item_count; i++) {
        work_item *item = &w->items[i];
        const eh_answers answers = answers_of(w, item);
        const int64_t first = w->table->row_count;
        EH_TRY(w->metric->score(w->setup, &item->item, &answers, w->table));
        EH_TRY(note_trouble(&item->asked, w->table, first));
        EH_TRY(eh_journal_note(w->journal, w->table, first, item->item.index));
    }
    return eh_journal_flush(w->journal);
}

static eh_status run_piece(work *w, const int64_t *indices, int64_t count)
{
    EH_TRY(begin_piece(w, indices, count));
    if (w->answers & EH_LIKELIHOODS)
        EH_TRY(score_likelihoods(w));
    if (w->answers & EH_DIVERGENCES)
        EH_TRY(score_divergences(w));
    if (w->answers & EH_GENERATIONS)
        EH_TRY(generate_texts(w));
    if (w->answers & EH_FILLS)
        EH_TRY(eh_fills_find(w->batcher, w->setup->tokenizer, w->asked, w->item_count));
    if (w->answers & EH_CLASSES)
        EH_TRY(classify_texts(w));
    return write_rows(w);
}

// A chunk may be a quarter of all items. It is worked through in pieces of some seconds, after each of which the rows
// are noted, the progress is told and a stop is heeded: what a kill costs is a piece. Scores do not depend on pieces.
#define PIECE_SECONDS 5.0
#define PIECE_ITEMS 32 // the first; and at least so many where texts are written, or slots would stand empty

static void adapt_piece(work *w, double seconds)
{
    const int64_t least = (w->answers & EH_GENERATIONS) != 0 ? PIECE_ITEMS : 1;
    if (seconds < PIECE_SECONDS / 2 && w->piece_items < w->chosen_count)
        w->piece_items *= 2;
    else if (seconds > 2 * PIECE_SECONDS && w->piece_items > least)
        w->piece_items /= 2;
}

static eh_status run_pieces(work *w, eh_work_queue *queue, const int64_t *indices, int64_t count, eh_progress *progress)
{
    const int64_t done_before = w->total_count - w->chosen_count;
    for (int64_t first = 0; first < count;) {
        const int64_t rest = count - first, piece = rest < w->piece_items ? rest : w->piece_items;
        const double began = eh_seconds();
        if (eh_signals_stop_asked())
            return eh_error(EH_STOPPED, "stopped; the items that are done are kept, run it again to go on");
        EH_TRY(run_piece(w, indices + first, piece));
        EH_TRY(eh_work_queue_finish(queue, piece));
        eh_progress_show(progress, done_before + eh_work_queue_finished(queue), "");
        adapt_piece(w, eh_seconds() - began);
        first += piece;
    }
    return EH_OK;
}

static eh_status run_all(work *w, eh_work_queue *queue)
{
    char what[128];
    snprintf(what, sizeof what, "evaluate %s (%s)", w->table->name, w->evaluator->phase);
    eh_progress progress = eh_progress_begin(w->evaluator->log, what, "items", w->total_count);
    w->piece_items = PIECE_ITEMS;
    for (;;) {
        const int64_t *items = NULL;
        int64_t count = 0;
        EH_TRY(eh_work_queue_next(queue, &items, &count));
        if (count == 0)
            break;
        EH_TRY(run_pieces(w, queue, items, count, &progress));
    }
    eh_progress_end(&progress, w->total_count, "");
    return EH_OK;
}

// Tells how many items were cut, and how many rows have no score and why; nothing is left out in silence.
static eh_status report_unscored(const work *w)
{
    const eh_score_table *table = w->table;
    const int64_t cut = eh_score_column(table, "cut"), reason = eh_score_column(table, "reason");
    double counts[3] = {0}; // rows that were cut, without a score, of them too long
    for (int64_t row = 0; row < table->row_count; row++) {
        const char *why = eh_row_text(table, reason, row);
        counts[0] += eh_row_integer(table, cut, row) > 0;
        counts[1] += why[0] != '\0';
        counts[2] += strcmp(why, EH_REASON_TOO_LONG) == 0;
    }
    EH_TRY(eh_comm_sum_double(w->evaluator->comm, counts, 3));
    if (counts[0] > 0)
        eh_log_warning(w->evaluator->log,
                       "%s: %.0f rows lost the oldest tokens of their context to fit the model's %lld", table->name,
                       counts[0], (long long)w->setup->max_length);
    if (counts[1] > 0)
        eh_log_warning(w->evaluator->log,
                       "%s: %.0f rows have no score (%.0f too long for the model): see column 'reason'", table->name,
                       counts[1], counts[2]);
    return EH_OK;
}

// --- The whole ------------------------------------------------------------------------------------------------------

static const char *or_none(const char *text)
{
    return text == NULL ? "-" : text;
}

// What a row depends on beside its item: the journals of a run that differs in any of it are of no use.
static eh_status journal_key(const work *w, eh_string *key)
{
    const eh_metric_setup *setup = w->setup;
    const eh_job_metric *m = setup->settings;
    const eh_job_switches *s = &setup->job->switches;
    EH_TRY(eh_string_printf(key, "%s %s %s %llu %s %s", setup->model_sha256, or_none(setup->base_sha256),
                            setup->data_key, (unsigned long long)setup->seed, or_none(setup->job->device),
                            or_none(setup->job->precision)));
    EH_TRY(eh_string_printf(key, " %s %s %s %s %s %s %s %lld %lld", or_none(m->protocol), or_none(m->orders),
                            or_none(m->wording), or_none(m->context_nulls), or_none(m->classifier), or_none(m->lexicon),
                            or_none(m->group), (long long)m->samples, (long long)m->max_new_tokens));
    EH_TRY(eh_string_printf(key, " %lld %lld %lld", (long long)m->limit, (long long)m->per_entity,
                            (long long)m->per_group));
    for (int64_t i = 0; i < m->stop.count; i++)
        EH_TRY(eh_string_printf(key, " stop %zu %s", strlen(m->stop.items[i]), m->stop.items[i]));
    return eh_string_printf(key, " %s %d %d %d %d %d %d", or_none(setup->job->preset), (int)s->answer_parser,
                            (int)s->prompt_iteration, (int)s->max_length, (int)s->score_text, (int)s->honest_mode,
                            (int)s->regard_groups);
}

static eh_status prepare(work *w)
{
    eh_evaluator *e = w->evaluator;
    if (w->setup->settings->stop.count > 0 && (w->answers & EH_GENERATIONS) == 0)
        return eh_error(EH_INPUT, "metric '%s' has no text written, which 'stop' could end", w->metric->name);
    EH_TRY(eh_rows_begin(w->table));
    EH_TRY(w->metric->columns(w->setup, w->table));
    EH_TRY(eh_batcher_new(e->model, e->batch_tokens, &w->batcher));
    if ((w->answers & EH_CLASSES) == 0)
        return EH_OK;
    EH_ASSERT(e->classifier != NULL); // eh_metric.inputs has seen to it
    return eh_batcher_new(e->classifier, e->batch_tokens, &w->classifier);
}

// Says what this entry will take, before it does. On a GPU the models' part lies there.
static eh_status predict_memory(const work *w)
{
    eh_evaluator *e = w->evaluator;
    const bool on_cpu = strcmp(e->device, "cpu") == 0;
    const bool two = (w->answers & EH_DIVERGENCES) != 0 && e->base != e->model;
    eh_inference_use use;
    eh_string text = {0};
    EH_TRY(eh_evaluation_use(w->metric, w->setup, w->examples, e->batch_tokens, eh_model_vocab_size(e->model), &use));
    eh_inference_memory memory = eh_model_inference_memory(e->model, on_cpu, &use);
    if (two) {
        const eh_inference_memory base = eh_model_inference_memory(e->base, on_cpu, &use);
        eh_inference_memory_add(&base, &memory);
    }
    if (w->classifier != NULL) {
        const eh_inference_use texts = eh_classification_use(e->batch_tokens);
        const eh_inference_memory classifier = eh_model_inference_memory(e->classifier, on_cpu, &texts);
        eh_inference_memory_add(&classifier, &memory);
    }
    if (e->program_bytes == 0) {
        const size_t now = eh_resident_bytes(), held = strcmp(e->device, "cuda") == 0 ? 0 : memory.weights;
        e->program_bytes = now > held ? now - held : 1;
    }
    const size_t together = eh_inference_memory_sum(&memory) + e->program_bytes;
    e->predicted_bytes = together > e->predicted_bytes ? together : e->predicted_bytes;
    eh_status status = eh_inference_memory_print(&memory, &text);
    if (status == EH_OK)
        eh_log_line(e->log, "memory of a rank for %s: %s; with the program %.1f MiB", w->table->name, text.bytes,
                    (double)together / 1048576);
    eh_string_deinit(&text);
    return status;
}

eh_status eh_evaluate(eh_evaluator *evaluator, const eh_metric *metric, const eh_metric_setup *setup,
                      const eh_examples *examples, eh_score_table *table)
{
    work w = {.evaluator = evaluator,
              .metric = metric,
              .answers = eh_metric_answers(metric, setup->kind),
              .setup = setup,
              .examples = examples,
              .table = table};
    eh_work_queue *queue = NULL;
    eh_string key = {0};
    const double began = eh_seconds();
    eh_status status = prepare(&w);
    if (status == EH_OK)
        status = journal_key(&w, &key);
    if (status == EH_OK)
        status = predict_memory(&w);
    EH_TRY_OR(done, eh_comm_agree(evaluator->comm, status));
    EH_TRY_OR(done, eh_journal_open(evaluator->comm, evaluator->journal, key.bytes, table, &w.journal));
    EH_TRY_OR(done, eh_comm_agree(evaluator->comm, choose_items(&w)));
    EH_TRY_OR(done, eh_work_queue_new(evaluator->comm, w.chosen_count, w.costs, &queue));
    status = run_all(&w, queue);
    if (status != EH_OK && status != EH_STOPPED && eh_comm_size(evaluator->comm) > 1)
        eh_comm_abort(evaluator->comm, status); // the others would work on for hours
    evaluator->seconds_working += eh_seconds() - began;
    EH_TRY_OR(done, eh_comm_agree(evaluator->comm, status));
    status = report_unscored(&w);
done:
    eh_work_queue_free(&queue);
    work_deinit(&w);
    eh_string_deinit(&key);
    return status;
}

eh_metric_setup eh_metric_setup_planned(const eh_job *job, const eh_job_metric *settings, const char *data_format,
                                        const eh_model_outline *outline, const eh_tokenizer *tokenizer,
                                        eh_encoding *encoding)
{
    eh_metric_setup setup = {.job = job,
                             .settings = settings,
                             .data_format = data_format,
                             .tokenizer = tokenizer,
                             .kind = outline->kind,
                             .head = outline->head,
                             .model_type = outline->model_type,
                             .special = outline->special,
                             .max_length = outline->max_length,
                             .seed = job->seed,
                             .encoding = encoding};
    if (setup.special.mask < 0)
        setup.special.mask = eh_tokenizer_mask(tokenizer);
    return setup;
}

eh_metric_setup eh_metric_setup_for(const eh_job *job, const eh_job_metric *settings, const char *data_format,
                                    const eh_model *model, const eh_tokenizer *tokenizer, eh_encoding *encoding)
{
    const eh_model_outline outline = {.kind = eh_model_kind_of(model),
                                      .head = eh_model_head(model),
                                      .model_type = eh_model_type(model),
                                      .special = eh_model_special_ids(model),
                                      .max_length = eh_model_max_length(model)};
    return eh_metric_setup_planned(job, settings, data_format, &outline, tokenizer, encoding);
}
