#include "dataset/unique_ids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/sha256.h"
#include "core/string.h"

enum { RUN_ENTRIES = 1 << 20, AHEAD_ENTRIES = 1 << 10 };

void eh_unique_ids_deinit(eh_unique_ids *list)
{
    if (list->path != NULL)
        unlink(list->path);
    eh_free(&list->path);
    eh_free(&list->entries);
    *list = (eh_unique_ids){0};
}

static int compare_entries(const void *a, const void *b)
{
    const eh_id_entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

// --- Runs: each its number of entries, then these in order ---

static eh_status ids_path(const char *folder, const char *name, int rank, eh_string *path)
{
    eh_string_clear(path);
    return eh_string_printf(path, "%s/.%s-%05d.ids", folder, name, rank);
}

static eh_status write_run(eh_unique_ids *list, int rank, const char *folder, const char *name)
{
    eh_string path = {0};
    if (list->count == 0)
        return EH_OK;
    EH_TRY(ids_path(folder, name, rank, &path));
    FILE *file = fopen(path.bytes, list->path == NULL ? "wb" : "ab");
    if (list->path == NULL)
        list->path = path.bytes;
    else
        eh_string_deinit(&path);
    qsort(list->entries, (size_t)list->count, sizeof *list->entries, compare_entries);
    const size_t count = (size_t)list->count;
    bool written = file != NULL && fwrite(&list->count, sizeof list->count, 1, file) == 1 &&
                   fwrite(list->entries, sizeof *list->entries, count, file) == count;
    int error = errno;
    if (file != NULL && fclose(file) != 0 && written) {
        written = false;
        error = errno;
    }
    list->count = 0;
    return written ? EH_OK : eh_error(EH_MACHINE, "%s: %s", list->path, strerror(error));
}

eh_status eh_unique_ids_add(eh_unique_ids *list, const eh_comm *comm, const char *folder, const char *name,
                            const eh_data_format *format, const eh_records *records)
{
    const int64_t most = list->run_entries > 0 ? list->run_entries : RUN_ENTRIES;
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
        if (list->count >= most)
            EH_TRY(write_run(list, eh_comm_rank(comm), folder, name));
    }
    return EH_OK;
}

// --- Merging ---

typedef struct {
    FILE *file;   // the rank's, shared by its runs
    long at;      // of the next entries to be read
    int64_t left; // entries that were not read
    eh_id_entry ahead[AHEAD_ENTRIES];
    int64_t next, count; // of `ahead`
} run;

typedef struct {
    FILE **files;
    int file_count;
    run **heap; // the one with the least entry first
    int64_t count, capacity;
} merge;

static eh_status damaged(const char *source)
{
    return eh_error(EH_MACHINE, "%s: the ids that were set aside can't be read again: %s", source, strerror(errno));
}

// Makes the run's next entry ahead[next]; none is left if next == count.
static bool read_ahead(run *r)
{
    if (r->next < r->count || r->left == 0)
        return true;
    const int64_t count = r->left < AHEAD_ENTRIES ? r->left : AHEAD_ENTRIES;
    if (fseek(r->file, r->at, SEEK_SET) != 0 ||
        fread(r->ahead, sizeof *r->ahead, (size_t)count, r->file) != (size_t)count)
        return false;
    r->at += (long)((size_t)count * sizeof *r->ahead);
    r->left -= count;
    r->next = 0;
    r->count = count;
    return true;
}

static bool comes_before(const run *a, const run *b)
{
    return compare_entries(&a->ahead[a->next], &b->ahead[b->next]) < 0;
}

static void sift_down(merge *m, int64_t at)
{
    for (;;) {
        int64_t least = at;
        for (int64_t child = 2 * at + 1; child <= 2 * at + 2 && child < m->count; child++)
            least = comes_before(m->heap[child], m->heap[least]) ? child : least;
        if (least == at)
            return;
        run *swapped = m->heap[at];
        m->heap[at] = m->heap[least];
        m->heap[least] = swapped;
        at = least;
    }
}

static eh_status add_runs(merge *m, FILE *file, const char *source)
{
    int64_t count = 0;
    long at = 0;
    while (fseek(file, at, SEEK_SET) == 0 && fread(&count, sizeof count, 1, file) == 1) {
        run *fresh = NULL;
        EH_TRY(EH_ALLOC(1, &fresh));
        fresh->file = file;
        fresh->at = at + (long)sizeof count;
        fresh->left = count;
        at = fresh->at + (long)((size_t)count * sizeof(eh_id_entry));
        eh_status status = EH_APPEND(&m->heap, &m->count, &m->capacity, fresh);
        if (status != EH_OK) {
            eh_free(&fresh);
            return status;
        }
        if (!read_ahead(fresh))
            return damaged(source);
    }
    return EH_OK;
}

static eh_status merge_init(merge *m, int ranks, const char *folder, const char *name, const char *source)
{
    eh_string path = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(ranks, &m->files));
    m->file_count = ranks;
    for (int f = 0; f < ranks; f++) {
        EH_TRY_OR(done, ids_path(folder, name, f, &path));
        FILE *file = m->files[f] = fopen(path.bytes, "rb");
        if (file == NULL && errno != ENOENT) // ENOENT: the rank had no ids
            EH_TRY_OR(done, damaged(source));
        if (file != NULL)
            EH_TRY_OR(done, add_runs(m, file, source));
    }
    for (int64_t at = m->count / 2; at >= 0; at--) sift_down(m, at);
done:
    eh_string_deinit(&path);
    return status;
}

static void merge_deinit(merge *m)
{
    for (int f = 0; f < m->file_count; f++) {
        if (m->files[f] != NULL)
            fclose(m->files[f]);
    }
    for (int64_t i = 0; i < m->count; i++) eh_free(&m->heap[i]);
    eh_free(&m->heap);
    eh_free(&m->files);
}

// The next entry of all in order; false at the end.
static eh_status merge_next(merge *m, const char *source, eh_id_entry *entry, bool *more)
{
    *more = m->count > 0;
    if (!*more)
        return EH_OK;
    run *first = m->heap[0];
    *entry = first->ahead[first->next++];
    if (!read_ahead(first))
        return damaged(source);
    if (first->next == first->count) {
        m->heap[0] = m->heap[--m->count];
        eh_free(&first);
    }
    if (m->count > 0)
        sift_down(m, 0);
    return EH_OK;
}

static eh_status find_double(int ranks, const char *folder, const char *name, const char *source)
{
    merge m = {0};
    eh_id_entry last = {.line = 0}, entry;
    bool more = true;
    eh_status status = EH_OK;
    EH_TRY_OR(done, merge_init(&m, ranks, folder, name, source));
    for (;;) {
        EH_TRY_OR(done, merge_next(&m, source, &entry, &more));
        if (!more)
            break;
        if (last.line > 0 && entry.hash == last.hash) {
            status = eh_error(EH_INPUT, "%s:%" PRId64 ": its id was used before, in line %" PRId64, source, entry.line,
                              last.line);
            break;
        }
        last = entry;
    }
done:
    merge_deinit(&m);
    return status;
}

eh_status eh_unique_ids_check(eh_comm *comm, eh_unique_ids *list, const char *folder, const char *name,
                              const char *source)
{
    const int rank = eh_comm_rank(comm);
    EH_TRY(eh_comm_agree(comm, write_run(list, rank, folder, name)));
    return eh_comm_agree(comm, rank == 0 ? find_double(eh_comm_size(comm), folder, name, source) : EH_OK);
}
