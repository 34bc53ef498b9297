// A metric: what it asks of a model about one item of a data set, the rows it makes of the answers, and the figures it
// makes of the rows. One file each, one line in list.h. The evaluator (evaluate.h) does the asking.
#ifndef EH_METRICS_METRIC_H
#define EH_METRICS_METRIC_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "io/scores.h"
#include "io/shard.h"
#include "job/job.h"
#include "metrics/lexicon.h"
#include "metrics/sample.h"
#include "metrics/words.h"
#include "model/generate.h"
#include "model/model.h"
#include "text/tokenizer.h"

#define EH_ITEM_FIELDS 12

// One item of a data set, borrowed. Its fields are those of the shards' text, as the data format names them.
typedef struct {
    int64_t index; // row of the data set: the score row's "item"
    int64_t field_count;
    const char *names[EH_ITEM_FIELDS], *fields[EH_ITEM_FIELDS]; // NUL-terminated
    size_t sizes[EH_ITEM_FIELDS];
    const char *group;
    int64_t candidate_count;
    const int8_t *labels; // [candidate_count]
    eh_split split;
} eh_item;

// The field, "" if the format has none of that name.
const char *eh_item_field(const eh_item *item, const char *name);

// What a metric may know: the entry of `evaluate:`, the model (not its weights) and its tokenizer.
typedef struct {
    const eh_job *job;
    const eh_job_metric *settings;
    const char *data_format;
    const eh_tokenizer *tokenizer;
    eh_model_kind kind;
    eh_head head;
    const char *model_type;
    eh_special_ids special;
    int64_t max_length; // positions of the model, or a default window where it has no bound
    uint64_t seed;
    const char *model_sha256, *base_sha256, *data_key; // what rows depend on; base_sha256 may be NULL
    const eh_model *classifier;                        // of the entry; NULL: none
    const eh_lexicon *lexicon;                         // of the entry; NULL: none
    const eh_word_counts *words;                       // of the data set, where the metric wants them
    const char *first_group;                           // of the data set, by name; NULL: it has none
    eh_encoding *encoding;                             // scratch
} eh_metric_setup;

// --- Asking -------------------------------------------------------------------------------------------------------
// What is longer than the model's context loses the oldest tokens of its context (the source, the prompt), but for the
// start token. What is too long without any context is not asked: its log-probabilities are NaN. Both are counted: the
// rows' column "cut" is the number of tokens that their item lost, and "reason" says that an item was too long.
typedef struct eh_requests eh_requests; // the requests of one item

// Marks the sequences that follow, so that `score` knows what they were asked for. Not negative; 0 at first.
void eh_request_tag(eh_requests *requests, int32_t tag);

// log P of each id of `continuation` after `context` (decoders; context not empty). Sequences of an item that have
// equal contexts share their computation.
EH_CHECKED eh_status eh_request_continuation(eh_requests *requests, const int32_t *context, int64_t context_count,
                                             const int32_t *continuation, int64_t count);
// log P of each id of `target` given `source` (encoder-decoder).
EH_CHECKED eh_status eh_request_target(eh_requests *requests, const int32_t *source, int64_t source_count,
                                       const int32_t *target, int64_t count);
// log P of each of `ids` as the next token after `context` (decoders), or as first target after `source`: choices.
EH_CHECKED eh_status eh_request_next(eh_requests *requests, const int32_t *context, int64_t context_count,
                                     const int32_t *ids, int64_t count);
// log P of `gold[i]` at positions[i] of a masked model's input as it stands (masks already put in). type_ids may be
// NULL.
EH_CHECKED eh_status eh_request_masked(eh_requests *requests, const int32_t *ids, const uint8_t *type_ids,
                                       int64_t count, const int32_t *positions, const int32_t *gold,
                                       int64_t position_count);
// The `most` likeliest tokens at positions[0] of a masked model's input, the mask, as texts of one token each, the
// likeliest first (of equally likely ones the lower id): no special tokens, and none that the tokenizer has no word
// for. None at all if the model's output is NaN or the input is too long.
EH_CHECKED eh_status eh_request_fills(eh_requests *requests, const int32_t *ids, const uint8_t *type_ids, int64_t count,
                                      int64_t position, int64_t most);
// Texts generated after the prompt, by the metric's `generation`.
EH_CHECKED eh_status eh_request_generation(eh_requests *requests, const int32_t *prompt, int64_t count);
// Class probabilities of a text: by the classifier of the metric's entry, or by the model itself if it is one.
EH_CHECKED eh_status eh_request_class(eh_requests *requests, const char *text, size_t size);

typedef struct {
    int64_t prompt, sample; // the number of the request among the item's; of a fill, how many are likelier
    const char *text;       // decoded without special tokens
    size_t size;
    const int32_t *ids; // new tokens only
    int64_t count;
    bool ended; // by the model's end token or a stop string, not by the bound on its length; a fill has
} eh_answer_text;

