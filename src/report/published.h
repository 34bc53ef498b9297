// Figures published elsewhere, to read a run's own beside: a CSV that the job names as report.reference.
#ifndef EH_REPORT_PUBLISHED_H
#define EH_REPORT_PUBLISHED_H

#include "report/charts.h"
#include "report/columns.h"

// Needs the columns label, figure (a definition's name, such as stereoset/official-macro/SS), value and source, and a
// number in each row's value: EH_INPUT with the file and the row's number otherwise. `path` NULL: no rows.
EH_CHECKED eh_status eh_published_read(const char *path, eh_columns *published);
// Those of one figure, as lines of a chart; more than a chart holds are left to the table. `published` may be NULL.
eh_chart_lines eh_published_lines(const eh_columns *published, const char *figure);

#endif
