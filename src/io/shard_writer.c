// Shards written as their examples arrive. Each rank keeps the open shards that are its own (shard mod ranks); what
// other ranks hold of them is sent here after every piece.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/atomic.h"
#include "io/hdf5.h"
#include "io/shard.h"
#include "io/shard_internal.h"

enum { DEFAULT_SHARD_BYTES = 4 << 20, MESSAGE_BYTES = 1 << 29 };

typedef struct {
    int64_t shard;
    eh_examples examples;
} open_shard;

struct eh_shard_writer {
    eh_comm *comm;
    char *folder;
    const eh_shard_origin *origin;
    const char *const *field_names;
    int64_t tokens_a_shard;
    int64_t tokens;     // of all ranks so far
    int64_t last_shard; // the highest that any example is in
    open_shard *open;   // of this rank, ascending
    int64_t open_count, open_capacity;
    int64_t *written; // shards of this rank whose files are there
    int64_t written_count, written_capacity;
    eh_string *sent, *received; // [ranks] messages of the piece at hand
};

static eh_status part_path(const eh_shard_writer *writer, int64_t shard, eh_string *path)
{
    eh_string_clear(path);
    return eh_string_printf(path, "%s/.%s-%05" PRId64 ".part", writer->folder, writer->origin->name, shard);
}

static bool is_part(const char *file, const char *name)
{
    const size_t length = strlen(name);
    if (file[0] != '.' || strncmp(file + 1, name, length) != 0 || file[1 + length] != '-')
        return false;
    const char *digits = file + 2 + length;
    const size_t count = strspn(digits, "0123456789");
    return count >= 5 && (strcmp(digits + count, ".part") == 0 || strcmp(digits + count, ".ids") == 0);
}

// Removes files of the folder: parts of a killed run, or shards of a set that is not of `keep_count`.
static eh_status remove_old(const eh_shard_writer *writer, bool parts, int64_t keep_count)
{
    DIR *entries = opendir(writer->folder);
    if (entries == NULL)
        return eh_error(EH_MACHINE, "%s: %s", writer->folder, strerror(errno));
    eh_string path = {0};
    eh_status status = EH_OK;
    int64_t shard = 0, count = 0;
    for (struct dirent *entry; status == EH_OK && (entry = readdir(entries)) != NULL;) {
        const bool old =
            parts ? is_part(entry->d_name, writer->origin->name)
                  : eh_shard_name_parse(entry->d_name, writer->origin->name, &shard, &count) && count != keep_count;
        if (!old)
            continue;
        eh_string_clear(&path);
        status = eh_string_printf(&path, "%s/%s", writer->folder, entry->d_name);
        if (status == EH_OK && unlink(path.bytes) != 0 && errno != ENOENT)
            status = eh_error(EH_MACHINE, "%s: cannot be removed: %s", path.bytes, strerror(errno));
    }
    closedir(entries);
    eh_string_deinit(&path);
    return status;
}

static eh_status prepare_folder(const eh_shard_writer *writer)
{
    if (eh_comm_rank(writer->comm) != 0)
        return EH_OK;
    EH_TRY(eh_make_folders(writer->folder));
    return remove_old(writer, true, 0);
}

eh_status eh_shard_writer_open(eh_comm *comm, const char *folder, const eh_shard_origin *origin,
                               const char *const *field_names, uint64_t shard_bytes, eh_shard_writer **writer)
{
    eh_shard_writer *fresh = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(1, &fresh));
    fresh->comm = comm;
    EH_TRY_OR(done, eh_copy_string(folder, &fresh->folder));
    EH_TRY_OR(done, EH_ALLOC(eh_comm_size(comm), &fresh->sent));
    EH_TRY_OR(done, EH_ALLOC(eh_comm_size(comm), &fresh->received));
    fresh->origin = origin;
    fresh->field_names = field_names;
    fresh->tokens_a_shard = (int64_t)((shard_bytes > 0 ? shard_bytes : DEFAULT_SHARD_BYTES) / sizeof(uint32_t));
    if (fresh->tokens_a_shard == 0)
        fresh->tokens_a_shard = 1;
    EH_TRY_OR(done, prepare_folder(fresh));
done:
    status = eh_comm_agree(comm, status);
    if (status != EH_OK)
        eh_shard_writer_close(&fresh);
    *writer = fresh;
    return status;
}

