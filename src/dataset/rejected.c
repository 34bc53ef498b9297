#include "dataset/rejected.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/sha256.h"
#include "core/string.h"
#include "io/atomic.h"

eh_status eh_rejected_add(eh_rejected_list *list, uint64_t row, int64_t line, const char *reason)
{
    eh_rejected_row fresh = {.row = row, .line = line};
    strncpy(fresh.reason, reason, sizeof fresh.reason - 1);
    return EH_APPEND(&list->rows, &list->count, &list->capacity, fresh);
}

void eh_rejected_deinit(eh_rejected_list *list)
{
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

static eh_status write_file(const char *path, eh_rejected_row *rows, int64_t count)
{
    if (count == 0) {
        if (unlink(path) != 0 && errno != ENOENT)
            return eh_error(EH_MACHINE, "%s: cannot be removed: %s", path, strerror(errno));
        return EH_OK;
    }
    eh_atomic atomic;
    EH_TRY(eh_atomic_begin(path, &atomic));
    qsort(rows, (size_t)count, sizeof *rows, compare_rows);
    fprintf(atomic.file, "row,line,reason\n"); // reasons hold no quotes: they are ours
    for (int64_t i = 0; i < count; i++)
        fprintf(atomic.file, "%" PRIu64 ",%" PRId64 ",\"%s\"\n", rows[i].row, rows[i].line, rows[i].reason);
    return eh_atomic_commit(&atomic);
}

eh_status eh_rejected_write(eh_comm *comm, const eh_rejected_list *list, const char *folder, const char *name)
{
    void *all = NULL;
    size_t total = 0;
    eh_string path = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_comm_gather(comm, list->rows, (size_t)list->count * sizeof *list->rows, 0, &all, &total, NULL));
    if (eh_comm_rank(comm) == 0)
        status = eh_string_printf(&path, "%s/%s-rejected.csv", folder, name);
    if (eh_comm_rank(comm) == 0 && status == EH_OK)
        status = write_file(path.bytes, all, (int64_t)(total / sizeof(eh_rejected_row)));
    status = eh_comm_agree(comm, status);
done:
    eh_free(&all);
    eh_string_deinit(&path);
    return status;
}

// --- Ids ---
eh_status eh_record_ids_add(eh_id_list *list, const eh_data_format *format, const eh_records *records)
{
    for (int64_t i = 0; i < records->count; i++) {
        const eh_text id = eh_record_field(records, &records->records[i], format->roles.id);
        if (id.size == 0)
            continue;
        eh_sha256 sha;
        uint8_t digest[EH_SHA256_BYTES];
        eh_id_entry entry = {.line = records->records[i].line};
        eh_sha256_begin(&sha);
        eh_sha256_add(&sha, id.bytes, id.size);
        eh_sha256_end(&sha, digest);
        memcpy(&entry.hash, digest, sizeof entry.hash);
        EH_TRY(EH_APPEND(&list->entries, &list->count, &list->capacity, entry));
    }
    return EH_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const eh_id_entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

eh_status eh_ids_check(eh_comm *comm, const eh_id_list *list, const char *path)
{
    eh_id_entry *all = NULL;
    size_t total = 0;
    eh_status status = EH_OK;
    EH_TRY(eh_comm_gather(comm, list->entries, (size_t)list->count * sizeof *list->entries, 0, (void **)&all, &total,
                          NULL));
    const size_t count = total / sizeof *all;
    if (count > 0)
        qsort(all, count, sizeof *all, compare_entries);
    for (size_t i = 1; i < count && status == EH_OK; i++) {
        if (all[i].hash == all[i - 1].hash)
            status = eh_error(EH_INPUT, "%s:%" PRId64 ": its id was used before, in line %" PRId64, path, all[i].line,
                              all[i - 1].line);
    }
    eh_free(&all);
    return eh_comm_agree(comm, status);
}

void eh_record_ids_deinit(eh_id_list *list)
{
    eh_free(&list->entries);
    *list = (eh_id_list){0};
}
