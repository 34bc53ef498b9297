#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/checkpoint.h"
#include "io/checkpoint_internal.h"

struct eh_checkpoint {
    char *path;
    int file;
    json_t *root, *notes; // notes: borrowed from root
    eh_checkpoint_tensor *tensors;
    int64_t *begins; // bytes from the data's start
    int64_t tensor_count, data_begin, data_bytes;
};

// --- Checksums --------------------------------------------------------------------------------------------

static eh_status read_at(int file, const char *path, void *bytes, int64_t size, int64_t offset)
{
    for (int64_t done = 0; done < size;) {
        const int64_t left = size - done, piece = left < (1 << 30) ? left : 1 << 30;
        const ssize_t got = pread(file, (char *)bytes + done, (size_t)piece, offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return eh_error(EH_MACHINE, "%s: %s", path, strerror(errno));
        if (got == 0)
            return eh_error(EH_INPUT, "%s: the file is torn: it ends %lld bytes too early", path,
                            (long long)(size - done));
        done += got;
    }
    return EH_OK;
}

eh_status eh_checkpoint_crcs(int file, const char *path, int64_t data_begin, int64_t data_bytes, int64_t first,
                             int64_t count, uint32_t *crcs)
{
    uint8_t *block = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(EH_CHECKPOINT_BLOCK, &block));
    for (int64_t b = first; b < first + count; b++) {
        const int64_t begin = b * EH_CHECKPOINT_BLOCK, left = data_bytes - begin;
        const int64_t size = left < EH_CHECKPOINT_BLOCK ? left : EH_CHECKPOINT_BLOCK;
        EH_TRY_OR(done, read_at(file, path, block, size, data_begin + begin));
        crcs[b - first] = (uint32_t)crc32(0, block, (uInt)size);
    }
done:
    eh_free(&block);
    return status;
}

void eh_checkpoint_header_digest(char *header, int64_t header_bytes, char *digest_place, char digest[EH_SHA256_TEXT])
{
    char kept[EH_SHA256_TEXT - 1];
    memcpy(kept, digest_place, sizeof kept);
    memset(digest_place, '0', sizeof kept);
    eh_sha256_text(header, (size_t)header_bytes, digest);
    memcpy(digest_place, kept, sizeof kept);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static eh_status check_data(eh_comm *comm, const eh_checkpoint *checkpoint)
{
    const char *text = json_string_value(json_object_get(checkpoint->notes, "crc32"));
    const int64_t blocks = eh_checkpoint_block_count(checkpoint->data_bytes);
    if (text == NULL || (int64_t)strlen(text) != blocks * EH_CHECKPOINT_CRC_TEXT)
        return eh_error(EH_INPUT, "%s: its checksums are missing", checkpoint->path);
    int64_t first, count;
    uint32_t *crcs = NULL;
    eh_status status = EH_OK;
    eh_comm_slice(comm, blocks, &first, &count);
    EH_TRY_OR(done, EH_ALLOC(count, &crcs));
    EH_TRY_OR(done, eh_checkpoint_crcs(checkpoint->file, checkpoint->path, checkpoint->data_begin,
                                       checkpoint->data_bytes, first, count, crcs));
    for (int64_t b = 0; b < count; b++) {
        uint32_t expected = 0;
        for (int i = 0; i < EH_CHECKPOINT_CRC_TEXT; i++)
            expected = expected << 4 | (uint32_t)hex_digit(text[(first + b) * EH_CHECKPOINT_CRC_TEXT + i]);
        if (crcs[b] != expected)
            EH_TRY_OR(done, eh_error(EH_INPUT, "%s is damaged: MiB %lld has checksum %08x, expected %08x",
                                     checkpoint->path, (long long)(first + b), crcs[b], expected));
    }
done:
    eh_free(&crcs);
    return status;
}

// --- Header -----------------------------------------------------------------------------------------------

static eh_status parse_tensor(eh_checkpoint *checkpoint, const char *name, const json_t *entry)
{
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    eh_checkpoint_tensor *tensor = &checkpoint->tensors[checkpoint->tensor_count];
    tensor->dimension_count = (int)json_array_size(shape);
    tensor->count = 1;
    if (tensor->dimension_count > 4)
        return eh_error(EH_INPUT, "%s: tensor %s has %d dimensions", checkpoint->path, name, tensor->dimension_count);
    for (int d = 0; d < tensor->dimension_count; d++) {
        tensor->shape[d] = json_integer_value(json_array_get(shape, (size_t)d));
        if (tensor->shape[d] < 0 || __builtin_mul_overflow(tensor->count, tensor->shape[d], &tensor->count))
            return eh_error(EH_INPUT, "%s: tensor %s has an impossible shape", checkpoint->path, name);
    }
    const int64_t begin = json_integer_value(json_array_get(offsets, 0));
    const int64_t end = json_integer_value(json_array_get(offsets, 1));
    if (begin < 0 || end > checkpoint->data_bytes || tensor->count > checkpoint->data_bytes ||
        end - begin != tensor->count * (int64_t)sizeof(float))
        return eh_error(EH_INPUT, "%s: tensor %s does not fit its place in the file", checkpoint->path, name);
    checkpoint->begins[checkpoint->tensor_count] = begin;
    EH_TRY(eh_copy_string(name, &tensor->name));
    checkpoint->tensor_count++;
    return EH_OK;
}

static eh_status parse_header(eh_checkpoint *checkpoint, char *header, int64_t header_bytes)
{
    json_error_t error;
    checkpoint->root = json_loadb(header, (size_t)header_bytes, 0, &error);
    if (checkpoint->root == NULL)
        return eh_error(EH_INPUT, "%s is damaged: its header is not JSON: %s", checkpoint->path, error.text);
    checkpoint->notes = json_object_get(checkpoint->root, "__metadata__");
    const char *format = json_string_value(json_object_get(checkpoint->notes, "format"));
    const char *expected = json_string_value(json_object_get(checkpoint->notes, "sha256"));
    if (format == NULL || strcmp(format, EH_CHECKPOINT_FORMAT) != 0 || expected == NULL ||
        strlen(expected) != EH_SHA256_TEXT - 1)
        return eh_error(EH_INPUT, "%s is not an %s, or is damaged", checkpoint->path, EH_CHECKPOINT_FORMAT);
    char *place = strstr(header, expected), digest[EH_SHA256_TEXT];
    if (place == NULL)
        return eh_error(EH_INPUT, "%s is damaged: its header's digest is garbled", checkpoint->path);
    eh_checkpoint_header_digest(header, header_bytes, place, digest);
    if (strcmp(digest, expected) != 0)
        return eh_error(EH_INPUT, "%s is damaged: its header has digest %.12s, expected %.12s", checkpoint->path,
                        digest, expected);
    const int64_t entries = (int64_t)json_object_size(checkpoint->root);
    EH_TRY(EH_ALLOC(entries, &checkpoint->tensors));
    EH_TRY(EH_ALLOC(entries, &checkpoint->begins));
    const char *name;
    json_t *entry;
    json_object_foreach(checkpoint->root, name, entry) if (strcmp(name, "__metadata__") != 0)
        EH_TRY(parse_tensor(checkpoint, name, entry));
    return EH_OK;
}

static eh_status read_header(eh_checkpoint *checkpoint)
{
    struct stat about;
    checkpoint->file = open(checkpoint->path, O_RDONLY);
    if (checkpoint->file < 0 || fstat(checkpoint->file, &about) != 0)
        return eh_error(EH_INPUT, "%s: %s", checkpoint->path, strerror(errno));
    uint8_t length[8];
    EH_TRY(read_at(checkpoint->file, checkpoint->path, length, sizeof length, 0));
    uint64_t header_bytes = 0;
    for (int i = 7; i >= 0; i--) header_bytes = header_bytes << 8 | length[i];
    if (header_bytes > (uint64_t)about.st_size - sizeof length)
        return eh_error(EH_INPUT, "%s is torn: its header would be longer than the file", checkpoint->path);
    checkpoint->data_begin = (int64_t)header_bytes + 8;
    checkpoint->data_bytes = about.st_size - checkpoint->data_begin;
    char *header = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC((int64_t)header_bytes + 1, &header));
    EH_TRY_OR(done, read_at(checkpoint->file, checkpoint->path, header, (int64_t)header_bytes, 8));
    EH_TRY_OR(done, parse_header(checkpoint, header, (int64_t)header_bytes));
done:
    eh_free(&header);
    return status;
}

