// What the StereoSet metrics share: the order of the three sentences in a row, and figures from their scores.
#ifndef EH_METRICS_STEREOSET_INTERNAL_H
#define EH_METRICS_STEREOSET_INTERNAL_H

#include "core/string.h"
#include "metrics/metric.h"

enum { EH_STEREOTYPE, EH_ANTI_STEREOTYPE, EH_UNRELATED, EH_STEREOSET_LABELS };
extern const char *const eh_stereoset_label_names[EH_STEREOSET_LABELS]; // as in column names

// An item's fields. Sentences are by label; position[label] is the place in the file (0, 1, 2).
typedef struct {
    bool intrasentence;
    const char *target, *context;
    const char *sentences[EH_STEREOSET_LABELS];
    int position[EH_STEREOSET_LABELS];
} eh_stereoset_item;
// False if a label is missing or occurs twice.
bool eh_stereoset_read(const eh_item *item, eh_stereoset_item *stereoset);

// The text that the sentence has in the place of the context's BLANK: bytes [*first, *first + *size) of the sentence,
// the last one if there are several BLANKs. False if the sentence is not the context around it (letter case aside).
bool eh_stereoset_fill(const char *context, const char *sentence, size_t *first, size_t *size);

// Null pickers that ask the model about its sentences without their context (the words of the blank alone), and with
// the context's words in another order, drawn from the seed by item.
bool eh_stereoset_asks_left_out(const eh_metric_setup *setup);
bool eh_stereoset_asks_shuffled(const eh_metric_setup *setup);
// The context with its words, split at spaces, in that order; what holds BLANK moves too. Replaces *shuffled.
EH_CHECKED eh_status eh_stereoset_shuffle(const eh_metric_setup *setup, int64_t item, const char *context,
                                          eh_string *shuffled);

// Columns "<prefix>_<label>" of the three sentences. Returns in columns[3].
EH_CHECKED eh_status eh_stereoset_columns(eh_score_table *table, const char *prefix, eh_column_type type,
                                          int64_t columns[EH_STEREOSET_LABELS]);

// Aggregation (PROTOCOL 4.1, 4.3) of a table that has the columns "task", "target", "group" and, for each of its forms,
// "<form>log_likelihood_*" with "tokens_*" and "bytes_*", or "official_*".
EH_CHECKED eh_status eh_stereoset_prepare(const eh_score_table *table, eh_sample *sample);
void eh_stereoset_summarise(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures);

// The orders in which a question offers its sentences: [order][position] is the place in the file.
#define EH_STEREOSET_ORDERS 6
extern const int eh_stereoset_orders[EH_STEREOSET_ORDERS][3];
// Figures of a table of chosen answers; `study`: the generated reading bears the study's name and is the main one.
EH_CHECKED eh_status eh_stereoset_prepare_choices(const eh_score_table *table, eh_sample *sample, bool study);
void eh_stereoset_summarise_choices(const eh_sample *sample, const double *totals, int64_t cluster_count,
                                    eh_figure *figures);

// The three scores of the study's pooled counts (PROTOCOL 2.4), with its rounding; 0 where a denominator is 0.
typedef struct {
    double lms, ss, icat;
} eh_study_scores;
// The same without rounding.
eh_study_scores eh_stereoset_choice_scores(int64_t stereotype, int64_t anti_stereotype, int64_t unrelated);
eh_study_scores eh_stereoset_study_scores(int64_t stereotype, int64_t anti_stereotype, int64_t unrelated);

#endif
