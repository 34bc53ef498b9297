// Writing safetensors: the header from a list of entries, then their bytes in order.
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/safetensors.h"

struct eh_safetensors_writer {
    FILE *stream;
    char *path;
    size_t expected, written; // bytes of data
};

static eh_status write_bytes(eh_safetensors_writer *writer, const void *bytes, size_t size)
{
    if (size > 0 && fwrite(bytes, 1, size, writer->stream) != size)
        return eh_error(EH_MACHINE, "%s: cannot write: %s", writer->path, strerror(errno));
    return EH_OK;
}

static json_t *make_header(const eh_safetensors_entry *entries, int64_t count, size_t *total)
{
    json_t *header = json_object();
    json_object_set_new(header, "__metadata__", json_pack("{s:s}", "format", "pt")); // transformers asks for it
    *total = 0;
    for (int64_t i = 0; i < count; i++) {
        json_t *shape = json_array();
        for (int d = 0; d < entries[i].dimension_count; d++)
            json_array_append_new(shape, json_integer(entries[i].shape[d]));
        const size_t end = *total + entries[i].size;
        json_object_set_new(header, entries[i].name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", entries[i].dtype, "shape", shape, "data_offsets",
                                      (json_int_t)*total, (json_int_t)end));
        *total = end;
    }
    return header;
}

eh_status eh_safetensors_create(const char *path, const eh_safetensors_entry *entries, int64_t count,
                                eh_safetensors_writer **writer)
{
    eh_status status = EH_OK;
    char *text = NULL;
    json_t *header = NULL;
    *writer = NULL;
    EH_TRY_OR(done, EH_ALLOC(1, writer));
    EH_TRY_OR(done, eh_copy_string(path, &(*writer)->path));
    (*writer)->stream = fopen(path, "wb");
    if ((*writer)->stream == NULL) {
        status = eh_error(EH_MACHINE, "%s: cannot create: %s", path, strerror(errno));
        goto done;
    }
    header = make_header(entries, count, &(*writer)->expected);
    text = json_dumps(header, JSON_COMPACT);
    if (text == NULL) {
        status = eh_error(EH_MACHINE, "%s: no memory for the header", path);
        goto done;
    }
    const size_t used = strlen(text), padded = (used + 63) / 64 * 64 + 56; // data begins at a multiple of 64
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(padded >> (8 * i));
    EH_TRY_OR(done, write_bytes(*writer, length, 8));
    EH_TRY_OR(done, write_bytes(*writer, text, used));
    for (size_t i = used; i < padded && status == EH_OK; i++) status = write_bytes(*writer, " ", 1);
done:
    json_decref(header);
    free(text); // jansson's
    if (status != EH_OK)
        eh_safetensors_abandon(writer);
    return status;
}

eh_status eh_safetensors_append(eh_safetensors_writer *writer, const void *bytes, size_t size)
{
    EH_TRY(write_bytes(writer, bytes, size));
    writer->written += size;
    return EH_OK;
}

eh_status eh_safetensors_finish(eh_safetensors_writer **writer)
{
    EH_ASSERT((*writer)->written == (*writer)->expected);
    eh_status status = EH_OK;
    if (fflush((*writer)->stream) != 0 || fsync(fileno((*writer)->stream)) != 0)
        status = eh_error(EH_MACHINE, "%s: cannot write: %s", (*writer)->path, strerror(errno));
    eh_safetensors_abandon(writer);
    return status;
}

void eh_safetensors_abandon(eh_safetensors_writer **writer)
{
    if (*writer == NULL)
        return;
    if ((*writer)->stream != NULL)
        fclose((*writer)->stream);
    eh_free(&(*writer)->path);
    eh_free(writer);
}
