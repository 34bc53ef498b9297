// What the files that make tables share.
#ifndef EH_REPORT_TABLES_INTERNAL_H
#define EH_REPORT_TABLES_INTERNAL_H

#include "report/tables.h"

#define COLUMNS(...) ((const char *const[]){__VA_ARGS__})

typedef struct {
    eh_table *tables;
    int64_t count;
} eh_table_list;

// Appends an empty table; *table is valid until the next.
EH_CHECKED eh_status eh_tables_begin(eh_table_list *list, const char *id, const char *title, const char *note,
                                     const char *const *columns, int64_t column_count, eh_table **table);
void eh_tables_drop_if_empty(eh_table_list *list); // the last one

// A figure of a phase (grey below its null pickers), or "-"; a paired change with its p; how many there were.
EH_CHECKED eh_status eh_cell_set_figure(const eh_metric_results *metric, int64_t phase, int64_t figure, eh_cell *cell);
EH_CHECKED eh_status eh_cell_set_change(const eh_metric_results *metric, const eh_comparison *comparison,
                                        int64_t figure, eh_cell *cell);
EH_CHECKED eh_status eh_cell_set_count(const eh_estimate *estimate, eh_cell *cell);

// Whether figure `null` is what a rule that does not read scores in `figure`: by the definition's name and the scope.
bool eh_is_null_of(const eh_metric_results *metric, int64_t null, int64_t figure);

// What a run is called in a table: its name in a sweep, the model's otherwise. Borrowed.
const char *eh_run_title(const eh_report_run *run, int64_t run_count);

// Each appends its tables, none where there is nothing to say.
EH_CHECKED eh_status eh_tables_add_overview(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_study(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_transfer(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_generalisation(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_trajectory(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_seeds(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_costs(eh_table_list *list, const eh_report_run *runs, int64_t run_count);
EH_CHECKED eh_status eh_tables_add_stereoset(eh_table_list *list, const eh_report_run *runs, int64_t run_count);

#endif
