// Draws of a sample's items for the bootstrap: totals per drawn cluster and stratum, as eh_metric.summarise takes them.
#ifndef EH_REPORT_RESAMPLE_H
#define EH_REPORT_RESAMPLE_H

#include "core/status.h"
#include "metrics/sample.h"

// The items of one cluster and stratum: order[first .. first + count).
typedef struct {
    int32_t stratum;
    int64_t first, count;
} eh_cell;

typedef struct {
    int64_t cluster_count, class_count;
    eh_cell *cells;
    int64_t *cell_first;  // [cluster_count + 1] into cells
    int64_t *order;       // [items] sorted by cluster, then stratum
    int64_t *class_of;    // [cluster_count]
    int64_t *class_first; // [class_count + 1] into members
    int64_t *members;     // [cluster_count] clusters by class
    bool singletons;      // every cluster is one item: there is no second stage
} eh_resampler;

// Clusters that a draw's totals keep apart: one where the metric pools them.
int64_t eh_totals_rows(const eh_sample *sample);

EH_CHECKED eh_status eh_resampler_init(const eh_sample *sample, eh_resampler *resampler);
void eh_resampler_deinit(eh_resampler *resampler);

// Draws replicate `replicate` and adds it up: totals is [eh_totals_rows, stratum_count, 1 + value_count]. Samples of
// the same items get the same draws.
void eh_resample_two_stage(const eh_resampler *resampler, const eh_sample *sample, uint64_t seed, int64_t replicate,
                           double *totals);

#endif
