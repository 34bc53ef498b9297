// Checks a build against a folder of the oracle's layout: DIR/models/NAME (Hugging Face folders) and
// DIR/expected/NAME.h5 (what the reference libraries compute from them). Used by `evenhand conform DIR` and by the
// tests.
#ifndef EH_MODEL_CONFORM_H
#define EH_MODEL_CONFORM_H

#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

typedef struct {
    int64_t passed, failed;
} eh_conform_result;

// Runs every check that the folder allows on `device`, for models whose name contains `only` (NULL: all). One line per
// model and check to `out`, with the worst ratio of error to bound. A model that can't be read, or a value that is out
// of bounds, is a failed check; EH_INPUT only if there is no such folder or it holds nothing to check.
EH_CHECKED eh_status eh_conform_run(const char *folder, const char *device, int threads, const char *only, FILE *out,
                                    eh_conform_result *result);

#endif
