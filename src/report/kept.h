// What a report has computed of its score files, kept in OUTPUT/report.kept: the page of a whole sweep, and a report
// that is made again with other margins, need not draw the bootstrap a second time.
#ifndef EH_REPORT_KEPT_H
#define EH_REPORT_KEPT_H

#include "report/results.h"

// Fills the estimates and comparisons of metrics that are prepared so far as their samples and lists of comparisons go.
// *found: the file is there and of these very score files, settings and build; anything else counts as not there.
EH_CHECKED eh_status eh_kept_read(const eh_bootstrap_settings *settings, eh_results *results, bool *found);
EH_CHECKED eh_status eh_kept_write(const eh_bootstrap_settings *settings, const eh_results *results);

#endif
