#include "train/selection.h"

#include <math.h>

bool eh_selection_take(eh_selection *selection, const eh_job *job, int64_t step, double loss, double general)
{
    if (isnan(selection->start_general))
        selection->start_general = general;
    const double most = selection->start_general * (1 + job->train.capability_floor);
    const bool able = job->switches.select != EH_SELECT_TASK_AND_CAPABILITY || general <= most; // NaN is not
    const bool better = loss < selection->best_loss || (isnan(selection->best_loss) && !isnan(loss));
    if (able && better) {
        selection->best_loss = loss;
        selection->best_step = step;
        selection->stale_count = 0;
        return true;
    }
    selection->stale_count++;
    return false;
}

bool eh_selection_has_ended(const eh_selection *selection, const eh_job *job)
{
    return job->train.patience > 0 && selection->stale_count >= job->train.patience;
}
