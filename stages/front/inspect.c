<<<<<<< HEAD
// evenhand inspect: shows any of evenhand's HDF5 files to a person.
#include "io/inspect.h"

#include <stdio.h>

=======
// evenhand inspect FILE: any HDF5 file of evenhand, for a person.
#include <stdio.h>

#include "dataset/inspect.h"
>>>>>>> 8cb28cc (inspect: any HDF5 file of evenhand for a person; data/FORMATS.md)
#include "front.h"

eh_status eh_front_inspect(const eh_front_options *options, const eh_log *log, int *exit_code)
{
<<<<<<< HEAD
    (void)log;
    *exit_code = 0;
    const char *path = NULL;
    EH_TRY(eh_front_one_word(options, "HDF5 file", &path));
    eh_string text = {0};
    const eh_status status = eh_inspect(path, &text);
    if (status == EH_OK)
        fputs(text.bytes, stdout);
    eh_string_deinit(&text);
=======
    (void)log, (void)exit_code;
    const char *path = NULL;
    eh_tokenizer *tokenizer = NULL;
    EH_TRY(eh_front_one_word(options, "FILE", &path));
    if (options->tokenizer != NULL)
        EH_TRY(eh_tokenizer_open(options->tokenizer, &tokenizer));
    const eh_inspect_options inspect = {.row = options->example > 0 ? options->example - 1 : 0, .tokenizer = tokenizer};
    const eh_status status = eh_inspect_file(path, &inspect, stdout);
    eh_tokenizer_close(&tokenizer);
>>>>>>> 8cb28cc (inspect: any HDF5 file of evenhand for a person; data/FORMATS.md)
    return status;
}
