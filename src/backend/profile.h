// What each operation of a backend costs: time, floating point operations, bytes. Off unless begun; then every call
// waits for its result, so that a queued operation is charged to itself.
#ifndef EH_BACKEND_PROFILE_H
#define EH_BACKEND_PROFILE_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

// One row of the report: all calls of one operation since eh_backend_profile_begin. flops and bytes are what the
// definition of the operation asks for (each operand read or written once), not what an implementation happens to move.
typedef struct {
    const char *operation; // "multiply"
    int64_t calls;
    double seconds, flops, bytes;
} eh_profile_row;

// Starts profiling, or starts it anew. `trace_path` receives a Chrome trace (chrome://tracing, Perfetto) when profiling
// ends; NULL for none. Not collective.
EH_CHECKED eh_status eh_backend_profile_begin(eh_backend *backend, const char *trace_path);
// Rows so far, the dearest first; valid until the next call on this backend.
EH_CHECKED eh_status eh_backend_profile_report(eh_backend *backend, const eh_profile_row **rows, int64_t *row_count);
// What the machine can do at most in a second: floating point operations in `dtype` and bytes read from memory,
// measured in some 50 ms on the backend's own threads. 0: not known (the backend has no probe).
EH_CHECKED eh_status eh_backend_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes);
// The share of the limit that a row reached: its least time over its own, the least being that of its operations or of
// its bytes, whichever takes longer. More than 1 where operands lay in a cache; 0 if the limits are not known.
double eh_profile_share(const eh_profile_row *row, double flops, double bytes);
// Stops profiling and writes the trace. EH_MACHINE if it can't be written.
EH_CHECKED eh_status eh_backend_profile_end(eh_backend *backend);

// For operations.c.
typedef struct eh_profile eh_profile;
EH_CHECKED eh_status eh_profile_add(eh_backend *backend, const char *operation, double begin, double flops,
                                    double bytes);
void eh_profile_free(eh_profile **profile);

#ifdef __cplusplus
}
#endif
#endif
