// evenhand conform: is this build right on this machine? Against a folder of expected values, or published predictions.
#include <stdio.h>

#include "front.h"
#include "metrics/stereoset_predictions.h"
#include "model/conform.h"

static eh_status score_predictions(const eh_front_options *options)
{
    if (options->word_count == 0)
        return eh_error(EH_INPUT, "'evenhand conform --stereoset DEV.json' needs prediction files behind it");
    eh_string text = {0};
    const eh_status status = eh_stereoset_conform(options->stereoset, options->words, options->word_count, &text);
    if (status == EH_OK)
        fputs(text.bytes, stdout);
    eh_string_deinit(&text);
    return status;
}

eh_status eh_front_conform(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    *exit_code = 0;
    if (options->stereoset != NULL)
        return score_predictions(options);
    const char *folder = NULL;
    eh_conform_result result = {0};
    EH_TRY(eh_front_one_word(options, "folder with models/ and expected/", &folder));
    EH_TRY(
        eh_conform_run(folder, options->device != NULL ? options->device : "auto", 0, options->only, stdout, &result));
    *exit_code = result.failed > 0 || result.passed == 0 ? 1 : 0;
    return EH_OK;
}
