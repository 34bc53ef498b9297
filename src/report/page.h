// report.html: one file that needs nothing else, reads without JavaScript, on a phone and on paper.
#ifndef EH_REPORT_PAGE_H
#define EH_REPORT_PAGE_H

#include "report/tables.h"

EH_CHECKED eh_status eh_page_make(const eh_report_run *runs, int64_t run_count, const eh_table *tables,
                                  int64_t table_count, eh_string *html);

// The parts, in the order of the page; each writes nothing where there is nothing to say.
EH_CHECKED eh_status eh_page_verdict(const eh_report_run *run, eh_string *html);
EH_CHECKED eh_status eh_page_verdicts(const eh_report_run *runs, int64_t run_count, eh_string *html);
EH_CHECKED eh_status eh_page_plots(const eh_report_run *run, eh_string *html);
EH_CHECKED eh_status eh_page_sweep_plots(const eh_report_run *runs, int64_t run_count, eh_string *html);
EH_CHECKED eh_status eh_page_table(const eh_table *table, bool several_runs, eh_string *html);
EH_CHECKED eh_status eh_page_flips(const eh_report_run *run, eh_string *html);
EH_CHECKED eh_status eh_page_provenance(const eh_report_run *runs, int64_t run_count, eh_string *html);

extern const char eh_page_style[], eh_page_script[];

#endif
