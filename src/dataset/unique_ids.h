// Ids that must not repeat within a data set, however many there are: a sorted run of their hashes goes to a file as
// soon as it fills, and the runs of all ranks are merged at the end.
#ifndef EH_DATASET_UNIQUE_IDS_H
#define EH_DATASET_UNIQUE_IDS_H

#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"
#include "dataset/dataset.h"

typedef struct {
    uint64_t hash;
    int64_t line;
} eh_id_entry;

// All zero is an empty list.
typedef struct {
    int64_t run_entries; // how many are kept in memory; 0: a million
    eh_id_entry *entries;
    int64_t count, capacity;
    char *path; // of this rank's runs, FOLDER/.NAME-<rank>.ids; NULL as long as there are none
} eh_unique_ids;

// The records' ids (not the empty ones), which have 64-bit hashes: a false alarm in 10^9 rows is unlikely. Not
// collective. EH_MACHINE if the file can't be written.
EH_CHECKED eh_status eh_unique_ids_add(eh_unique_ids *list, const eh_comm *comm, const char *folder, const char *name,
                                       const eh_data_format *format, const eh_records *records);
// EH_INPUT with both lines if an id of all ranks' occurs twice. Collective, agrees on failure.
EH_CHECKED eh_status eh_unique_ids_check(eh_comm *comm, eh_unique_ids *list, const char *folder, const char *name,
                                         const char *source);
void eh_unique_ids_deinit(eh_unique_ids *list); // and this rank's file

#endif
