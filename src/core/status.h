// What went wrong and who must act. Every function that can fail returns an eh_status; the sentence that explains a
// failure is made once, where the cause is known, and waits in a buffer of the failing thread until a stage prints it.
#ifndef EH_CORE_STATUS_H
#define EH_CORE_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// In order of gravity; ranks agree on the greatest.
typedef enum {
    EH_OK = 0,
    EH_STOPPED, // asked to stop; a checkpoint was saved: exit 75
    EH_INPUT,   // the user's input is wrong: exit 2
    EH_MACHINE, // the machine fails us (memory, disk, GPU): exit 3
} eh_status;

#define EH_CHECKED __attribute__((warn_unused_result))
#define EH_PRINTF(text_index, first_index) __attribute__((format(printf, text_index, first_index)))

// Stores the message of a failure (replacing an older one of this thread) and returns `status`.
EH_CHECKED eh_status eh_error(eh_status status, const char *format, ...) EH_PRINTF(2, 3);

// Puts "CONTEXT: " before the stored message, as in "while reading data set 'crows': ...". Returns `status`.
EH_CHECKED eh_status eh_error_context(eh_status status, const char *format, ...) EH_PRINTF(2, 3);

// The stored message of this thread, "" if there is none. Valid until the next eh_error of this thread.
const char *eh_error_message(void);
void eh_error_clear(void);

int eh_exit_code(eh_status status);

#define EH_TRY(call)                            \
    do {                                        \
        const eh_status eh_try_status = (call); \
        if (eh_try_status != EH_OK)             \
            return eh_try_status;               \
    } while (0)

// Needs a variable `status` in scope: sets it and goes to `label`.
#define EH_TRY_OR(label, call) \
    do {                       \
        status = (call);       \
        if (status != EH_OK)   \
            goto label;        \
    } while (0)

// A broken invariant is our own bug: says where and aborts. Never for what came from a file.
#define EH_ASSERT(condition) ((condition) ? (void)0 : eh_assert_failed(#condition, __FILE__, __LINE__))
void eh_assert_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif
#endif
