// The groups of a data set, numbered in the order of their first row, the same on all ranks.
#ifndef EH_DATASET_GROUPS_H
#define EH_DATASET_GROUPS_H

#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"
#include "dataset/dataset.h"

typedef struct {
    char **names;
    int64_t count, capacity;
} eh_groups;

void eh_groups_deinit(eh_groups *groups);
// "" is the group "all". EH_INPUT for more than 4000 groups.
EH_CHECKED eh_status eh_groups_add(eh_groups *groups, eh_text name);
// The number of a group that was added.
EH_CHECKED eh_status eh_groups_find(const eh_groups *groups, eh_text name, uint16_t *group);
// Adds the new groups of all ranks' records, in rank order. Collective.
EH_CHECKED eh_status eh_groups_agree(eh_comm *comm, const eh_data_format *format, const eh_records *records,
                                     eh_groups *groups);
// Whether `name` is in the comma-separated `list`, spaces around commas apart; everything is in NULL.
bool eh_group_is_listed(const char *list, eh_text name);
// EH_INPUT if the list names a group that is not there. `what` begins the message.
EH_CHECKED eh_status eh_groups_check_list(const eh_groups *groups, const char *list, const char *what);
// Puts a NULL behind the last name, for those who take a list.
EH_CHECKED eh_status eh_groups_terminate(eh_groups *groups);

#endif
