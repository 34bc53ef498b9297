// The folder of a run whose models are made up by a formula and noise, for tests of the report. MADE UP: none of its
// numbers is a result.
#ifndef EH_SUPPORT_MADE_RUN_H
#define EH_SUPPORT_MADE_RUN_H

#include <stdint.h>

#include "comm/comm.h"
#include "job/job.h"

// How a made-up model answers: bias and sense scale what was planted.
typedef struct {
    const char *phase, *digest;
    double bias, sense, noise, shift, bits; // shift: nats towards every stereotype; bits per byte of held-out text
    int64_t parameters;
} eh_made_model;

// Writes FOLDER/scores-*.h5 (StereoSet by likelihood and held-out text, in a planted world of 16 peoples in
// FOLDER/world), FOLDER/metrics.csv and fills in the job. Asserts success.
void eh_made_run(eh_comm *comm, const char *folder, const char *name, const eh_made_model *models, int64_t count,
                 int replicates, eh_job *job);

#endif
