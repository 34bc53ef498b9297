#include "support/rank_folder.h"

#include <string.h>

#include "core/memory.h"
#include "support/folder.h"

int eh_test_rank_folder_new(eh_comm *comm, char **folder)
{
    *folder = eh_comm_rank(comm) == 0 ? eh_test_folder_new() : NULL;
    size_t size = *folder != NULL ? strlen(*folder) + 1 : 0;
    return eh_comm_broadcast_block(comm, (void **)folder, &size, 0) == EH_OK ? 0 : -1;
}

int eh_test_rank_folder_remove(eh_comm *comm, char **folder)
{
    const bool ok = eh_comm_barrier(comm) == EH_OK;
    if (eh_comm_rank(comm) == 0)
        eh_test_folder_remove(folder);
    else
        eh_free(folder);
    return ok ? 0 : -1;
}
