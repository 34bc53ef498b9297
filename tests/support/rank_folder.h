// One temporary folder for all ranks of a test: set_up and tear_down of a group of tests.
#ifndef EH_TESTS_SUPPORT_RANK_FOLDER_H
#define EH_TESTS_SUPPORT_RANK_FOLDER_H

#include "comm/comm.h"

// 0, or -1 if it could not be made. Collective. *folder is the same on all ranks.
int eh_test_rank_folder_new(eh_comm *comm, char **folder);
int eh_test_rank_folder_remove(eh_comm *comm, char **folder);

#endif
