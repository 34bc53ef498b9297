// What a rank notes about rows beside their examples: those that could not be used, and ids that must not repeat.
#ifndef EH_DATASET_REJECTED_H
#define EH_DATASET_REJECTED_H

#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"
#include "dataset/dataset.h"

typedef struct {
    eh_rejected_row *rows;
    int64_t count, capacity;
} eh_rejected_list;

EH_CHECKED eh_status eh_rejected_add(eh_rejected_list *list, uint64_t row, int64_t line, const char *reason);
// FOLDER/NAME-rejected.csv (row, line, reason) with the rows of all ranks in the file's order; an older one is removed
// if there are none. Collective.
EH_CHECKED eh_status eh_rejected_write(eh_comm *comm, const eh_rejected_list *list, const char *folder,
                                       const char *name);
void eh_rejected_deinit(eh_rejected_list *list);

typedef struct {
    uint64_t hash;
    int64_t line;
} eh_id_entry;

typedef struct {
    eh_id_entry *entries;
    int64_t count, capacity;
} eh_id_list;

EH_CHECKED eh_status eh_record_ids_add(eh_id_list *list, const eh_data_format *format, const eh_records *records);
// EH_INPUT with both lines if an id of all ranks' occurs twice (64-bit hashes: a false alarm in 10^10 rows is
// unlikely). Collective.
EH_CHECKED eh_status eh_ids_check(eh_comm *comm, const eh_id_list *list, const char *path);
void eh_record_ids_deinit(eh_id_list *list);

#endif
