// A growing text buffer. All zero is an empty one; `bytes` is NUL-terminated as soon as anything was appended.
#ifndef EH_CORE_STRING_H
#define EH_CORE_STRING_H

#include <stddef.h>

#include "core/status.h"

typedef struct {
    char *bytes; // owned; may hold NUL bytes of its own
    size_t size; // without the terminating NUL
    size_t capacity;
} eh_string;

EH_CHECKED eh_status eh_string_append(eh_string *string, const char *bytes, size_t size);
EH_CHECKED eh_status eh_string_append_text(eh_string *string, const char *text);
EH_CHECKED eh_status eh_string_printf(eh_string *string, const char *format, ...) EH_PRINTF(2, 3);
void eh_string_clear(eh_string *string); // keeps the memory
void eh_string_deinit(eh_string *string);

#endif