// --- The interface ----------------------------------------------------------------------------------------

eh_status eh_checkpoint_open(eh_comm *comm, const char *path, eh_checkpoint **checkpoint)
{
    *checkpoint = NULL;
    eh_checkpoint *opened = NULL;
    eh_status status = EH_ALLOC(1, &opened);
    if (status == EH_OK) {
        opened->file = -1;
        status = eh_copy_string(path, &opened->path);
    }
    if (status == EH_OK)
        status = read_header(opened);
    if (status == EH_OK)
        status = check_data(comm, opened);
    status = eh_comm_agree(comm, status);
    if (status != EH_OK) {
        eh_checkpoint_close(&opened);
        return status;
    }
    *checkpoint = opened;
    return EH_OK;
}

void eh_checkpoint_close(eh_checkpoint **checkpoint)
{
    eh_checkpoint *old = *checkpoint;
    if (old) {
        if (old->file >= 0)
            close(old->file);
        json_decref(old->root);
        for (int64_t t = 0; t < old->tensor_count; t++) eh_free(&old->tensors[t].name);
        eh_free(&old->tensors);
        eh_free(&old->begins);
        eh_free(&old->path);
    }
    eh_free(checkpoint);
}

const char *eh_checkpoint_note_of(const eh_checkpoint *checkpoint, const char *name)
{
    return json_string_value(json_object_get(checkpoint->notes, name));
}

int64_t eh_checkpoint_find(const eh_checkpoint *checkpoint, const char *tensor)
{
    for (int64_t t = 0; t < checkpoint->tensor_count; t++)
        if (strcmp(checkpoint->tensors[t].name, tensor) == 0)
            return t;
    return -1;
}

int64_t eh_checkpoint_count(const eh_checkpoint *checkpoint, int64_t tensor)
{
    return checkpoint->tensors[tensor].count;
}

eh_status eh_checkpoint_read(const eh_checkpoint *checkpoint, const eh_checkpoint_piece *piece)
{
    EH_ASSERT(piece->first >= 0 && piece->first + piece->count <= checkpoint->tensors[piece->tensor].count);
    return read_at(checkpoint->file, checkpoint->path, piece->values, piece->count * (int64_t)sizeof(float),
                   checkpoint->data_begin + checkpoint->begins[piece->tensor] + piece->first * (int64_t)sizeof(float));
}
