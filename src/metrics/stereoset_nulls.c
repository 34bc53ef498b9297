// Null pickers of StereoSet that ask the model: `no_context`, for the sentence without its context or the word of the
// blank alone, and (context_nulls: both) `shuffled`, with the context's words in random order.
#include <stdio.h>
#include <string.h>

#include "metrics/ask_internal.h"
#include "metrics/rows_internal.h"
#include "metrics/stereoset_likelihood_internal.h"

// What one of them reads: between sentences the second sentence, behind nothing or the shuffled context; within one the
// words of the blank, alone or among the shuffled words of the context.
typedef struct {
    eh_string context, text, word;
    size_t first, size; // of the text: what a masked model is asked for
} null_text;

// Where the word that fills the last BLANK begins in the filled text.
static size_t last_fill(const char *context, size_t word_size)
{
    size_t first = 0, filled = 0; // bytes of the context that are taken, of the text that they became
    for (const char *blank; (blank = strstr(context + first, "BLANK")) != NULL; filled += word_size) {
        filled += (size_t)(blank - context) - first;
        first = (size_t)(blank - context) + strlen("BLANK");
    }
    return filled - word_size;
}

static eh_status null_text_of(const eh_metric_setup *setup, const eh_stereoset_item *item, int64_t index,
                              eh_stereoset_form f, int label, null_text *n)
{
    const char *sentence = item->sentences[label];
    size_t first = 0, size = strlen(sentence);
    eh_string_clear(&n->context);
    eh_string_clear(&n->text);
    EH_TRY(eh_string_append(&n->context, "", 0));
    if (item->intrasentence && !eh_stereoset_fill(item->context, sentence, &first, &size))
        size = 0;
    if (f == EH_FORM_SHUFFLED)
        EH_TRY(eh_stereoset_shuffle(setup, index, item->context, &n->context));
    if (!item->intrasentence || f == EH_FORM_NO_CONTEXT) {
        EH_TRY(eh_string_append(&n->text, sentence + first, size));
        n->first = 0;
        n->size = size;
        return EH_OK;
    }
    int blanks;
    eh_string_clear(&n->word);
    EH_TRY(eh_string_append(&n->word, sentence + first, size));
    EH_TRY(eh_stereoset_replace_blanks(n->context.bytes, n->word.bytes, false, &n->text, &blanks));
    n->first = last_fill(n->context.bytes, size);
    n->size = size;
    eh_string_clear(&n->context);
    return eh_string_append(&n->context, "", 0);
}

static eh_status ask_null_masked(const eh_metric_setup *setup, const null_text *n, eh_requests *requests)
{
    const bool pair = n->context.size > 0;
    if (pair)
        EH_TRY(eh_tokenizer_encode_pair(setup->tokenizer, n->context.bytes, n->context.size, n->text.bytes,
                                        n->text.size, setup->encoding));
    else
        EH_TRY(eh_tokenizer_encode(setup->tokenizer, n->text.bytes, n->text.size, EH_WITH_SPECIAL, setup->encoding));
    return eh_stereoset_ask_each(setup, setup->encoding, pair, n->first, n->size, requests);
}

static eh_status ask_null_autoregressive(const eh_metric_setup *setup, const null_text *n, bool begins_text,
                                         eh_requests *requests)
{
    const bool decoder = setup->kind == EH_DECODER;
    eh_status status = EH_OK;
    eh_ids context = {0}, ids = {0};
    eh_string text = {0};
    EH_TRY_OR(done, eh_string_printf(&text, "%s%s", decoder && !begins_text ? " " : "", n->text.bytes));
    EH_TRY_OR(done, eh_ids_add_text(&ids, setup, text.bytes, decoder ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL));
    if (decoder)
        EH_TRY_OR(done, eh_ids_add(&context, eh_start_id(setup)));
    if (n->context.size > 0)
        EH_TRY_OR(done,
                  eh_ids_add_text(&context, setup, n->context.bytes, decoder ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL));
    if (context.count == 0)
        EH_TRY_OR(done, eh_ids_add(&context, setup->special.eos));
    EH_TRY_OR(done, decoder ? eh_request_continuation(requests, context.ids, context.count, ids.ids, ids.count)
                            : eh_request_target(requests, context.ids, context.count, ids.ids, ids.count));
done:
    eh_ids_deinit(&context);
    eh_ids_deinit(&ids);
    eh_string_deinit(&text);
    return status;
}

static bool asks_null(const eh_metric_setup *setup, eh_stereoset_form f)
{
    if (setup->head == EH_HEAD_NEXT_SENTENCE)
        return false; // judges pairs alone
    return f == EH_FORM_NO_CONTEXT ? eh_stereoset_asks_left_out(setup) : eh_stereoset_asks_shuffled(setup);
}

eh_status eh_stereoset_ask_nulls(const eh_metric_setup *setup, const eh_stereoset_item *item, int64_t index,
                                 eh_requests *requests)
{
    eh_status status = EH_OK;
    null_text n = {0};
    for (eh_stereoset_form f = EH_FORM_NO_CONTEXT; f <= EH_FORM_SHUFFLED; f++)
        for (int l = 0; l < EH_STEREOSET_LABELS && asks_null(setup, f); l++) {
            EH_TRY_OR(done, null_text_of(setup, item, index, f, l, &n));
            if (n.size == 0)
                continue;
            eh_request_tag(requests, eh_stereoset_tag(f, l));
            if (setup->kind == EH_ENCODER)
                EH_TRY_OR(done, ask_null_masked(setup, &n, requests));
            else
                EH_TRY_OR(done,
                          ask_null_autoregressive(setup, &n, item->intrasentence && f == EH_FORM_SHUFFLED, requests));
        }
done:
    eh_string_deinit(&n.context);
    eh_string_deinit(&n.text);
    eh_string_deinit(&n.word);
    return status;
}

void eh_stereoset_score_nulls(const eh_metric_setup *setup, const eh_answers *answers, eh_score_table *table,
                              int64_t row)
{
    for (eh_stereoset_form f = EH_FORM_NO_CONTEXT; f <= EH_FORM_SHUFFLED; f++)
        for (int l = 0; l < EH_STEREOSET_LABELS && asks_null(setup, f); l++) {
            int64_t tokens;
            const double sum = eh_answer_tagged(answers, eh_stereoset_tag(f, l), &tokens);
            eh_stereoset_set_number(table, row, eh_stereoset_form_names[f], "log_likelihood", l, sum);
            eh_stereoset_set_integer(table, row, eh_stereoset_form_names[f], "tokens", l, tokens);
        }
}

eh_status eh_stereoset_null_columns(const eh_metric_setup *setup, eh_score_table *table)
{
    int64_t ignored[EH_STEREOSET_LABELS];
    for (eh_stereoset_form f = EH_FORM_NO_CONTEXT; f <= EH_FORM_SHUFFLED; f++) {
        char name[48];
        if (!asks_null(setup, f))
            continue;
        snprintf(name, sizeof name, "%s_log_likelihood", eh_stereoset_form_names[f]);
        EH_TRY(eh_stereoset_columns(table, name, EH_COLUMN_NUMBER, ignored));
        snprintf(name, sizeof name, "%s_tokens", eh_stereoset_form_names[f]);
        EH_TRY(eh_stereoset_columns(table, name, EH_COLUMN_INTEGER, ignored));
    }
    return EH_OK;
}
