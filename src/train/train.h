// Training from the first step, or the last checkpoint, to the end: steps, held-out losses, metrics.csv, progress,
// checkpoints, stopping in good order.
#ifndef EH_TRAIN_TRAIN_H
#define EH_TRAIN_TRAIN_H

#include "core/log.h"
#include "train/trainer.h"

typedef struct {
    eh_comm *comm;
    eh_backend *backend;
    eh_model *model;
    eh_model *start; // the starting model once more, for inference, with train.kl; else NULL
    const eh_log *log;
    const eh_job *job;
    const eh_training_set *set;
    const char *folder; // the job's output: metrics.csv and checkpoints/ go there
    const char
        *key; // digest of what the training depends on: a checkpoint with another key is not used; rank 0's counts
    // Called where the weights are to be kept, on all ranks: with step 0 at the end, or at each new best held-out loss
    // (switches.select); with the step on the way there (train.keep_every). Collective.
    eh_status (*keep)(void *context, int64_t step);
    void *keep_context;
} eh_training;

// EH_STOPPED after a signal, with a checkpoint written; EH_INPUT if the loss diverged. Collective, all get the same.
EH_CHECKED eh_status eh_train(const eh_training *training);

#endif
