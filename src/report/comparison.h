// One paired comparison of two phases of a metric.
#ifndef EH_REPORT_COMPARISON_H
#define EH_REPORT_COMPARISON_H

#include "report/results.h"

// Fills comparison->differences and what belongs to it, all [figure_count]; `from` and `to` are the phases' tables.
// EH_INPUT if they can't be paired: the caller keeps the message as `trouble`.
EH_CHECKED eh_status eh_compare(const eh_score_table *from, const eh_score_table *to,
                                const eh_bootstrap_settings *settings, eh_comparison *comparison, int64_t figure_count);
void eh_comparison_deinit(eh_comparison *comparison);

#endif
