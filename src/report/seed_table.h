// Trainings that differ in nothing but their seed, side by side: how far they scatter, beside the scatter of items.
#ifndef EH_REPORT_SEED_TABLE_H
#define EH_REPORT_SEED_TABLE_H

#include "report/tables.h"

// A row for each group of two or more such runs and each main figure over all groups, after the treatment and as its
// change. No row: no such runs. The caller deinits the table.
EH_CHECKED eh_status eh_seed_table_make(const eh_report_run *runs, int64_t run_count, eh_table *table);

#endif
