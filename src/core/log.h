// Progress to stderr, from rank 0 only: plain lines, and a bar with rate and time left where stderr is a terminal.
#ifndef EH_CORE_LOG_H
#define EH_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    const char *program; // begins every line
    bool speaks;         // true on rank 0
    bool terminal;       // stderr is one: progress redraws its line
} eh_log;

eh_log eh_log_to_stderr(const char *program, bool speaks);
void eh_log_line(const eh_log *log, const char *format, ...) EH_PRINTF(2, 3);
void eh_log_warning(const eh_log *log, const char *format, ...) EH_PRINTF(2, 3);

typedef struct {
    const eh_log *log;
    const char *what; // "evaluate stereoset (before)"
    const char *unit; // "items"
    int64_t total;
    double began, last_shown; // eh_seconds
    bool drawn;
} eh_progress;

eh_progress eh_progress_begin(const eh_log *log, const char *what, const char *unit, int64_t total);
// Shows the state at most ten times a second on a terminal, every 10 s elsewhere. `note` may be "".
void eh_progress_show(eh_progress *progress, int64_t done, const char *note);
// One last line with the total and the time taken.
void eh_progress_end(eh_progress *progress, int64_t done, const char *note);

#endif
