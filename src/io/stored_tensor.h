// Tensors as a file holds them: names, shapes and bytes inside a mapping. What readers of weight files give.
#ifndef EH_IO_STORED_TENSOR_H
#define EH_IO_STORED_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "io/mapped_file.h"

#define EH_STORED_DIMENSIONS 8

typedef enum { EH_STORED_F32, EH_STORED_BF16, EH_STORED_F16, EH_STORED_F64, EH_STORED_OTHER } eh_stored_dtype;

typedef struct {
    char *name; // owned
    eh_stored_dtype dtype;
    const char *dtype_name; // as the file's format spells it; static
    int dimension_count;
    int64_t shape[EH_STORED_DIMENSIONS];
    int64_t count; // product of the shape
    const uint8_t *bytes;
    size_t size;
    int64_t file; // index into eh_stored_tensors.files
} eh_stored_tensor;

// The tensors of a file, or of several (shards). All zero is an empty list.
typedef struct {
    eh_stored_tensor *tensors;
    int64_t count, capacity;
    eh_mapped_file *files; // owned, open as long as the list is
    int64_t file_count, file_capacity;
} eh_stored_tensors;

void eh_stored_tensors_close(eh_stored_tensors *list);
// Sorts by name and refuses names that occur twice (EH_INPUT).
EH_CHECKED eh_status eh_stored_tensors_sort(eh_stored_tensors *list);
// NULL if there is none. The list must be sorted.
const eh_stored_tensor *eh_stored_tensors_find(const eh_stored_tensors *list, const char *name);
// Values [first, first + count) as fp32; dtype must be one of the floats.
void eh_stored_tensor_read(const eh_stored_tensor *tensor, int64_t first, int64_t count, float *values);
// "[3, 4]" into `text`.
const char *eh_shape_text(const int64_t *shape, int dimension_count, char text[160]);

#endif
