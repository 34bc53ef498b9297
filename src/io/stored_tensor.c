// The list of tensors that a reader fills: search by name, conversion to fp32.
#include "io/stored_tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/half.h"
#include "core/memory.h"

void eh_stored_tensors_close(eh_stored_tensors *list)
{
    for (int64_t i = 0; i < list->count; i++) eh_free(&list->tensors[i].name);
    for (int64_t i = 0; i < list->file_count; i++) eh_mapped_file_close(&list->files[i]);
    eh_free(&list->tensors);
    eh_free(&list->files);
    *list = (eh_stored_tensors){0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const eh_stored_tensor *)a)->name, ((const eh_stored_tensor *)b)->name);
}

eh_status eh_stored_tensors_sort(eh_stored_tensors *list)
{
    if (list->count > 1)
        qsort(list->tensors, (size_t)list->count, sizeof *list->tensors, compare_names);
    for (int64_t i = 1; i < list->count; i++)
        if (strcmp(list->tensors[i - 1].name, list->tensors[i].name) == 0)
            return eh_error(EH_INPUT, "%s: tensor '%s' is also in %s", list->files[list->tensors[i].file].path,
                            list->tensors[i].name, list->files[list->tensors[i - 1].file].path);
    return EH_OK;
}

const eh_stored_tensor *eh_stored_tensors_find(const eh_stored_tensors *list, const char *name)
{
    int64_t low = 0, high = list->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(list->tensors[middle].name, name);
        if (order == 0)
            return &list->tensors[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void eh_stored_tensor_read(const eh_stored_tensor *tensor, int64_t first, int64_t count, float *values)
{
    EH_ASSERT(first >= 0 && count >= 0 && first + count <= tensor->count && tensor->dtype != EH_STORED_OTHER);
    if (tensor->dtype == EH_STORED_F32) {
        memcpy(values, tensor->bytes + (size_t)first * 4, (size_t)count * 4);
    } else if (tensor->dtype == EH_STORED_F64) {
        for (int64_t i = 0; i < count; i++) {
            double value;
            memcpy(&value, tensor->bytes + (size_t)(first + i) * 8, 8);
            values[i] = (float)value;
        }
    } else {
        const bool is_bf16 = tensor->dtype == EH_STORED_BF16;
        for (int64_t i = 0; i < count; i++) {
            uint16_t bits; // the bytes may be at any address
            memcpy(&bits, tensor->bytes + (size_t)(first + i) * 2, 2);
            values[i] = is_bf16 ? eh_bf16_to_float(bits) : eh_fp16_to_float(bits);
        }
    }
}

const char *eh_shape_text(const int64_t *shape, int dimension_count, char text[160])
{
    int used = snprintf(text, 160, "[");
    for (int i = 0; i < dimension_count; i++)
        used += snprintf(text + used, 160 - (size_t)used, i > 0 ? ", %lld" : "%lld", (long long)shape[i]);
    snprintf(text + used, 160 - (size_t)used, "]");
    return text;
}
