#include "io/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5.h"

enum { SHOWN = 8, LONGEST_TEXT = 120 };

typedef struct {
    eh_string *text;
    eh_status status; // of the walk: HDF5's callbacks return only 0 or 1
} inspection;

// At most LONGEST_TEXT bytes, cut between characters, control characters as '.'.
static eh_status add_text(const char *bytes, size_t size, eh_string *text)
{
    size_t shown = size < LONGEST_TEXT ? size : LONGEST_TEXT;
    while (shown < size && shown > 0 && ((unsigned char)bytes[shown] & 0xc0) == 0x80) shown--;
    EH_TRY(eh_string_append_text(text, "\""));
    for (size_t i = 0; i < shown; i++) {
        const char c = bytes[i];
        if (c == '\n')
            EH_TRY(eh_string_append_text(text, "\\n"));
        else if (c == '\x1f') // between the fields of an example
            EH_TRY(eh_string_append_text(text, " | "));
        else
            EH_TRY(eh_string_append(text, (unsigned char)c < 0x20 || c == 0x7f ? "." : &c, 1));
    }
    return eh_string_append_text(text, shown < size ? "\"..." : "\"");
}

static eh_status add_texts_of_attribute(hid_t object, const char *name, eh_string *text)
{
    char **texts = NULL;
    int64_t count = 0;
    EH_TRY(eh_hdf5_read_texts(object, name, &texts, &count));
    eh_status status = EH_OK;
    for (int64_t i = 0; i < count && i < 2 * SHOWN && status == EH_OK; i++) {
        status = eh_string_append_text(text, i > 0 ? ", " : "");
        if (status == EH_OK)
            status = add_text(texts[i], strlen(texts[i]), text);
    }
    if (status == EH_OK && count > 2 * SHOWN)
        status = eh_string_printf(text, ", ... (%" PRId64 ")", count);
    eh_hdf5_free_texts(&texts);
    return status;
}

static eh_status add_attribute_value(hid_t object, const char *name, H5T_class_t class, bool is_list, eh_string *text)
{
    if (class == H5T_INTEGER && !is_list) {
        uint64_t number = 0;
        EH_TRY(eh_hdf5_read_number(object, name, &number));
        return eh_string_printf(text, "%" PRIu64, number);
    }
    if (class == H5T_STRING && is_list)
        return add_texts_of_attribute(object, name, text);
    if (class == H5T_STRING) {
        char *value = NULL;
        EH_TRY(eh_hdf5_read_text(object, name, &value));
        const eh_status status = add_text(value, strlen(value), text);
        eh_free(&value);
        return status;
    }
    return eh_string_append_text(text, "(values)");
}

static eh_status add_attribute(hid_t object, const char *name, eh_string *text)
{
    hid_t attribute = -1, type = -1, space = -1;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_HDF5(attribute = H5Aopen(object, name, H5P_DEFAULT)));
    EH_TRY_OR(done, EH_HDF5(type = H5Aget_type(attribute)));
    EH_TRY_OR(done, EH_HDF5(space = H5Aget_space(attribute)));
    EH_TRY_OR(done, eh_string_printf(text, "  %-24s ", name));
    EH_TRY_OR(done, add_attribute_value(object, name, H5Tget_class(type), H5Sget_simple_extent_ndims(space) > 0, text));
    EH_TRY_OR(done, eh_string_append_text(text, "\n"));
done:
    eh_hdf5_close(&space);
    eh_hdf5_close(&type);
    eh_hdf5_close(&attribute);
    return status;
}

static herr_t visit_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context)
{
    (void)info;
    inspection *walk = context;
    walk->status = add_attribute(object, name, walk->text);
    return walk->status == EH_OK ? 0 : 1;
}

static eh_status add_attributes(hid_t object, eh_string *text)
{
    inspection walk = {.text = text};
    EH_TRY(EH_HDF5(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_attribute, &walk)));
    return walk.status;
}

// "u32", "f64", "text".
static void type_name(hid_t type, char name[32])
{
    const H5T_class_t class = H5Tget_class(type);
    const size_t bits = 8 * H5Tget_size(type);
    if (class == H5T_INTEGER)
        snprintf(name, 32, "%c%zu", H5Tget_sign(type) == H5T_SGN_NONE ? 'u' : 'i', bits);
    else if (class == H5T_FLOAT)
        snprintf(name, 32, "f%zu", bits);
    else
        snprintf(name, 32, class == H5T_STRING ? "text" : "other");
}

