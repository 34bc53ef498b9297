#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The one piece of state that is not in an object: like errno, it belongs to the thread that failed.
static _Thread_local char message[2048];

eh_status eh_error(eh_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char fresh[sizeof message]; // an argument may be the old message
    vsnprintf(fresh, sizeof fresh, format, arguments);
    va_end(arguments);
    memcpy(message, fresh, sizeof message);
    return status;
}

eh_status eh_error_context(eh_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char context[512];
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    char old[sizeof message];
    memcpy(old, message, sizeof old);
    const int used = snprintf(message, sizeof message, "%s: ", context);
    snprintf(message + used, sizeof message - (size_t)used, "%s", old);
    return status;
}

const char *eh_error_message(void)
{
    return message;
}

void eh_error_clear(void)
{
    message[0] = '\0';
}

int eh_exit_code(eh_status status)
{
    switch (status) {
    case EH_OK:
        return 0;
    case EH_STOPPED:
        return 75;
    case EH_INPUT:
        return 2;
    case EH_MACHINE:
        return 3;
    }
    return 3;
}

void eh_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "evenhand: %s:%d: broken invariant: %s (this is a bug of evenhand, please report it)\n", file, line,
            condition);
    abort();
}
