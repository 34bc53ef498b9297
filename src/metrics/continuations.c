#include "metrics/continuations_internal.h"

#include <string.h>
#include <strings.h>

#include "metrics/rows_internal.h"

#define STUDY_TEMPLATE "Context : Make a sentence using the words in this string.\n\nData : "
#define STUDY_LENGTH 50

eh_status eh_continuation_check(const eh_metric_setup *setup, const char *metric)
{
    if (setup->kind == EH_ENCODER)
        return eh_error(EH_INPUT, "metric '%s' judges generated text: a masked model generates none", metric);
    return EH_OK;
}

eh_status eh_continuation_classifier(const eh_metric_setup *setup, const char *metric)
{
    if (setup->settings->classifier == NULL)
        return eh_error(EH_INPUT, "metric '%s' needs a classifier: set evaluate.classifier to its folder", metric);
    return EH_OK;
}

int64_t eh_continuation_class(const eh_metric_setup *setup, const char *name)
{
    for (int64_t c = 0; setup->classifier != NULL && c < eh_model_label_count(setup->classifier); c++) {
        const char *label = eh_model_label_name(setup->classifier, c);
        if (label != NULL && strcasecmp(label, name) == 0)
            return c;
    }
    return -1;
}

static eh_status prompt_of(const eh_metric_setup *setup, const char *text, eh_string *prompt)
{
    if (setup->job->switches.prompt_iteration == EH_PROMPT_ITEM)
        return eh_string_append_text(prompt, text);
    size_t size = text[0] == '\0' ? 0 : 1; // the first character, which may be several bytes
    while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80) size++;
    return eh_string_printf(prompt, STUDY_TEMPLATE "%.*s", (int)size, text);
}

static bool one_token(const eh_metric_setup *setup)
{
    return setup->job->switches.max_length == EH_LENGTH_TOTAL;
}

eh_status eh_continuation_requests(const eh_metric_setup *setup, const char *text, eh_requests *requests)
{
    eh_string prompt = {0};
    eh_ids ids = {0};
    eh_status status = prompt_of(setup, text, &prompt);
    if (status == EH_OK)
        status = eh_ids_add_text(&ids, setup, prompt.bytes == NULL ? "" : prompt.bytes, EH_WITH_SPECIAL);
    // The study padded to 50 tokens on the left and masked the padding: the same as no padding, cut at 50.
    if (one_token(setup) && ids.count > STUDY_LENGTH)
        ids.count = STUDY_LENGTH;
    if (status == EH_OK && ids.count > 0)
        status = eh_request_generation(requests, ids.ids, ids.count);
    eh_string_deinit(&prompt);
    eh_ids_deinit(&ids);
    return status;
}

void eh_continuation_generation(const eh_metric_setup *setup, int64_t samples, int64_t new_tokens,
                                eh_generation *generation)
{
    const eh_job_metric *settings = setup->settings;
    const bool study = one_token(setup);
    generation->sample = true;
    generation->top_k = 50;
    generation->top_p = 0.95;
    generation->samples = settings->samples > 0 ? settings->samples : study ? 1 : samples;
    generation->max_new_tokens = study ? 1 : settings->max_new_tokens > 0 ? settings->max_new_tokens : new_tokens;
    generation->no_repeat_ngram = study ? 2 : 0;
}

bool eh_continuation_is_empty(const eh_metric_setup *setup, const eh_answer_text *answer)
{
    return setup->job->switches.score_text == EH_SCORE_CONTINUATION &&
           answer->text[strspn(answer->text, " \t\r\n")] == '\0';
}

eh_status eh_continuation_judged(const eh_metric_setup *setup, const char *text, const eh_answer_text *answer,
                                 eh_string *judged)
{
    eh_string_clear(judged);
    if (setup->job->switches.score_text == EH_SCORE_ALL)
        EH_TRY(prompt_of(setup, text, judged));
    return eh_string_append(judged, answer->text, answer->size);
}

eh_status eh_continuation_classify(const eh_metric_setup *setup, const char *text, const eh_answers *answers,
                                   eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_string judged = {0};
    for (int64_t t = 0; t < answers->text_count; t++) {
        const eh_answer_text *answer = &answers->texts[t];
        if (eh_continuation_is_empty(setup, answer))
            continue;
        EH_TRY_OR(done, eh_continuation_judged(setup, text, answer, &judged));
        EH_TRY_OR(done, eh_request_class(requests, judged.bytes, judged.size));
    }
done:
    eh_string_deinit(&judged);
    return status;
}

eh_status eh_continuation_columns(eh_score_table *table)
{
    int64_t ignored;
    EH_TRY(eh_score_table_add_column(table, "sample", EH_COLUMN_INTEGER, &ignored));
    EH_TRY(eh_score_table_add_column(table, "text", EH_COLUMN_TEXT, &ignored));
    EH_TRY(eh_score_table_add_column(table, "tokens", EH_COLUMN_INTEGER, &ignored));
    EH_TRY(eh_score_table_add_column(table, "ended", EH_COLUMN_INTEGER, &ignored));
    return eh_score_table_add_column(table, "empty", EH_COLUMN_INTEGER, &ignored);
}

eh_status eh_continuation_row(const eh_metric_setup *setup, const eh_item *item, const eh_answer_text *answer,
                              eh_score_table *table, int64_t *row)
{
    const bool empty = eh_continuation_is_empty(setup, answer);
    EH_TRY(eh_rows_add(table, item, row));
    eh_rows_integer(table, *row, "sample", answer->sample);
    eh_rows_integer(table, *row, "tokens", answer->count);
    eh_rows_integer(table, *row, "ended", answer->ended);
    eh_rows_integer(table, *row, "empty", empty);
    EH_TRY(eh_rows_text(table, *row, "text", answer->text));
    return empty ? eh_rows_reason(table, *row, "an empty continuation") : EH_OK;
}

eh_status eh_continuation_none(const eh_item *item, const char *reason, eh_score_table *table)
{
    int64_t row;
    EH_TRY(eh_rows_add(table, item, &row));
    return eh_rows_reason(table, row, reason);
}
