// Which weights of a training are kept (switches.select, PROTOCOL 3.11), and when it may end early (train.patience).
// Every measurement counts, that of the starting weights being the first.
#ifndef EH_TRAIN_SELECTION_H
#define EH_TRAIN_SELECTION_H

#include <stdbool.h>

#include "job/job.h"

typedef struct {
    double best_loss;               // held-out loss of the best weights so far; NaN: none yet
    double start_general;           // the starting weights' loss on general text; NaN: not measured
    int64_t best_step, stale_count; // measurements since the best
} eh_selection;
#define EH_NO_SELECTION ((eh_selection){.best_loss = NAN, .start_general = NAN})

// Takes the held-out losses of task and general text after `step` steps; true: the best weights so far. With rule
// task-and-capability only weights whose loss on general text is at most 1 + train.capability_floor times the start's
// can be that.
bool eh_selection_take(eh_selection *selection, const eh_job *job, int64_t step, double loss, double general);
bool eh_selection_has_ended(const eh_selection *selection, const eh_job *job);

#endif
