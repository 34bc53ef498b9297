#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/checkpoint_internal.h"

typedef struct eh_checkpoint_writing {
    eh_comm *comm;
    char *path, *beside;
    int file;
    eh_string header; // with zeros for the checksums
    int64_t *begins;  // [tensor_count] of each tensor, bytes from the data's start
    int64_t data_begin, data_bytes;
    const eh_checkpoint_piece *pieces; // borrowed
    int64_t piece_count;
    pthread_t thread;
    bool has_thread, is_first;
    atomic_bool is_written;
    eh_status status; // of the thread, with its message, once it has ended
    char *message;
} checkpoint_writer;

static eh_status append_json_text(eh_string *text, const char *value)
{
    EH_TRY(eh_string_append_text(text, "\""));
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            EH_TRY(eh_string_printf(text, "\\%c", *c));
        else if ((unsigned char)*c < 0x20)
            EH_TRY(eh_string_printf(text, "\\u%04x", *c));
        else
            EH_TRY(eh_string_append(text, c, 1));
    }
    return eh_string_append_text(text, "\"");
}

// The checksums' places come first, so that their offsets are known: see write_header.
#define HEADER_BEGIN "{\"__metadata__\":{\"sha256\":\""
#define HEADER_CRC "\",\"crc32\":\""

static eh_status make_header(checkpoint_writer *writer, const eh_checkpoint_tensor *tensors, int64_t tensor_count,
                             const eh_checkpoint_note *notes, int64_t note_count)
{
    eh_string *header = &writer->header;
    EH_TRY(EH_ALLOC(tensor_count, &writer->begins));
    for (int64_t t = 0; t < tensor_count; t++) {
        writer->begins[t] = writer->data_bytes;
        writer->data_bytes += tensors[t].count * (int64_t)sizeof(float);
    }
    EH_TRY(eh_string_printf(header, "%s%064d%s", HEADER_BEGIN, 0, HEADER_CRC));
    for (int64_t b = 0; b < eh_checkpoint_block_count(writer->data_bytes); b++)
        EH_TRY(eh_string_append_text(header, "00000000"));
    EH_TRY(eh_string_printf(header, "\",\"format\":\"%s\"", EH_CHECKPOINT_FORMAT));
    for (int64_t n = 0; n < note_count; n++) {
        EH_TRY(eh_string_append_text(header, ","));
        EH_TRY(append_json_text(header, notes[n].name));
        EH_TRY(eh_string_append_text(header, ":"));
        EH_TRY(append_json_text(header, notes[n].value));
    }
    EH_TRY(eh_string_append_text(header, "}"));
    for (int64_t t = 0; t < tensor_count; t++) {
        EH_TRY(eh_string_append_text(header, ","));
        EH_TRY(append_json_text(header, tensors[t].name));
        EH_TRY(eh_string_append_text(header, ":{\"dtype\":\"F32\",\"shape\":["));
        for (int d = 0; d < tensors[t].dimension_count; d++)
            EH_TRY(eh_string_printf(header, "%s%lld", d > 0 ? "," : "", (long long)tensors[t].shape[d]));
        EH_TRY(eh_string_printf(header, "],\"data_offsets\":[%lld,%lld]}", (long long)writer->begins[t],
                                (long long)(writer->begins[t] + tensors[t].count * (int64_t)sizeof(float))));
    }
    EH_TRY(eh_string_append_text(header, "}"));
    while (header->size % 8 != 0) EH_TRY(eh_string_append_text(header, " "));
    writer->data_begin = (int64_t)header->size + 8;
    return EH_OK;
}

