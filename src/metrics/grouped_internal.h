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

typedef struct eh_grouped {
    int64_t value_count;
    const char *cluster; // text column whose equal values make a cluster; NULL: each item is one by itself
    const char *stratum; // text column whose values are the scopes; NULL: "group"
    // What an item contributes, whose rows are [row, end). False: it has no score.
    bool (*fill)(const eh_score_table *table, int64_t row, int64_t end, double *values);
    int64_t maximum_count;        // of the values, the last ones: combined by maximum (sample.h)
    const eh_figure_row *figures; // of every scope, in this order
    int64_t figure_count;
    // The figures of a scope from the sums of its items. Pure.
    void (*summarise)(double items, const double *v, eh_figure *figures);
    // Figure `gap_of` of a group less that of another, for each pair of groups, in scope "A - B"; NULL: none.
    const char *gap_name;
    int gap_of;
} eh_grouped;

// `prepare` of a metric with `grouped`: reads the table, item by item. The scopes are "all" and, if there is more than
// one, each stratum, then the pairs of them.
EH_CHECKED eh_status eh_grouped_prepare(const eh_score_table *table, eh_sample *sample);
// Its `summarise`. Of sums over all clusters alone, so such a metric is `pooled`.
void eh_grouped_summarise(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures);

// A row's value by column name; NaN, 0 or "" if there is no such column.
double eh_named_number(const eh_score_table *table, const char *column, int64_t row);
int64_t eh_named_integer(const eh_score_table *table, const char *column, int64_t row);
const char *eh_named_text(const eh_score_table *table, const char *column, int64_t row);

#endif
