#include "dataset/rejected.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"

eh_status eh_rejected_add(eh_rejected_list *list, uint64_t row, int64_t line, const char *reason)
{
    eh_rejected_row fresh = {.row = row, .line = line};
    strncpy(fresh.reason, reason, sizeof fresh.reason - 1);
    return EH_APPEND(&list->rows, &list->count, &list->capacity, fresh);
}

void eh_rejected_deinit(eh_rejected_list *list)
{
    eh_atomic_discard(&list->file);
    eh_free(&list->path);
    eh_free(&list->rows);
    *list = (eh_rejected_list){0};
}

static int compare_rows(const void *a, const void *b)
{
    const eh_rejected_row *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return strcmp(x->reason, y->reason);
}

// This rank's rows as lines of CSV; reasons hold no quotes: they are ours.
static eh_status make_lines(eh_rejected_list *list, eh_string *lines)
{
    if (list->count > 0)
        qsort(list->rows, (size_t)list->count, sizeof *list->rows, compare_rows);
    for (int64_t i = 0; i < list->count; i++)
        EH_TRY(eh_string_printf(lines, "%" PRIu64 ",%" PRId64 ",\"%s\"\n", list->rows[i].row, list->rows[i].line,
                                list->rows[i].reason));
    list->total += list->count;
    list->count = 0;
    return EH_OK;
}

static eh_status keep_path(eh_rejected_list *list, const char *folder, const char *name)
{
    eh_string path = {0};
    if (list->path != NULL)
        return EH_OK;
    EH_TRY(eh_string_printf(&path, "%s/%s-rejected.csv", folder, name));
    list->path = path.bytes;
    return EH_OK;
}

static eh_status append_lines(eh_rejected_list *list, const char *folder, const char *name, const char *lines,
                              size_t size)
{
    if (size == 0)
        return EH_OK;
    EH_TRY(keep_path(list, folder, name));
    if (list->file.file == NULL) {
        EH_TRY(eh_atomic_begin(list->path, &list->file));
        fputs("row,line,reason\n", list->file.file);
    }
    if (fwrite(lines, 1, size, list->file.file) != size)
        return eh_error(EH_MACHINE, "%s: %s", list->path, strerror(errno));
    return EH_OK;
}

eh_status eh_rejected_flush(eh_comm *comm, eh_rejected_list *list, const char *folder, const char *name)
{
    void *all = NULL;
    size_t size = 0;
    eh_string lines = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_comm_agree(comm, make_lines(list, &lines)));
    EH_TRY_OR(done, eh_comm_gather(comm, lines.bytes, lines.size, 0, &all, &size, NULL));
    status = eh_comm_agree(comm, append_lines(list, folder, name, all, size));
done:
    eh_free(&all);
    eh_string_deinit(&lines);
    return status;
}

static eh_status finish(eh_rejected_list *list, const char *folder, const char *name)
{
    if (list->file.file != NULL)
        return eh_atomic_commit(&list->file);
    EH_TRY(keep_path(list, folder, name));
    if (unlink(list->path) != 0 && errno != ENOENT)
        return eh_error(EH_MACHINE, "%s: cannot be removed: %s", list->path, strerror(errno));
    return EH_OK;
}

eh_status eh_rejected_finish(eh_comm *comm, eh_rejected_list *list, const char *folder, const char *name)
{
    return eh_comm_agree(comm, eh_comm_rank(comm) == 0 ? finish(list, folder, name) : EH_OK);
}
