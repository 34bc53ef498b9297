// evenhand inspect: shows any of evenhand's HDF5 files to a person.
#include "io/inspect.h"

#include <stdio.h>

#include "dataset/inspect.h"
#include "front.h"

// --example N: one example or row in full, tokens as text if there is a --tokenizer.
static eh_status show_example(const eh_front_options *options, const char *path)
{
    eh_tokenizer *tokenizer = NULL;
    if (options->tokenizer != NULL)
        EH_TRY(eh_tokenizer_open(options->tokenizer, &tokenizer));
    const eh_inspect_options inspect = {.row = options->example - 1, .tokenizer = tokenizer};
    const eh_status status = eh_inspect_example(path, &inspect, stdout);
    eh_tokenizer_close(&tokenizer);
    return status;
}

eh_status eh_front_inspect(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    *exit_code = 0;
    const char *path = NULL;
    EH_TRY(eh_front_one_word(options, "HDF5 file", &path));
    if (options->example > 0)
        return show_example(options, path);
    eh_string text = {0};
    const eh_status status = eh_inspect(path, &text);
    if (status == EH_OK)
        fputs(text.bytes, stdout);
    eh_string_deinit(&text);
    return status;
}