void eh_shard_writer_close(eh_shard_writer **writer)
{
    eh_shard_writer *w = *writer;
    if (w == NULL)
        return;
    eh_string path = {0};
    for (int64_t i = 0; i < w->written_count; i++) {
        if (part_path(w, w->written[i], &path) == EH_OK)
            unlink(path.bytes);
    }
    eh_string_deinit(&path);
    for (int64_t i = 0; i < w->open_count; i++) eh_examples_deinit(&w->open[i].examples);
    for (int r = 0; r < eh_comm_size(w->comm); r++) {
        if (w->sent != NULL)
            eh_string_deinit(&w->sent[r]);
        if (w->received != NULL)
            eh_string_deinit(&w->received[r]);
    }
    eh_free(&w->sent);
    eh_free(&w->received);
    eh_free(&w->open);
    eh_free(&w->written);
    eh_free(&w->folder);
    eh_free(writer);
}

static int64_t token_count(const eh_examples *e, int64_t i)
{
    const uint64_t first = e->candidate_first[i], last = e->candidate_first[i + 1];
    return (int64_t)(e->inputs.offsets[i + 1] - e->inputs.offsets[i] + e->targets.offsets[i + 1] -
                     e->targets.offsets[i] + e->candidates.offsets[last] - e->candidates.offsets[first]);
}

// A message is a row of segments: the shard's number, then its examples as bytes.
static eh_status append_segment(const eh_examples *examples, int64_t first, int64_t count, int64_t shard,
                                eh_string *message)
{
    EH_TRY(eh_string_append(message, (const char *)&shard, sizeof shard));
    return eh_examples_pack(examples, first, count, message);
}

// A run of a piece's examples that lie in one shard.
typedef struct {
    int64_t first, count, shard;
    int64_t tokens; // of the data set before its end
} segment;

// The segment behind `at` (before the first one: at->tokens is the number before the piece, the rest 0). False at the
// piece's end.
static bool next_segment(const eh_shard_writer *writer, const eh_examples *examples, segment *at)
{
    at->first += at->count;
    at->count = 0;
    at->shard = at->tokens / writer->tokens_a_shard;
    for (int64_t i = at->first; i < examples->count && at->tokens / writer->tokens_a_shard == at->shard; i++) {
        at->tokens += token_count(examples, i);
        at->count++;
    }
    return at->count > 0;
}

// The segments of other ranks' shards, for them.
static eh_status make_messages(eh_shard_writer *writer, const eh_examples *examples, int64_t tokens_before)
{
    const int size = eh_comm_size(writer->comm), me = eh_comm_rank(writer->comm);
    segment at = {.tokens = tokens_before};
    for (int r = 0; r < size; r++) eh_string_clear(&writer->sent[r]);
    while (next_segment(writer, examples, &at)) {
        if (at.shard > writer->last_shard)
            writer->last_shard = at.shard;
        if (at.shard % size != me)
            EH_TRY(append_segment(examples, at.first, at.count, at.shard, &writer->sent[at.shard % size]));
    }
    return EH_OK;
}

static eh_status find_open(eh_shard_writer *writer, int64_t shard, eh_examples **examples)
{
    for (int64_t i = 0; i < writer->open_count; i++) {
        if (writer->open[i].shard == shard) {
            *examples = &writer->open[i].examples;
            return EH_OK;
        }
    }
    const open_shard fresh = {.shard = shard};
    EH_TRY(EH_APPEND(&writer->open, &writer->open_count, &writer->open_capacity, fresh));
    *examples = &writer->open[writer->open_count - 1].examples;
    return eh_examples_prepare(*examples);
}

static eh_status take_message(eh_shard_writer *writer, const char *bytes, size_t size)
{
    for (size_t at = 0, used = 0; at < size; at += used) {
        int64_t shard = 0;
        eh_examples *examples = NULL;
        memcpy(&shard, bytes + at, sizeof shard);
        at += sizeof shard;
        EH_TRY(find_open(writer, shard, &examples));
        EH_TRY(eh_examples_unpack(bytes + at, size - at, &used, examples));
    }
    return EH_OK;
}

