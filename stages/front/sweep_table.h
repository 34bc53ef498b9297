// The tables of all runs of a sweep as one.
#ifndef EH_STAGES_FRONT_SWEEP_TABLE_H
#define EH_STAGES_FRONT_SWEEP_TABLE_H

#include "job/sweep.h"

// OUTPUT/tables/runs.csv and runs.md: a row for each run with its swept values and its exit code. And for each table
// that the runs wrote (RUN/tables/NAME.csv), OUTPUT/tables/NAME.csv: all their rows behind the columns run and swept
// keys, but for those with a "null_picker" (figures.csv), which the runs' own tables have.
EH_CHECKED eh_status eh_front_write_sweep_tables(const eh_sweep *sweep, const int *exit_codes);

#endif
