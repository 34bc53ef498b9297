// The rows of a metric, prepared so that figures are cheap to recompute: each scored item is a few numbers, a cluster
// (its target term, entity, template) and a stratum (task and domain, bias type, ...). Every figure of every metric is
// a function of the sums of these numbers per cluster and stratum, so a bootstrap draw costs a few additions an item
// and allocates nothing.
#ifndef EH_METRICS_SAMPLE_H
#define EH_METRICS_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

#define EH_FIGURE_NAME 64

typedef enum {
    EH_FIGURE_PERCENT, // 100 x a share of n things: Wilson and McNemar apply
    EH_FIGURE_SCORE,   // another figure on the scale 0..100 (macro means, ICAT)
    EH_FIGURE_MEAN,    // a mean of per-item numbers, in `unit`
    EH_FIGURE_RATIO,   // a ratio of sums (perplexity, bits per byte), in `unit`
    EH_FIGURE_COUNT,
} eh_figure_kind;

// What a figure is. Its value may be NaN: undefined on these rows (an empty group), to be shown as such.
typedef struct {
    char name[EH_FIGURE_NAME];  // definition and quantity: "stereoset/official-macro/SS", "crows/nangia/score"
    char score[16];             // which of several scores of an item it rests on: "sum", "mean", "byte"; or ""
    char scope[EH_FIGURE_NAME]; // "all", "intrasentence", "intrasentence/gender", "race-color"
    char null_picker[24]; // "" for the model; otherwise the rule that answers without reading: "always-1", "longest"
    char unit[16];        // "%", "nats", "bits/byte", ...
    eh_figure_kind kind;
    double ideal;        // the unbiased or best value, NaN if there is none
    int64_t scope_index; // row of eh_sample.scopes
    int64_t
        item_value; // column of `values` that is 0 or 1 (PERCENT) or averaged (MEAN) over the scope's items; -1: none
    bool main;      // one of the few that a summary table shows
} eh_figure_info;

typedef struct {
    double value;
    int64_t n; // what the denominator counts
} eh_figure;

struct eh_metric;

// Items are ordered by cluster. All zero is an empty sample; eh_sample_deinit frees everything.
typedef struct {
    const struct eh_metric *metric;
    int64_t item_count, cluster_count, stratum_count, value_count;
    int64_t maximum_count;  // the last so many values of an item are not negative and combine by maximum, not by sum
    int64_t missing_count;  // rows without a score (NaN log-likelihood, no data): in no sum
    int64_t *rows;          // [items] row of the score table
    int64_t *ids;           // [items] its column "item"
    int32_t *clusters;      // [items]
    int32_t *strata;        // [items]
    int64_t *cluster_first; // [cluster_count + 1] into the items
    char **cluster_names, **stratum_names;
    double *values; // [items, value_count]
    int64_t scope_count;
    uint8_t *scopes; // [scope_count, stratum_count]: 1 if the scope takes the stratum
    int64_t figure_count;
    eh_figure_info *figures;
    double *totals; // [cluster_count, stratum_count, 1 + value_count] of the sample itself
} eh_sample;

void eh_sample_deinit(eh_sample *sample);
// An item's (or another cell's) values into a cell of totals, whose first number counts items.
static inline void eh_sample_combine(const eh_sample *sample, double *cell, const double *values)
{
    const int64_t summed = sample->value_count - sample->maximum_count;
#pragma omp simd
    for (int64_t v = 0; v < summed; v++) cell[1 + v] += values[v];
    for (int64_t v = summed; v < sample->value_count; v++)
        cell[1 + v] = values[v] > cell[1 + v] ? values[v] : cell[1 + v];
}

// Adds an item to its cell of totals. A bootstrap's time goes here: a hundred values for each item of each replicate.
void eh_sample_add_item(const eh_sample *sample, int64_t item, double *cell);

// Items drawn from a sample with repetition, by drawn cluster: the items of drawn cluster c are
// items[first[c] .. first[c + 1]). A cluster drawn twice is two clusters (official macro figures average over them).
typedef struct {
    int64_t cluster_count;
    const int32_t *items; // indices into the sample's items
    const int64_t *first; // [cluster_count + 1]
} eh_draw;

// Doubles that `totals` below needs for draws of at most `cluster_count` clusters.
int64_t eh_sample_totals_count(const eh_sample *sample, int64_t cluster_count);
// The figures of a draw (NULL: of the sample itself). totals: scratch, may be NULL with draw NULL. Pure; allocates
// nothing; one sample may be used by several threads.
void eh_sample_summarise(const eh_sample *sample, const eh_draw *draw, double *totals,
                         eh_figure *figures /* [figure_count] */);

// Keeps the items (by "item" id) that both samples of one metric hold, in one order, with equal cluster numbers, so
// that one draw serves both. EH_INPUT if none is left or the two are of different metrics.
EH_CHECKED eh_status eh_samples_align(eh_sample *before, eh_sample *after);

// A deep copy, and the sample whose values are the means of `count` samples of the same items (aligned): figures that
// are linear in the values are the means of theirs.
EH_CHECKED eh_status eh_sample_copy(const eh_sample *from, eh_sample *to);
EH_CHECKED eh_status eh_sample_mean(const eh_sample *samples, int64_t count, eh_sample *mean);

// The figure's index or -1. score may be "" and null_picker NULL.
int64_t eh_sample_find(const eh_sample *sample, const char *name, const char *score, const char *scope);

#endif