static eh_status write_at(int file, const char *path, const void *bytes, int64_t size, int64_t offset)
{
    for (int64_t done = 0; done < size;) {
        const int64_t left = size - done, piece = left < (1 << 30) ? left : 1 << 30;
        const ssize_t written = pwrite(file, (const char *)bytes + done, (size_t)piece, offset + done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return eh_error(EH_MACHINE, "%s: %s", path,
                            written < 0 ? strerror(errno) : "nothing more could be written");
        done += written;
    }
    return EH_OK;
}

// Takes all the room at once: a disk that is too full says so before anything is written.
static eh_status create_file(checkpoint_writer *writer)
{
    writer->file = open(writer->beside, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (writer->file < 0)
        return eh_error(EH_MACHINE, "%s: %s", writer->beside, strerror(errno));
    const int code = posix_fallocate(writer->file, 0, writer->data_begin + writer->data_bytes);
    if (code != 0 && code != EOPNOTSUPP && code != EINVAL)
        return eh_error(EH_MACHINE, "%s: %s (%lld MB are needed)", writer->beside, strerror(code),
                        (long long)((writer->data_begin + writer->data_bytes) >> 20));
    return EH_OK;
}

static eh_status write_pieces(checkpoint_writer *writer)
{
    const eh_checkpoint_piece *pieces = writer->pieces;
    if (!writer->is_first)
        writer->file = open(writer->beside, O_RDWR);
    if (writer->file < 0)
        return eh_error(EH_MACHINE, "%s: %s", writer->beside, strerror(errno));
    for (int64_t p = 0; p < writer->piece_count; p++) {
        const int64_t bytes = pieces[p].count * (int64_t)sizeof(float);
        EH_TRY(
            write_at(writer->file, writer->beside, pieces[p].values, bytes,
                     writer->data_begin + writer->begins[pieces[p].tensor] + pieces[p].first * (int64_t)sizeof(float)));
        if (pieces[p].in_file)
            eh_release_pages(pieces[p].values, (size_t)bytes);
    }
    if (fsync(writer->file) != 0)
        return eh_error(EH_MACHINE, "%s: %s", writer->beside, strerror(errno));
    return EH_OK;
}

// The thread of a rank: no MPI here.
static void *write_beside(void *context)
{
    checkpoint_writer *writer = context;
    writer->status = write_pieces(writer);
    if (writer->status != EH_OK && eh_copy_string(eh_error_message(), &writer->message) != EH_OK)
        writer->message = NULL;
    atomic_store(&writer->is_written, true);
    return NULL;
}

static eh_status join(checkpoint_writer *writer)
{
    if (writer->has_thread)
        pthread_join(writer->thread, NULL);
    writer->has_thread = false;
    if (writer->status == EH_OK)
        return EH_OK;
    return eh_error(writer->status, "%s", writer->message ? writer->message : "a checkpoint could not be written");
}

static eh_status own_crcs(eh_comm *comm, checkpoint_writer *writer, uint32_t **crcs, int64_t *count)
{
    int64_t first;
    eh_comm_slice(comm, eh_checkpoint_block_count(writer->data_bytes), &first, count);
    EH_TRY(EH_ALLOC(*count, crcs));
    return eh_checkpoint_crcs(writer->file, writer->beside, writer->data_begin, writer->data_bytes, first, *count,
                              *crcs);
}

static eh_status write_header(checkpoint_writer *writer, const uint32_t *crcs, int64_t crc_count)
{
    char *header = writer->header.bytes, *digest_place = header + strlen(HEADER_BEGIN);
    char *place = digest_place + EH_SHA256_TEXT - 1 + strlen(HEADER_CRC);
    for (int64_t b = 0; b < crc_count; b++) {
        char text[EH_CHECKPOINT_CRC_TEXT + 1];
        snprintf(text, sizeof text, "%08x", crcs[b]);
        memcpy(place + b * EH_CHECKPOINT_CRC_TEXT, text, EH_CHECKPOINT_CRC_TEXT);
    }
    char digest[EH_SHA256_TEXT];
    eh_checkpoint_header_digest(header, (int64_t)writer->header.size, digest_place, digest);
    memcpy(digest_place, digest, EH_SHA256_TEXT - 1);
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(writer->header.size >> 8 * i);
    EH_TRY(write_at(writer->file, writer->beside, length, sizeof length, 0));
    EH_TRY(write_at(writer->file, writer->beside, header, (int64_t)writer->header.size, sizeof length));
    if (fsync(writer->file) != 0)
        return eh_error(EH_MACHINE, "%s: %s", writer->beside, strerror(errno));
    return eh_atomic_rename(writer->beside, writer->path);
}

void eh_checkpoint_abandon(eh_checkpoint_writing **writing)
{
    checkpoint_writer *writer = *writing;
    if (writer == NULL)
        return;
    if (writer->has_thread)
        pthread_join(writer->thread, NULL);
    if (writer->file >= 0)
        close(writer->file);
    if (writer->is_first && writer->beside)
        unlink(writer->beside); // gone already where the writing ended well
    eh_free(&writer->begins);
    eh_free(&writer->message);
    eh_free(&writer->path);
    eh_free(&writer->beside);
    eh_string_deinit(&writer->header);
    eh_free(writing);
}

static eh_status prepare(checkpoint_writer *writer, const char *path, const eh_checkpoint_tensor *tensors,
                         int64_t tensor_count, const eh_checkpoint_note *notes, int64_t note_count)
{
    eh_string beside = {0};
    eh_status status = eh_string_printf(&beside, "%s.part", path);
    writer->beside = beside.bytes;
    if (status == EH_OK)
        status = eh_copy_string(path, &writer->path);
    if (status == EH_OK)
        status = make_header(writer, tensors, tensor_count, notes, note_count);
    return status == EH_OK && writer->is_first ? create_file(writer) : status;
}

eh_status eh_checkpoint_begin(eh_comm *comm, const char *path, const eh_checkpoint_tensor *tensors,
                              int64_t tensor_count, const eh_checkpoint_note *notes, int64_t note_count,
                              const eh_checkpoint_piece *pieces, int64_t piece_count, eh_checkpoint_writing **writing)
{
    *writing = NULL;
    eh_status status = EH_ALLOC(1, writing);
    checkpoint_writer *writer = *writing;
    if (status == EH_OK) {
        writer->comm = comm;
        writer->file = -1;
        writer->is_first = eh_comm_rank(comm) == 0;
        writer->pieces = pieces;
        writer->piece_count = piece_count;
        atomic_init(&writer->is_written, false);
        status = prepare(writer, path, tensors, tensor_count, notes, note_count);
    }
    EH_TRY_OR(done, eh_comm_agree(comm, status)); // the file is there for all to open
    // The first rank's header counts: notes such as times may be longer on another.
    EH_TRY_OR(done, eh_comm_broadcast(comm, &writer->data_begin, sizeof writer->data_begin, 0));
    writer->has_thread = pthread_create(&writer->thread, NULL, write_beside, writer) == 0;
    if (!writer->has_thread)
        write_beside(writer);
done:
    if (status != EH_OK)
        eh_checkpoint_abandon(writing);
    return status;
}

bool eh_checkpoint_is_written(eh_checkpoint_writing *writing)
{
    return atomic_load(&writing->is_written);
}

eh_status eh_checkpoint_end(eh_checkpoint_writing **writing)
{
    checkpoint_writer *writer = *writing;
    eh_comm *comm = writer->comm;
    uint32_t *own = NULL, *all = NULL;
    int64_t own_count = 0;
    size_t all_bytes = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_comm_agree(comm, join(writer)));
    EH_TRY_OR(done, eh_comm_agree(comm, own_crcs(comm, writer, &own, &own_count)));
    EH_TRY_OR(done, eh_comm_gather(comm, own, (size_t)own_count * sizeof *own, 0, (void **)&all, &all_bytes, NULL));
    if (writer->is_first)
        status = write_header(writer, all, (int64_t)(all_bytes / sizeof *all));
    EH_TRY_OR(done, eh_comm_agree(comm, status));
done:
    eh_free(&own);
    eh_free(&all);
    eh_checkpoint_abandon(writing);
    return status;
}

eh_status eh_checkpoint_write(eh_comm *comm, const char *path, const eh_checkpoint_tensor *tensors,
                              int64_t tensor_count, const eh_checkpoint_note *notes, int64_t note_count,
                              const eh_checkpoint_piece *pieces, int64_t piece_count)
{
    eh_checkpoint_writing *writing;
    EH_TRY(eh_checkpoint_begin(comm, path, tensors, tensor_count, notes, note_count, pieces, piece_count, &writing));
    return eh_checkpoint_end(&writing);
}
