// One paired comparison of two phases of a metric.
#ifndef EH_REPORT_COMPARISON_H
#define EH_REPORT_COMPARISON_H

#include "report/results.h"

// Fills comparison->differences and what belongs to it, all [figure_count], from the replicates of two samples of the
// same items.
EH_CHECKED eh_status eh_compare(const eh_replicates *from, const eh_replicates *to, uint64_t seed,
                                eh_comparison *comparison);
// The same of two samples that lack items of each other, on those that both hold. EH_INPUT if they can't be paired: the
// caller keeps the message as `trouble`.
EH_CHECKED eh_status eh_compare_common(const eh_sample *from, const eh_sample *to,
                                       const eh_bootstrap_settings *settings, eh_comparison *comparison);
void eh_comparison_deinit(eh_comparison *comparison);

#endif
