#include "core/string.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static eh_status make_room(eh_string *string, size_t more)
{
    const size_t wanted = string->size + more + 1;
    if (wanted <= string->capacity)
        return EH_OK;
    size_t capacity = string->capacity > 0 ? string->capacity : 64;
    while (capacity < wanted) capacity *= 2;
    char *fresh = realloc(string->bytes, capacity);
    if (fresh == NULL)
        return eh_error(EH_MACHINE, "out of memory: %zu bytes of text were asked for", capacity);
    string->bytes = fresh;
    string->capacity = capacity;
    return EH_OK;
}

eh_status eh_string_append(eh_string *string, const char *bytes, size_t size)
{
    EH_TRY(make_room(string, size));
    if (size > 0)
        memcpy(string->bytes + string->size, bytes, size);
    string->size += size;
    string->bytes[string->size] = '\0';
    return EH_OK;
}

eh_status eh_string_append_text(eh_string *string, const char *text)
{
    return eh_string_append(string, text, strlen(text));
}

eh_status eh_string_printf(eh_string *string, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    EH_ASSERT(size >= 0);
    EH_TRY(make_room(string, (size_t)size));
    va_start(arguments, format);
    vsnprintf(string->bytes + string->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
    string->size += (size_t)size;
    return EH_OK;
}

void eh_string_clear(eh_string *string)
{
    string->size = 0;
    if (string->bytes != NULL)
        string->bytes[0] = '\0';
}

void eh_string_deinit(eh_string *string)
{
    free(string->bytes);
    *string = (eh_string){0};
}
