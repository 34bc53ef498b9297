// The checks of the instrument (PROTOCOL part 5): without them no verdict is final.
#ifndef EH_REPORT_CHECKS_H
#define EH_REPORT_CHECKS_H

#include "report/results.h"
#include "report/truth.h"

typedef enum { EH_CHECK_PASSED, EH_CHECK_FAILED, EH_CHECK_NOT_RUN } eh_check_state;
typedef struct {
    const char *name;
    eh_check_state state;
    char detail[256];
} eh_check;

enum { EH_CHECK_COUNT = 4 };
// (a) reversed training raises the measured bias, (b) null pickers score their known values, (c) the base measured
// twice gives the same scores, (d) the meter reads planted bias. `truth` may be NULL; without a truth of the run's own,
// (d) reads table truth.csv of the run in folder `planted` (NULL: none). EH_INPUT if there is no such table.
EH_CHECKED eh_status eh_checks_run(const eh_results *results, const eh_truth *truth, const char *planted,
                                   eh_check checks[EH_CHECK_COUNT]);

#endif