// The first values of a one-dimensional dataset.
static eh_status add_values(hid_t parent, const char *name, int64_t count, eh_string *text)
{
    const int64_t shown = count < SHOWN ? count : SHOWN;
    const H5T_class_t class = eh_hdf5_class(parent, name);
    if (class == H5T_INTEGER) {
        int64_t integers[SHOWN];
        EH_TRY(eh_hdf5_read(parent, name, H5T_NATIVE_INT64, 0, shown, integers));
        for (int64_t i = 0; i < shown; i++) EH_TRY(eh_string_printf(text, "%s%" PRId64, i > 0 ? " " : "", integers[i]));
    } else if (class == H5T_FLOAT) {
        double numbers[SHOWN];
        EH_TRY(eh_hdf5_read(parent, name, H5T_NATIVE_DOUBLE, 0, shown, numbers));
        for (int64_t i = 0; i < shown; i++) EH_TRY(eh_string_printf(text, "%s%.9g", i > 0 ? " " : "", numbers[i]));
    } else if (class == H5T_STRING) {
        char **texts = NULL;
        int64_t text_count = 0;
        EH_TRY(eh_hdf5_read_text_column(parent, name, &texts, &text_count));
        eh_status status = EH_OK;
        for (int64_t i = 0; i < text_count && i < 3 && status == EH_OK; i++) {
            status = i > 0 ? eh_string_append_text(text, " ") : EH_OK;
            if (status == EH_OK)
                status = add_text(texts[i], strlen(texts[i]), text);
        }
        eh_hdf5_free_texts(&texts);
        EH_TRY(status);
    }
    return shown < count ? eh_string_append_text(text, " ...") : EH_OK;
}

// The first texts of bytes with offsets ("text" and "text_offsets").
static eh_status add_first_texts(hid_t parent, const char *name, const char *offsets_name, eh_string *text)
{
    int64_t count = 0, byte_count = 0;
    uint64_t offsets[4] = {0};
    EH_TRY(eh_hdf5_count(parent, offsets_name, &count));
    EH_TRY(eh_hdf5_count(parent, name, &byte_count));
    const int64_t shown = count - 1 < 3 ? count - 1 : 3;
    EH_TRY(eh_hdf5_read(parent, offsets_name, H5T_NATIVE_UINT64, 0, shown + 1, offsets));
    for (int64_t i = 0; i < shown; i++) {
        char bytes[LONGEST_TEXT + 8];
        if (offsets[i] > offsets[i + 1] || offsets[i + 1] > (uint64_t)byte_count)
            return eh_error(EH_INPUT, "%s: its offsets do not ascend inside '%s'", offsets_name, name);
        const uint64_t size = offsets[i + 1] - offsets[i];
        const int64_t read = size < sizeof bytes ? (int64_t)size : (int64_t)sizeof bytes;
        EH_TRY(eh_hdf5_read(parent, name, H5T_NATIVE_UINT8, (int64_t)offsets[i], read, bytes));
        EH_TRY(eh_string_append_text(text, "\n      "));
        EH_TRY(add_text(bytes, (size_t)read, text));
    }
    return EH_OK;
}

static eh_status add_dataset(hid_t file, const char *name, eh_string *text)
{
    hid_t set = -1, type = -1, space = -1;
    hsize_t shape[8] = {0};
    char kind[32], offsets_name[1024];
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_HDF5(set = H5Dopen2(file, name, H5P_DEFAULT)));
    EH_TRY_OR(done, EH_HDF5(type = H5Dget_type(set)));
    EH_TRY_OR(done, EH_HDF5(space = H5Dget_space(set)));
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank >= 0 && rank <= 8)
        H5Sget_simple_extent_dims(space, shape, NULL);
    type_name(type, kind);
    EH_TRY_OR(done, eh_string_printf(text, "  %-32s %-5s [", name, kind));
    for (int i = 0; i < rank && i < 8; i++)
        EH_TRY_OR(done, eh_string_printf(text, "%s%llu", i > 0 ? ", " : "", (unsigned long long)shape[i]));
    EH_TRY_OR(done, eh_string_printf(text, "] %llu bytes  ", (unsigned long long)H5Dget_storage_size(set)));
    snprintf(offsets_name, sizeof offsets_name, "%s_offsets", name);
    const bool is_text = H5Tget_class(type) == H5T_INTEGER && H5Tget_size(type) == 1 && strcmp(name, "text") == 0;
    if (is_text && H5Lexists(file, offsets_name, H5P_DEFAULT) > 0)
        EH_TRY_OR(done, add_first_texts(file, name, offsets_name, text));
    else if (rank == 1)
        EH_TRY_OR(done, add_values(file, name, (int64_t)shape[0], text));
    EH_TRY_OR(done, eh_string_append_text(text, "\n"));
done:
    eh_hdf5_close(&space);
    eh_hdf5_close(&type);
    eh_hdf5_close(&set);
    return status;
}

static herr_t visit_object(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
    inspection *walk = context;
    if (strcmp(name, ".") == 0)
        return 0;
    if (info->type == H5O_TYPE_DATASET)
        walk->status = add_dataset(file, name, walk->text);
    else if (info->type == H5O_TYPE_GROUP)
        walk->status = eh_string_printf(walk->text, "  %s/\n", name);
    return walk->status == EH_OK ? 0 : 1;
}

eh_status eh_inspect(const char *path, eh_string *text)
{
    hid_t file = -1;
    inspection walk = {.text = text};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_hdf5_open(path, &file));
    EH_TRY_OR(done, eh_string_printf(text, "%s\n", path));
    EH_TRY_OR(done, add_attributes(file, text));
    EH_TRY_OR(done, EH_HDF5(H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &walk, H5O_INFO_BASIC)));
    status = walk.status;
done:
    eh_hdf5_close(&file);
    if (status != EH_OK && strstr(eh_error_message(), path) == NULL)
        status = eh_error_context(status, "%s", path);
    return status;
}