// The segments that stay here.
static eh_status take_own(eh_shard_writer *writer, const eh_examples *examples, int64_t tokens_before)
{
    const int size = eh_comm_size(writer->comm), me = eh_comm_rank(writer->comm);
    segment at = {.tokens = tokens_before};
    while (next_segment(writer, examples, &at)) {
        eh_examples *open = NULL;
        if (at.shard % size != me)
            continue;
        EH_TRY(find_open(writer, at.shard, &open));
        EH_TRY(eh_examples_add_range(open, examples, at.first, at.count));
    }
    return EH_OK;
}

// All ranks' messages to all ranks; received[r] is the message of rank r. Collective; a failure ends it on all.
static eh_status exchange(eh_shard_writer *writer)
{
    const eh_string *sent = writer->sent;
    eh_string *received = writer->received;
    const int size = eh_comm_size(writer->comm), me = eh_comm_rank(writer->comm);
    const MPI_Comm mpi = eh_comm_mpi(writer->comm);
    uint64_t *sizes = NULL;
    MPI_Request *requests = NULL;
    int64_t request_count = 0, request_capacity = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(agreed, EH_ALLOC(2 * size, &sizes));
    for (int r = 0; r < size; r++) sizes[r] = r == me ? 0 : sent[r].size;
agreed:
    EH_TRY_OR(done, eh_comm_agree(writer->comm, status));
    EH_TRY_OR(done, EH_MPI(MPI_Alltoall(sizes, 1, MPI_UINT64_T, sizes + size, 1, MPI_UINT64_T, mpi)));
    for (int r = 0; r < size && status == EH_OK; r++) {
        int64_t room = (int64_t)received[r].capacity;
        status = eh_reserve((int64_t)sizes[size + r], &room, 1, (void **)&received[r].bytes);
        received[r].size = sizes[size + r];
        received[r].capacity = (size_t)room;
    }
    EH_TRY_OR(done, eh_comm_agree(writer->comm, status));
    for (int r = 0; r < size; r++) {
        for (uint64_t at = 0; at < received[r].size; at += MESSAGE_BYTES) {
            const uint64_t rest = received[r].size - at;
            MPI_Request request;
            EH_TRY_OR(done, EH_MPI(MPI_Irecv(received[r].bytes + at, (int)(rest < MESSAGE_BYTES ? rest : MESSAGE_BYTES),
                                             MPI_BYTE, r, 0, mpi, &request)));
            EH_TRY_OR(done, EH_APPEND(&requests, &request_count, &request_capacity, request));
        }
        for (uint64_t at = 0; at < sizes[r]; at += MESSAGE_BYTES) {
            const uint64_t rest = sizes[r] - at;
            MPI_Request request;
            EH_TRY_OR(done, EH_MPI(MPI_Isend(sent[r].bytes + at, (int)(rest < MESSAGE_BYTES ? rest : MESSAGE_BYTES),
                                             MPI_BYTE, r, 0, mpi, &request)));
            EH_TRY_OR(done, EH_APPEND(&requests, &request_count, &request_capacity, request));
        }
    }
    EH_TRY_OR(done, EH_MPI(MPI_Waitall((int)request_count, requests, MPI_STATUSES_IGNORE)));
done:
    eh_free(&requests);
    eh_free(&sizes);
    return status;
}

// Writes this rank's open shards below `end` and forgets their examples.
static eh_status write_complete(eh_shard_writer *writer, int64_t end)
{
    eh_string path = {0};
    eh_status status = EH_OK;
    int64_t kept = 0;
    for (int64_t i = 0; i < writer->open_count; i++) {
        open_shard *open = &writer->open[i];
        if (open->shard < end && status == EH_OK) {
            status = part_path(writer, open->shard, &path);
            if (status == EH_OK)
                status = EH_APPEND(&writer->written, &writer->written_count, &writer->written_capacity, open->shard);
            if (status == EH_OK)
                status =
                    eh_shard_file_write(path.bytes, writer->origin, writer->field_names, open->shard, &open->examples);
            eh_examples_deinit(&open->examples);
        } else {
            writer->open[kept++] = *open;
        }
    }
    writer->open_count = kept;
    eh_string_deinit(&path);
    return status;
}

