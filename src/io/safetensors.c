// Reading safetensors: the header is a claim, each part of which is checked against the file's size.
#include "io/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

#define GREATEST_HEADER (100u << 20) // as the format's own library

typedef struct {
    const char *name;
    eh_stored_dtype dtype;
    size_t bits;
} dtype_row;

static const dtype_row dtypes[] = {
    {"F32", EH_STORED_F32, 32},   {"BF16", EH_STORED_BF16, 16}, {"F16", EH_STORED_F16, 16},
    {"F64", EH_STORED_F64, 64},   {"I64", EH_STORED_OTHER, 64}, {"I32", EH_STORED_OTHER, 32},
    {"I16", EH_STORED_OTHER, 16}, {"I8", EH_STORED_OTHER, 8},   {"U64", EH_STORED_OTHER, 64},
    {"U32", EH_STORED_OTHER, 32}, {"U16", EH_STORED_OTHER, 16}, {"U8", EH_STORED_OTHER, 8},
    {"BOOL", EH_STORED_OTHER, 8},
};

static const dtype_row *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

// One dimension or offset: a whole number that is not negative.
static bool read_count(const json_t *value, int64_t *count)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *count = json_integer_value(value);
    return true;
}

// One entry of the header; `data` are the bytes behind the header.
static eh_status read_entry(const char *path, const char *name, const json_t *entry, const uint8_t *data,
                            size_t data_size, eh_stored_tensor *tensor)
{
    const json_t *shape = json_object_get(entry, "shape"), *range = json_object_get(entry, "data_offsets");
    const char *dtype_name = json_string_value(json_object_get(entry, "dtype"));
    if (dtype_name == NULL || !json_is_array(shape) || !json_is_array(range) || json_array_size(range) != 2)
        return eh_error(EH_INPUT, "%s: tensor '%s' lacks dtype, shape or data_offsets", path, name);
    const dtype_row *dtype = find_dtype(dtype_name);
    if (dtype == NULL)
        return eh_error(EH_INPUT, "%s: tensor '%s' has the unknown dtype '%s'", path, name, dtype_name);
    if (json_array_size(shape) > EH_STORED_DIMENSIONS)
        return eh_error(EH_INPUT, "%s: tensor '%s' has %zu dimensions, at most %d are supported", path, name,
                        json_array_size(shape), EH_STORED_DIMENSIONS);
    *tensor = (eh_stored_tensor){.dtype = dtype->dtype, .dtype_name = dtype->name, .count = 1};
    tensor->dimension_count = (int)json_array_size(shape);
    for (int i = 0; i < tensor->dimension_count; i++) {
        if (!read_count(json_array_get(shape, (size_t)i), &tensor->shape[i]) ||
            __builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count))
            return eh_error(EH_INPUT, "%s: tensor '%s' has a shape that no file can hold", path, name);
    }
    int64_t begin, end;
    if (!read_count(json_array_get(range, 0), &begin) || !read_count(json_array_get(range, 1), &end) || begin > end)
        return eh_error(EH_INPUT, "%s: the data_offsets of tensor '%s' are not a range", path, name);
    if ((uint64_t)end > data_size)
        return eh_error(EH_INPUT, "%s: tensor '%s' ends at byte %lld of %zu: is the file cut off?", path, name,
                        (long long)end, data_size);
    size_t bytes;
    if (__builtin_mul_overflow((size_t)tensor->count, dtype->bits / 8, &bytes) || bytes != (size_t)(end - begin))
        return eh_error(EH_INPUT, "%s: tensor '%s' has %lld bytes, its shape and dtype %s ask for others", path, name,
                        (long long)(end - begin), dtype_name);
    tensor->bytes = data + begin;
    tensor->size = bytes;
    return EH_OK;
}

static int compare_places(const void *a, const void *b)
{
    const eh_stored_tensor *x = *(const eh_stored_tensor *const *)a, *y = *(const eh_stored_tensor *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

// The format wants the ranges to cover the data once, without gaps.
static eh_status check_cover(const char *path, const uint8_t *data, size_t data_size, const eh_stored_tensor *tensors,
                             int64_t count)
{
    eh_status status = EH_OK;
    const eh_stored_tensor **order = NULL;
    EH_TRY(EH_ALLOC(count, &order));
    for (int64_t i = 0; i < count; i++) order[i] = &tensors[i];
    if (count > 1)
        qsort(order, (size_t)count, sizeof *order, compare_places);
    const uint8_t *at = data;
    for (int64_t i = 0; i < count && status == EH_OK; i++) {
        if (order[i]->bytes < at)
            status = eh_error(EH_INPUT, "%s: tensors '%s' and '%s' overlap", path, order[i]->name, order[i - 1]->name);
        else if (order[i]->bytes > at)
            status = eh_error(EH_INPUT, "%s: there is a gap of %zu bytes before tensor '%s'", path,
                              (size_t)(order[i]->bytes - at), order[i]->name);
        at = order[i]->bytes + order[i]->size;
    }
    if (status == EH_OK && at != data + data_size)
        status = eh_error(EH_INPUT, "%s: %zu bytes behind the last tensor belong to none", path,
                          (size_t)(data + data_size - at));
    eh_free(&order);
    return status;
}

eh_status eh_safetensors_parse(const char *path, const uint8_t *bytes, size_t size, int64_t file,
                               eh_stored_tensors *list)
{
    if (size < 8)
        return eh_error(EH_INPUT, "%s: %zu bytes are too few for a safetensors file", path, size);
    uint64_t header_size = 0;
    for (int i = 7; i >= 0; i--) header_size = header_size << 8 | bytes[i];
    if (header_size > size - 8 || header_size > GREATEST_HEADER)
        return eh_error(EH_INPUT, "%s: the header claims %llu bytes of a file of %zu: not safetensors, or cut off",
                        path, (unsigned long long)header_size, size);
    json_error_t problem;
    json_t *header = json_loadb((const char *)bytes + 8, (size_t)header_size, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(header)) {
        json_decref(header);
        return eh_error(EH_INPUT, "%s: the header is not a JSON object: %s", path, problem.text);
    }
    eh_status status = EH_OK;
    const uint8_t *data = bytes + 8 + header_size;
    const size_t data_size = size - 8 - (size_t)header_size;
    const int64_t first = list->count;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        eh_stored_tensor tensor;
        EH_TRY_OR(done, read_entry(path, name, entry, data, data_size, &tensor));
        tensor.file = file;
        EH_TRY_OR(done, eh_copy_string(name, &tensor.name));
        status = EH_APPEND(&list->tensors, &list->count, &list->capacity, tensor);
        if (status != EH_OK) {
            eh_free(&tensor.name);
            goto done;
        }
    }
    if (list->count > first)
        status = check_cover(path, data, data_size, list->tensors + first, list->count - first);
done:
    json_decref(header);
    return status;
}

eh_status eh_safetensors_open(const char *path, eh_stored_tensors *list)
{
    eh_mapped_file file;
    EH_TRY(eh_mapped_file_open(path, &file));
    const eh_status status = EH_APPEND(&list->files, &list->file_count, &list->file_capacity, file);
    if (status != EH_OK) {
        eh_mapped_file_close(&file);
        return status;
    }
    return eh_safetensors_parse(path, file.bytes, file.size, list->file_count - 1, list);
}
