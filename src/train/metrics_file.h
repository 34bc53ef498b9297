// OUTPUT/metrics.csv: a row per step, there as soon as the step is done.
#ifndef EH_TRAIN_METRICS_FILE_H
#define EH_TRAIN_METRICS_FILE_H

#include <stdint.h>

#include "core/status.h"

typedef struct eh_metrics_file eh_metrics_file;

typedef struct {
    int64_t step;                                                                               // steps done
    double epoch, loss, holdout_loss, gradient_norm, learning_rate, tokens_per_second, seconds; // NaN: an empty cell
    double general_loss; // held out, of replayed sets
    double loss_scale;   // fp16
    double divergence;   // nats per label
} eh_metrics_row;

// Opens FOLDER/metrics.csv for what comes after `step`; rows of later steps, of a run that was killed, are dropped.
EH_CHECKED eh_status eh_metrics_file_open(const char *folder, int64_t step, eh_metrics_file **metrics);
void eh_metrics_file_add(eh_metrics_file *metrics, const eh_metrics_row *row); // NULL: does nothing
void eh_metrics_file_close(eh_metrics_file **metrics);

#endif
