// What every stage has, and how it begins and ends: arguments, the job on all ranks, the output folder, one report of
// what went wrong, the exit code.
#ifndef EH_STAGES_STAGE_H
#define EH_STAGES_STAGE_H

#include <stdbool.h>

#include "backend/backend.h"
#include "comm/comm.h"
#include "core/log.h"
#include "job/job.h"

typedef struct eh_stage eh_stage;
struct eh_stage {
    const char *name;    // "tokenize"
    eh_job job;          // the same on all ranks
    eh_comm *comm;       // NULL only if MPI itself could not begin
    eh_log log;          // speaks on rank 0
    char *phase;         // evaluate's --phase: "before" (default), "after", "control-..."; "" for other stages
    eh_backend *backend; // NULL until eh_stage_backend
    void (*close_backend)(eh_stage *stage);
    bool profile;
    double began;      // eh_seconds
    bool never_began;  // eh_stage_begin failed, on all ranks alike
    bool done_in_part; // the step fails with EH_INPUT, yet its result is there and fit to be used
    char *key;         // digest of all that this step depends on; written to OUTPUT/stamps/ when it succeeds
};

// Reads the arguments (JOB, --set KEY=VALUE, --phase, --force, --profile, --help, --version; the last two print and end
// the program, without MPI), begins MPI, reads the job on rank 0 and hands it to all, claims the output folder:
// EH_INPUT if it belongs to another job, unless --force. Writes OUTPUT/resolved.yaml. Collective; all ranks get the
// same status.
EH_CHECKED eh_status eh_stage_begin(eh_stage *stage, const char *name, int argc, char **argv);
// Opens the job's device, says which, and picks the precision of products for `precision: auto`. Collective. The
// backend is closed by eh_stage_end: close models before.
EH_CHECKED eh_status eh_stage_backend(eh_stage *stage, eh_backend **backend, eh_dtype *compute);
// OUTPUT/<formatted>, eh_free. Not collective.
EH_CHECKED eh_status eh_stage_path(const eh_stage *stage, char **path, const char *format, ...) EH_PRINTF(3, 4);
// Agrees on the status, reports it once, marks the step as done if it was EH_OK, frees everything; gives the exit code.
// Collective.
int eh_stage_end(eh_stage *stage, eh_status status);

#endif
