// What a step cost: OUTPUT/costs.csv, a line for each that has succeeded. The report shows it.
#ifndef EH_STAGE_COST_H
#define EH_STAGE_COST_H

#include "stage.h"

// Appends "step,phase,ranks,seconds,peak_bytes", the peak being that of the rank with the greatest. Collective.
EH_CHECKED eh_status eh_stage_record_cost(const eh_stage *stage);

#endif
