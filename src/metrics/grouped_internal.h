// Samples of metrics whose figures are asked for over all items and for each group: the part of `prepare` that they
// share.
#ifndef EH_METRICS_GROUPED_INTERNAL_H
#define EH_METRICS_GROUPED_INTERNAL_H

#include "metrics/rows_internal.h"
#include "metrics/sample_internal.h"

typedef struct {
    const char *name, *unit, *null_picker; // null_picker NULL: the model's own
    eh_figure_kind kind;
    double ideal;
    int item_value; // as in eh_figure_info
    bool main;
} eh_figure_row;

typedef struct {
    int64_t value_count;
    const char *cluster; // text column whose equal values make a cluster; NULL: each item is one by itself
    const char *stratum; // text column whose values are the scopes; NULL: "group"
    // What an item contributes, whose rows are [row, end). False: it has no score.
    bool (*fill)(const eh_score_table *table, int64_t row, int64_t end, double *values);
    const eh_figure_row *figures; // of every scope, in this order
    int64_t figure_count;
} eh_grouped;

// Reads the table, item by item; figure f of scope s is figures[s * figure_count + f]. The scopes are "all" and, if
// there is more than one, each stratum.
EH_CHECKED eh_status eh_grouped_begin(const eh_grouped *grouped, const eh_score_table *table, eh_sample *sample,
                                      eh_sample_builder *builder);
// The whole of a plain metric's `prepare`.
EH_CHECKED eh_status eh_grouped_prepare(const eh_grouped *grouped, const eh_score_table *table, eh_sample *sample);

// A row's value by column name; NaN, 0 or "" if there is no such column.
double eh_named_number(const eh_score_table *table, const char *column, int64_t row);
int64_t eh_named_integer(const eh_score_table *table, const char *column, int64_t row);

#endif
