// What StereoSet by likelihood and its null pickers ask alike.
#ifndef EH_METRICS_STEREOSET_LIKELIHOOD_INTERNAL_H
#define EH_METRICS_STEREOSET_LIKELIHOOD_INTERNAL_H

#include "metrics/stereoset_internal.h"

// What a sequence was asked for: a label and one of these.
typedef enum {
    EH_FORM_CONTINUE,
    EH_FORM_PROMPTED,
    EH_FORM_INFILL,
    EH_FORM_PLL,
    EH_FORM_OFFICIAL,
    EH_FORM_NEXT,
    EH_FORM_NO_CONTEXT,
    EH_FORM_SHUFFLED,
    EH_FORMS
} eh_stereoset_form;
extern const char *const eh_stereoset_form_names[EH_FORMS];

static inline int32_t eh_stereoset_tag(eh_stereoset_form form, int label)
{
    return (int32_t)form * EH_STEREOSET_LABELS + label;
}

// Column "<prefix>_<name>_<label>", "<name>_<label>" where the prefix is "".
void eh_stereoset_set_number(eh_score_table *table, int64_t row, const char *prefix, const char *name, int label,
                             double value);
void eh_stereoset_set_integer(eh_score_table *table, int64_t row, const char *prefix, const char *name, int label,
                              int64_t value);

// The context with every BLANK replaced; with `numbered` by <extra_id_0>, <extra_id_1>, ..., else by `filler`.
EH_CHECKED eh_status eh_stereoset_replace_blanks(const char *context, const char *filler, bool numbered,
                                                 eh_string *text, int *blanks);
// Masks each token of the text that touches bytes [first, first + size) of the second text (or of the only one; source
// 1, 0).
EH_CHECKED eh_status eh_stereoset_ask_each(const eh_metric_setup *setup, const eh_encoding *encoding, uint8_t source,
                                           size_t first, size_t size, eh_requests *requests);

// The null pickers that ask the model about its sentences without their context (stereoset_nulls.c).
EH_CHECKED eh_status eh_stereoset_ask_nulls(const eh_metric_setup *setup, const eh_stereoset_item *item, int64_t index,
                                            eh_requests *requests);
void eh_stereoset_score_nulls(const eh_metric_setup *setup, const eh_answers *answers, eh_score_table *table,
                              int64_t row);
EH_CHECKED eh_status eh_stereoset_null_columns(const eh_metric_setup *setup, eh_score_table *table);

#endif
