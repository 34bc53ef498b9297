// evenhand inspect: shows any of evenhand's HDF5 files to a person.
#include "io/inspect.h"

#include <stdio.h>

#include "front.h"

eh_status eh_front_inspect(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    *exit_code = 0;
    const char *path = NULL;
    EH_TRY(eh_front_one_word(options, "HDF5 file", &path));
    eh_string text = {0};
    const eh_status status = eh_inspect(path, &text);
    if (status == EH_OK)
        fputs(text.bytes, stdout);
    eh_string_deinit(&text);
    return status;
}
