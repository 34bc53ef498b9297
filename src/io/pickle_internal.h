// The unpickler's objects, for torch_file.c, which finds the storages' bytes.
#ifndef EH_IO_PICKLE_INTERNAL_H
#define EH_IO_PICKLE_INTERNAL_H

#include <stdbool.h>

#include "io/stored_tensor.h"

typedef enum {
    EH_OBJECT_NONE,
    EH_OBJECT_NUMBER,
    EH_OBJECT_TEXT,
    EH_OBJECT_TUPLE,
    EH_OBJECT_LIST,
    EH_OBJECT_DICT, // items: key, value, key, value, ...
    EH_OBJECT_CLASS,
    EH_OBJECT_STORAGE,
    EH_OBJECT_TENSOR
} eh_object_kind;
typedef enum { EH_CLASS_DICT, EH_CLASS_TENSOR, EH_CLASS_PARAMETER, EH_CLASS_STORAGE } eh_pickle_class;

typedef struct {
    eh_object_kind kind;
    int64_t number;   // storages and tensors: elements
    const char *text; // borrowed from the pickle; a storage's key
    size_t text_size;
    int64_t first, count; // of eh_unpickler.items
    eh_pickle_class class;
    eh_stored_dtype dtype;
    const char *dtype_name;
    size_t element_bytes;
    int64_t offset, shape[EH_STORED_DIMENSIONS]; // tensors
    int dimension_count;
    bool is_dense; // row-major without gaps
} eh_object;

typedef struct {
    const char *path; // for messages
    const uint8_t *bytes;
    size_t size, at;
    eh_object *objects;
    int64_t object_count, object_capacity;
    int64_t *items;
    int64_t item_count, item_capacity, item_limit;
    int64_t *stack; // object indices; -1: a mark
    int64_t stack_count, stack_capacity;
    int64_t *memo;
    int64_t memo_count, memo_capacity;
} eh_unpickler;

// Runs one pickle from `at` on to its end; *result is its object. EH_INPUT for anything but tensors.
EH_CHECKED eh_status eh_unpickle(eh_unpickler *unpickler, int64_t *result);
void eh_unpickler_deinit(eh_unpickler *unpickler);

#endif
