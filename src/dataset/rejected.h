// The rows that could not be used, on their way into FOLDER/NAME-rejected.csv (row, line, reason), in the file's order.
// Each piece of the data set is written as it comes, so that a text larger than memory may be rejected as a whole.
#ifndef EH_DATASET_REJECTED_H
#define EH_DATASET_REJECTED_H

#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"
#include "core/string.h"
#include "dataset/dataset.h"
#include "io/atomic.h"

// All zero is an empty list.
typedef struct {
    eh_rejected_row *rows; // of this rank, of the piece at hand
    int64_t count, capacity;
    int64_t total; // of this rank, all pieces
    char *path;    // the rest: of rank 0 alone
    eh_atomic file;
} eh_rejected_list;

EH_CHECKED eh_status eh_rejected_add(eh_rejected_list *list, uint64_t row, int64_t line, const char *reason);
// The end of a piece: writes the rows of all ranks, those of rank 0 first, which is the file's order. Collective,
// agrees on failure.
EH_CHECKED eh_status eh_rejected_flush(eh_comm *comm, eh_rejected_list *list, const char *folder, const char *name);
// Puts the file in its place, or removes an older one if no row was rejected. Collective, agrees on failure.
EH_CHECKED eh_status eh_rejected_finish(eh_comm *comm, eh_rejected_list *list, const char *folder, const char *name);
void eh_rejected_deinit(eh_rejected_list *list); // and what is not finished

#endif
