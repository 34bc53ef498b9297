#include "stage_cost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/string.h"

static eh_status append(const eh_stage *stage, double peak)
{
    char *path = NULL;
    EH_TRY(eh_stage_path(stage, &path, "costs.csv"));
    eh_status status = EH_OK;
    FILE *file = fopen(path, "a");
    if (file == NULL) {
        status = eh_error(EH_MACHINE, "%s: can't be written: %s", path, strerror(errno));
    } else {
        if (ftell(file) == 0)
            fprintf(file, "step,phase,ranks,seconds,peak_bytes\n");
        fprintf(file, "%s,%s,%d,%.2f,%.0f\n", stage->name, stage->phase, eh_comm_size(stage->comm),
                eh_seconds() - stage->began, peak);
        if (fclose(file) != 0)
            status = eh_error(EH_MACHINE, "%s: can't be written: %s", path, strerror(errno));
    }
    eh_free(&path);
    return status;
}

eh_status eh_stage_record_cost(const eh_stage *stage)
{
    double peak = (double)eh_peak_resident_bytes();
    EH_TRY(eh_comm_max_double(stage->comm, &peak, 1));
    return eh_comm_rank(stage->comm) == 0 ? append(stage, peak) : EH_OK;
}