eh_status eh_shard_writer_add(eh_shard_writer *writer, const eh_examples *examples)
{
    const int size = eh_comm_size(writer->comm), me = eh_comm_rank(writer->comm);
    int64_t mine = 0, before = 0, total = 0;
    for (int64_t i = 0; i < examples->count; i++) mine += token_count(examples, i);
    EH_TRY(eh_comm_scan_i64(writer->comm, mine, &before, &total));
    EH_TRY(eh_comm_agree(writer->comm, make_messages(writer, examples, writer->tokens + before)));
    EH_TRY(exchange(writer));
    EH_TRY(eh_comm_max_i64(writer->comm, &writer->last_shard, 1));
    eh_status status = EH_OK;
    for (int r = 0; r < size && status == EH_OK; r++)
        status = r == me ? take_own(writer, examples, writer->tokens + before)
                         : take_message(writer, writer->received[r].bytes, writer->received[r].size);
    writer->tokens += total;
    if (status == EH_OK) // equally many on all ranks, so that none waits for another's
        status = write_complete(writer, writer->last_shard / size * size);
    return eh_comm_agree(writer->comm, status);
}

// Shards in which no example begins (one before it was longer than a shard) are there all the same, empty.
static eh_status open_missing(eh_shard_writer *writer)
{
    const int size = eh_comm_size(writer->comm);
    for (int64_t shard = eh_comm_rank(writer->comm); shard <= writer->last_shard; shard += size) {
        bool written = false;
        for (int64_t i = 0; i < writer->written_count && !written; i++) written = writer->written[i] == shard;
        eh_examples *examples = NULL;
        if (!written)
            EH_TRY(find_open(writer, shard, &examples));
    }
    return EH_OK;
}

static eh_status complete_parts(eh_shard_writer *writer, const char *const *group_names, int64_t shard_count)
{
    eh_string path = {0};
    eh_status status = EH_OK;
    for (int64_t i = 0; i < writer->written_count && status == EH_OK; i++) {
        status = part_path(writer, writer->written[i], &path);
        if (status == EH_OK)
            status = eh_shard_file_complete(path.bytes, group_names, shard_count);
    }
    eh_string_deinit(&path);
    return status;
}

// By rank 0 alone. A kill between two renames leaves an incomplete set, which readers refuse and tokenize makes again.
static eh_status rename_parts(eh_shard_writer *writer, int64_t shard_count)
{
    eh_string part = {0}, path = {0};
    eh_status status = eh_comm_rank(writer->comm) == 0 ? remove_old(writer, false, shard_count) : EH_OK;
    for (int64_t i = 0; eh_comm_rank(writer->comm) == 0 && i < shard_count && status == EH_OK; i++) {
        status = part_path(writer, i, &part);
        if (status == EH_OK)
            status = eh_shard_path(writer->folder, writer->origin->name, i, shard_count, &path);
        if (status == EH_OK && rename(part.bytes, path.bytes) != 0)
            status = eh_error(EH_MACHINE, "%s: renaming onto it failed: %s", path.bytes, strerror(errno));
    }
    if (status == EH_OK && eh_comm_rank(writer->comm) == 0)
        status = eh_atomic_flush(writer->folder);
    eh_string_deinit(&part);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_shard_writer_finish(eh_shard_writer *writer, const char *const *group_names, int64_t *shard_count)
{
    const int64_t count = writer->last_shard + 1;
    eh_status status = open_missing(writer);
    if (status == EH_OK)
        status = write_complete(writer, count);
    if (status == EH_OK)
        status = complete_parts(writer, group_names, count);
    EH_TRY(eh_comm_agree(writer->comm, status));
    EH_TRY(eh_comm_agree(writer->comm, rename_parts(writer, count)));
    writer->written_count = 0; // they are no longer ours to remove
    *shard_count = count;
    return EH_OK;
}

eh_status eh_shards_write(eh_comm *comm, const char *folder, const eh_shard_origin *origin, const eh_examples *examples,
                          uint64_t shard_bytes)
{
    eh_shard_writer *writer = NULL;
    int64_t shard_count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_shard_writer_open(comm, folder, origin, (const char *const *)examples->field_names, shard_bytes,
                                         &writer));
    EH_TRY_OR(done, eh_shard_writer_add(writer, examples));
    EH_TRY_OR(done, eh_shard_writer_finish(writer, (const char *const *)examples->group_names, &shard_count));
done:
    eh_shard_writer_close(&writer);
    return status;
}
