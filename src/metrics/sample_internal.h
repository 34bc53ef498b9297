// How a metric fills a sample: begin, add scopes and items, name the figures, finish.
#ifndef EH_METRICS_SAMPLE_INTERNAL_H
#define EH_METRICS_SAMPLE_INTERNAL_H

#include <math.h>

#include "metrics/metric.h"

typedef struct {
    eh_sample *sample;
    int64_t item_capacity, cluster_capacity, stratum_capacity, scope_capacity, figure_capacity;
    int64_t *slots; // open addressing over cluster names: index + 1, 0 is free
    int64_t slot_count;
    char **scope_names; // of each scope
} eh_sample_builder;

// Empties `sample` (zeroed by the caller) and says how many numbers an item has.
eh_sample_builder eh_sample_begin(eh_sample *sample, int64_t value_count);
void eh_sample_builder_deinit(eh_sample_builder *builder);
// Finds or adds a name; its number in *index. Strata must all be added before the first scope.
EH_CHECKED eh_status eh_sample_cluster(eh_sample_builder *builder, const char *name, int32_t *index);
EH_CHECKED eh_status eh_sample_stratum(eh_sample_builder *builder, const char *name, int32_t *index);
// values [value_count]. A value that is not finite is a broken invariant: count the row as missing instead.
EH_CHECKED eh_status eh_sample_item(eh_sample_builder *builder, int64_t row, int64_t id, int32_t cluster,
                                    int32_t stratum, const double *values);
// A scope takes every stratum whose name has the words of `pattern` among its '/'-separated parts; "" or "all" takes
// all. Skipped (index -1) if it would take no stratum.
EH_CHECKED eh_status eh_sample_scope(eh_sample_builder *builder, const char *name, const char *pattern, int64_t *index);
// Figures come in the order of their scopes; name, scope and unit are copied.
EH_CHECKED eh_status eh_sample_figure(eh_sample_builder *builder, const eh_figure_info *info);
// Orders the items by cluster and computes the totals.
EH_CHECKED eh_status eh_sample_finish(eh_sample_builder *builder);

// sums[0] = items, sums[1 + v] = sum of value v over the clusters and strata of a scope.
void eh_sample_scope_sums(const eh_sample *sample, const double *totals, int64_t cluster_count, int64_t scope,
                          double *sums);
// The same of one cluster.
void eh_sample_cluster_sums(const eh_sample *sample, const double *totals, int64_t cluster, int64_t scope,
                            double *sums);

// factor x numerator / denominator with n = denominator; NaN if there is nothing to divide by.
static inline eh_figure eh_figure_ratio(double factor, double numerator, double denominator)
{
    return (eh_figure){.value = denominator > 0 ? factor * numerator / denominator : NAN, .n = (int64_t)denominator};
}

// What a null picker that answers at random goes by: uniform, and always the same for an item's option.
double eh_null_random(int64_t item, int option);

// Columns of a score table by name. EH_INPUT with table and column if it is missing.
EH_CHECKED eh_status eh_need_column(const eh_score_table *table, const char *name, int64_t *column);
double eh_row_number(const eh_score_table *table, int64_t column, int64_t row);
int64_t eh_row_integer(const eh_score_table *table, int64_t column, int64_t row);
const char *eh_row_text(const eh_score_table *table, int64_t column, int64_t row); // "" if there is none

#endif