// The answers to one item's requests, in the order of the requests. Borrowed.
typedef struct {
    int64_t sequence_count;
    const int32_t *tags;            // [sequence_count]
    const int64_t *label_first;     // [sequence_count + 1]
    const float *log_probabilities; // of sequence s: [label_first[s] .. label_first[s + 1])
    const double *divergences;      // as log_probabilities: KL(base || model) in nats; EH_DIVERGENCES only
    int64_t text_count;             // 0 too if the model's output was NaN for one of them; the rows' "reason" says so
    const eh_answer_text *texts;    // by prompt, then by sample
    int64_t classified_count, class_count;
    const float *classes; // [classified_count, class_count] probabilities
} eh_answers;

// --- The metric ---------------------------------------------------------------------------------------------------
// A metric of EH_GENERATIONS and EH_FILLS takes texts either way: masked models fill gaps, all others write.
typedef enum {
    EH_LIKELIHOODS = 1,
    EH_GENERATIONS = 2,
    EH_CLASSES = 4,
    EH_DIVERGENCES = 8,
    EH_FILLS = 16
} eh_answers_kind;

typedef struct eh_metric {
    const char *name;     // group of the score file: "stereoset/likelihood"
    const char *metric;   // in the job: `metric:`
    const char *protocol; // in the job: `protocol:`; the first metric of a name in list.h is its default
    const char *formats;  // data formats that it takes, separated by spaces
    int answers;          // eh_answers_kind, or'ed: what the evaluator must supply, see eh_metric_answers
    // Makes the metric's own items from the setup alone, in place of a data set's; `formats` is "" then. May be NULL.
    eh_status (*items)(const eh_metric_setup *setup, eh_examples *examples);
    bool wants_words; // setup->words, for its null pickers
    bool pooled;      // its figures depend on the sums over all clusters alone: a bootstrap draw needs no others
    bool unseen_only; // of a data set that is trained on, take the held-out part alone
    const struct eh_grouped *grouped; // for eh_grouped_prepare and eh_grouped_summarise as prepare and summarise
    // EH_INPUT with the reason if this kind of model can't be measured: no mistake, the tables say so. May be NULL.
    eh_status (*check)(const eh_metric_setup *setup);
    // EH_INPUT with the reason if the entry lacks a classifier or a lexicon that the metric needs, or has a wrong one
    // (setup->classifier and ->lexicon are open): the user must act, other metrics go on. May be NULL.
    eh_status (*inputs)(const eh_metric_setup *setup);
    // Names the columns beyond "item", "id", "group" and "reason".
    eh_status (*columns)(const eh_metric_setup *setup, eh_score_table *table);
    eh_status (*requests)(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests);
    // How texts are generated (EH_GENERATIONS). eos, seed, slots and the entry's stop strings are set by the evaluator
    // before the call.
    void (*generation)(const eh_metric_setup *setup, eh_generation *generation);
    // After the generations, what the classifier is to judge. NULL if there is none.
    eh_status (*classify)(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                          eh_requests *requests);
    // Appends the item's rows. An item that could not be scored is a row with NaN and a "reason".
    eh_status (*score)(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table);
    // rows -> sample (values, clusters, strata, scopes, figures); see sample.h.
    eh_status (*prepare)(const eh_score_table *table, eh_sample *sample);
    // totals [cluster_count, stratum_count, 1 + value_count] (the count of items first) -> figures. Pure.
    void (*summarise)(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures);
} eh_metric;

// The metric of an entry of `evaluate:`; EH_INPUT naming the ones there are.
EH_CHECKED eh_status eh_metric_find(const char *metric, const char *protocol, const eh_metric **found);
// Of the metric's answers those that a model of this kind can give.
int eh_metric_answers(const eh_metric *metric, eh_model_kind kind);
// Whether `format` is among the metric's.
bool eh_metric_takes(const eh_metric *metric, const char *format);
// Whether the entry `settings` of the metric is for that data set: it names it, or the metric takes its format.
bool eh_metric_wants(const eh_metric *metric, const eh_job_metric *settings, const eh_job_data *data);
// The metric that made a table ("stereoset/likelihood", or "stereoset/likelihood@DATA" where a job measures several
// data sets by one metric); NULL if there is none.
const eh_metric *eh_metric_of_table(const char *table_name);
// All metrics, NULL-terminated.
const eh_metric *const *eh_metrics(void);

// Makes a fresh table one that was refused: the columns that all tables have, no rows, the reason.
EH_CHECKED eh_status eh_score_table_refuse(const char *reason, eh_score_table *table);
// The rows of any table, prepared. EH_INPUT if it was refused, its metric is unknown or a column is missing.
EH_CHECKED eh_status eh_metric_sample(const eh_score_table *table, eh_sample *sample);

#endif
