// Intervals of figures by the two-stage cluster bootstrap (PROTOCOL part 5): clusters (terms) with replacement, then in
// each drawn cluster its items with replacement, every figure recomputed on the draw. A random number is a function of
// (seed, replicate, slot of the cluster, item), so the result depends on no thread or rank.
//
// - Clusters are drawn within classes that share no stratum (StereoSet's four domains): how many terms a domain has is
// part
//   of the data set, not chance, and a small domain is never missing from a draw. Items are drawn within their stratum.
// - Resampling both stages counts the scatter of items twice (Davison & Hinkley 1997, section 3.8): where terms differ
// little, a
//   nominal 95 % interval covers 99 % of truths. So the replicates are drawn together, around the estimate, to the
//   standard error of the jackknife over clusters, which counts it once, and widened by Student's t for the number of
//   clusters; never further apart than they were, and not below EH_CALIBRATED_CLUSTERS clusters. `two_stage` is the
//   interval without that.
#ifndef EH_REPORT_BOOTSTRAP_H
#define EH_REPORT_BOOTSTRAP_H

#include "core/status.h"
#include "metrics/sample.h"
#include "report/statistics.h"

#define EH_CALIBRATED_CLUSTERS 10

typedef struct {
    int64_t replicates; // 10,000 for what is published
    uint64_t seed;
} eh_bootstrap_settings;

// A figure with its uncertainty. All but value and n are NaN where there is none: value NaN, or under two items.
typedef struct {
    double value;
    int64_t n;
    double standard_error;
    eh_interval interval, bca, two_stage; // 95 %: percentile, bias-corrected and accelerated, percentile uncalibrated
    eh_interval ninety;                   // percentile 90 %: an equivalence test at 5 % asks if it lies inside a margin
    double p;                             // two-sided bootstrap p of value = 0; for differences
    double lost;                          // share of replicates without a value
} eh_estimate;

// What a sample's figures are on every draw. Drawn once, it serves the sample's own intervals and every difference to
// another sample of the same items, whose draws are the same.
typedef struct {
    const eh_sample *sample; // borrowed
    int64_t replicate_count, jackknife_count;
    eh_figure *observed;        // [figure_count]
    double *two_stage;          // [figure_count, replicate_count]
    double *jackknife;          // [figure_count, jackknife_count]: without cluster j
    int64_t *clusters_in_scope; // [scope_count]
} eh_replicates;

// 8 bytes a figure and replicate: 0.2 GB for StereoSet's 1,890 figures and 10,000 replicates.
EH_CHECKED eh_status eh_replicates_draw(const eh_sample *sample, const eh_bootstrap_settings *settings,
                                        eh_replicates *draws);
void eh_replicates_deinit(eh_replicates *draws);
// estimates [figure_count].
EH_CHECKED eh_status eh_replicates_estimate(const eh_replicates *draws, eh_estimate *estimates);
// second - first, on the same draws. EH_INPUT if they are of different items (eh_samples_match).
EH_CHECKED eh_status eh_replicates_compare(const eh_replicates *first, const eh_replicates *second,
                                           eh_estimate *differences);
// Whether the two hold the same items under the same clusters and strata, in the same order.
bool eh_samples_match(const eh_sample *first, const eh_sample *second);

// Drawn and estimated at once. estimates [figure_count].
EH_CHECKED eh_status eh_bootstrap_sample(const eh_sample *sample, const eh_bootstrap_settings *settings,
                                         eh_estimate *estimates);

// The figures of each cluster alone: values [figure_count, cluster_count], NaN where a cluster has none.
EH_CHECKED eh_status eh_cluster_figures(const eh_sample *sample, double *values);

#endif
