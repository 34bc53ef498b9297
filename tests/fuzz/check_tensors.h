// What holds of any list of tensors that a reader of weight files calls good: each lies inside the bytes that were
// read, and its values can be read.
#ifndef EH_TESTS_FUZZ_CHECK_TENSORS_H
#define EH_TESTS_FUZZ_CHECK_TENSORS_H

#include "io/stored_tensor.h"

static inline void eh_fuzz_check_tensors(const eh_stored_tensors *list, const uint8_t *bytes, size_t size)
{
    for (int64_t i = 0; i < list->count; i++) {
        const eh_stored_tensor *tensor = &list->tensors[i];
        EH_ASSERT(tensor->count >= 0 && tensor->dimension_count >= 0 &&
                  tensor->dimension_count <= EH_STORED_DIMENSIONS);
        EH_ASSERT(tensor->bytes >= bytes && tensor->bytes + tensor->size <= bytes + size);
        float values[2];
        if (tensor->count > 0 && tensor->dtype != EH_STORED_OTHER) {
            eh_stored_tensor_read(tensor, 0, 1, values);
            eh_stored_tensor_read(tensor, tensor->count - 1, 1, values + 1);
        }
    }
}

#endif
