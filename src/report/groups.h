// Which runs of a sweep belong together: those whose jobs differ in nothing but what is asked about.
#ifndef EH_REPORT_GROUPS_H
#define EH_REPORT_GROUPS_H

#include "report/tables.h"

// Their seeds; or their models too, with the ranks and the memory settings that a model's size asks for.
typedef enum { EH_DIFFER_IN_SEED, EH_DIFFER_IN_MODEL } eh_difference;

// group[r]: the first run that is the same as run r but for that. Names and folders never count.
EH_CHECKED eh_status eh_group_runs(const eh_report_run *runs, int64_t run_count, eh_difference difference,
                                   int64_t *group);

#endif
