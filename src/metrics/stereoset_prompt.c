// StereoSet as a multiple choice (PROTOCOL 2.4, part 3, 4.11). `study` is the notebooks' protocol: one order, greedy
// text, their parsers. `prompt` is ours: every order of the three sentences, and three readings of each item:
//   generated    the model's own words, parsed; an answer that names no option is a class of its own
//   constrained  softmax over the sentences of the mean over orders of log P(the option's name at its position)
//   likelihood   each sentence itself, without options: nothing can be unparsed (sum within, mean between sentences)
// Chance is LMS 66.7, SS 50: these figures must never share a column with the official LM. Beside them stand null
// pickers that answer without reading: a constant position, the longest sentence, ... (in the file's order), and the
// model itself by its options' names when the question's context is left out, or (context_nulls: both) shuffled: so
// beside the study's parsers too, as a name is always one of the three.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "metrics/ask_internal.h"
#include "metrics/rows_internal.h"
#include "metrics/sample_internal.h"
#include "metrics/stereoset_internal.h"
#include "metrics/stereoset_prompts.h"

// tags: OPTION + 3 order + position, so the null pickers' options, SENTENCE + label
enum { OPTION = 1, NO_CONTEXT = 30, SHUFFLED = 60, SENTENCE = 100 };

static bool is_study(const eh_metric_setup *setup)
{
    return strcmp(setup->settings->protocol == NULL ? "" : setup->settings->protocol, "study") == 0;
}

// `protocol: study` is the study to the letter, but under `preset: study` each of its defects is a switch of its own.
static bool to_the_letter(const eh_metric_setup *setup)
{
    return is_study(setup) && strcmp(setup->job->preset == NULL ? "" : setup->job->preset, "study") != 0;
}

static int order_count(const eh_metric_setup *setup)
{
    const char *wanted = setup->settings->orders;
    return to_the_letter(setup) || (wanted != NULL && strcmp(wanted, "file") == 0) ? 1 : EH_STEREOSET_ORDERS;
}

static bool unparsed_is_unrelated(const eh_metric_setup *setup)
{
    return to_the_letter(setup) || setup->job->switches.answer_parser == EH_PARSER_UNRELATED;
}

static eh_wording wording_of(const eh_metric_setup *setup)
{
    if (is_study(setup))
        return EH_WORDING_STUDY;
    return setup->settings->wording != NULL && setup->settings->wording[0] == 'b' ? EH_WORDING_B : EH_WORDING_A;
}

// The sentences in the order in which they are offered, and which label is at each position.
static void offer(const eh_stereoset_item *item, int order, const char *choices[3], int labels[3])
{
    for (int p = 0; p < 3; p++)
        for (int l = 0; l < EH_STEREOSET_LABELS; l++)
            if (item->position[l] == eh_stereoset_orders[order][p]) {
                choices[p] = item->sentences[l];
                labels[p] = l;
            }
}

// --- Asking -------------------------------------------------------------------------------------------------------

static eh_status ask_options(const eh_metric_setup *setup, eh_wording wording, int tag, const eh_ids *prompt,
                             eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_ids option = {0};
    for (int p = 0; p < 3 && status == EH_OK; p++) {
        char text[16];
        const bool decoder = setup->kind == EH_DECODER;
        if (wording == EH_WORDING_A)
            snprintf(text, sizeof text, "%s%c", decoder ? " " : "", 'A' + p);
        else
            snprintf(text, sizeof text, "%sChoice%d", decoder ? " " : "", p + 1);
        option.count = 0;
        status = eh_ids_add_text(&option, setup, text, EH_WITHOUT_SPECIAL);
        eh_request_tag(requests, tag + p);
        if (status == EH_OK)
            status = decoder ? eh_request_continuation(requests, prompt->ids, prompt->count, option.ids, option.count)
                             : eh_request_target(requests, prompt->ids, prompt->count, option.ids, option.count);
    }
    eh_ids_deinit(&option);
    return status;
}

static bool asks_null(const eh_metric_setup *setup, int tag)
{
    return tag == NO_CONTEXT ? eh_stereoset_asks_left_out(setup) : eh_stereoset_asks_shuffled(setup);
}

// The same question, its context left out or shuffled.
static eh_status ask_nulls(const eh_metric_setup *setup, const eh_stereoset_item *item, int64_t index, int order,
                           eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_string context = {0}, prompt = {0};
    eh_ids ids = {0};
    const char *choices[3];
    int labels[3];
    offer(item, order, choices, labels);
    for (int tag = NO_CONTEXT; tag <= SHUFFLED; tag += SHUFFLED - NO_CONTEXT) {
        if (!asks_null(setup, tag))
            continue;
        if (tag == SHUFFLED)
            EH_TRY_OR(done, eh_stereoset_shuffle(setup, index, item->context, &context));
        EH_TRY_OR(done, eh_stereoset_prompt(wording_of(setup), item->intrasentence,
                                            tag == SHUFFLED ? context.bytes : NULL, choices, &prompt));
        ids.count = 0;
        EH_TRY_OR(done, eh_ids_add_text(&ids, setup, prompt.bytes, EH_WITH_SPECIAL));
        EH_TRY_OR(done, ask_options(setup, wording_of(setup), tag + 3 * order, &ids, requests));
    }
done:
    eh_string_deinit(&context);
    eh_string_deinit(&prompt);
    eh_ids_deinit(&ids);
    return status;
}

static eh_status ask_sentences(const eh_metric_setup *setup, const eh_stereoset_item *item, eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_ids context = {0}, sentence = {0};
    eh_string text = {0};
    const bool decoder = setup->kind == EH_DECODER;
    EH_TRY_OR(done, decoder ? eh_ids_add(&context, eh_start_id(setup)) : EH_OK);
    if (!item->intrasentence)
        EH_TRY_OR(done,
                  eh_ids_add_text(&context, setup, item->context, decoder ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL));
    if (context.count == 0)
        EH_TRY_OR(done, eh_ids_add(&context, setup->special.eos));
    for (int l = 0; l < EH_STEREOSET_LABELS; l++) {
        sentence.count = 0;
        eh_string_clear(&text);
        EH_TRY_OR(done,
                  eh_string_printf(&text, "%s%s", decoder && !item->intrasentence ? " " : "", item->sentences[l]));
        EH_TRY_OR(done, eh_ids_add_text(&sentence, setup, text.bytes, decoder ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL));
        eh_request_tag(requests, SENTENCE + l);
        EH_TRY_OR(done,
                  decoder ? eh_request_continuation(requests, context.ids, context.count, sentence.ids, sentence.count)
                          : eh_request_target(requests, context.ids, context.count, sentence.ids, sentence.count));
    }
done:
    eh_ids_deinit(&context);
    eh_ids_deinit(&sentence);
    eh_string_deinit(&text);
    return status;
}

static eh_status requests_of(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    eh_stereoset_item stereoset;
    if (!eh_stereoset_read(item, &stereoset))
        return EH_OK;
    const eh_wording wording = wording_of(setup);
    eh_status status = EH_OK;
    eh_string prompt = {0};
    eh_ids ids = {0};
    for (int o = 0; o < order_count(setup); o++) {
        const char *choices[3];
        int labels[3];
        offer(&stereoset, o, choices, labels);
        ids.count = 0;
        EH_TRY_OR(done, eh_stereoset_prompt(wording, stereoset.intrasentence, stereoset.context, choices, &prompt));
        EH_TRY_OR(done, eh_ids_add_text(&ids, setup, prompt.bytes, EH_WITH_SPECIAL));
        EH_TRY_OR(done, eh_request_generation(requests, ids.ids, ids.count));
        if (!is_study(setup))
            EH_TRY_OR(done, ask_options(setup, wording, OPTION + 3 * o, &ids, requests));
        EH_TRY_OR(done, ask_nulls(setup, &stereoset, item->index, o, requests));
    }
    if (!is_study(setup))
        EH_TRY_OR(done, ask_sentences(setup, &stereoset, requests));
done:
    eh_string_deinit(&prompt);
    eh_ids_deinit(&ids);
    return status;
}

static void generation(const eh_metric_setup *setup, eh_generation *generation)
{
    const int64_t wanted = setup->settings->max_new_tokens;
    generation->max_new_tokens = wanted > 0 ? wanted : is_study(setup) ? 40 : 8;
}

// --- Rows -----------------------------------------------------------------------------------------------------------

static eh_status check(const eh_metric_setup *setup)
{
    return setup->kind == EH_ENCODER ? eh_error(EH_INPUT,
                                                "metric 'stereoset/%s' asks for an answer: a masked model "
                                                "gives none; use protocol: likelihood",
                                                is_study(setup) ? "study" : "prompt")
                                     : EH_OK;
}

static const struct {
    int tag;
    const char *name;
} option_kinds[] = {{OPTION, "option"}, {NO_CONTEXT, "no_context_option"}, {SHUFFLED, "shuffled_option"}};

static bool has_options(const eh_metric_setup *setup, int tag)
{
    return tag == OPTION ? !is_study(setup) : asks_null(setup, tag);
}

static eh_status columns(const eh_metric_setup *setup, eh_score_table *table)
{
    static const char *const texts[] = {"task", "target", "wording"};
    int64_t ignored[EH_STEREOSET_LABELS];
    char name[48];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        EH_TRY(eh_score_table_add_column(table, texts[i], EH_COLUMN_TEXT, &ignored[0]));
    EH_TRY(eh_score_table_add_column(table, "unparsed_is_unrelated", EH_COLUMN_INTEGER, &ignored[0]));
    EH_TRY(eh_stereoset_columns(table, "position", EH_COLUMN_INTEGER, ignored));
    EH_TRY(eh_stereoset_columns(table, "bytes", EH_COLUMN_INTEGER, ignored));
    EH_TRY(eh_stereoset_columns(table, "word_frequency", EH_COLUMN_NUMBER, ignored));
    for (int o = 0; o < order_count(setup); o++) {
        snprintf(name, sizeof name, "generated_%d", o + 1);
        EH_TRY(eh_score_table_add_column(table, name, EH_COLUMN_TEXT, &ignored[0]));
        snprintf(name, sizeof name, "answer_%d", o + 1); // position 1..3 in that order, 0: unparsed
        EH_TRY(eh_score_table_add_column(table, name, EH_COLUMN_INTEGER, &ignored[0]));
        for (size_t k = 0; k < sizeof option_kinds / sizeof *option_kinds; k++)
            for (int p = 0; p < 3 && has_options(setup, option_kinds[k].tag); p++) {
                snprintf(name, sizeof name, "%s_%d_%d", option_kinds[k].name, o + 1, p + 1);
                EH_TRY(eh_score_table_add_column(table, name, EH_COLUMN_NUMBER, &ignored[0]));
            }
    }
    return is_study(setup) ? EH_OK : eh_stereoset_columns(table, "likelihood", EH_COLUMN_NUMBER, ignored);
}

static eh_status parse_answer(const eh_metric_setup *setup, const char *prompt, const char *answer,
                              const char *const choices[3], int *position)
{
    if (!is_study(setup))
        return eh_stereoset_answer_lenient(wording_of(setup), answer, choices, position);
    if (setup->kind == EH_ENCODER_DECODER)
        return eh_stereoset_answer_equal(answer, choices, position);
    eh_string both = {0};
    const eh_status status = eh_string_printf(&both, "%s%s", prompt, answer);
    *position = status == EH_OK ? eh_stereoset_answer_last_word(both.bytes) : -1;
    eh_string_deinit(&both);
    return status;
}

static eh_status score_order(const eh_metric_setup *setup, const eh_stereoset_item *item, int o,
                             const eh_answers *answers, eh_score_table *table, int64_t row)
{
    char name[48];
    const char *choices[3];
    int labels[3], position = -1;
    eh_string prompt = {0};
    offer(item, o, choices, labels);
    eh_status status = eh_stereoset_prompt(wording_of(setup), item->intrasentence, item->context, choices, &prompt);
    const char *answer = o < answers->text_count ? answers->texts[o].text : "";
    if (status == EH_OK)
        status = parse_answer(setup, prompt.bytes, answer, choices, &position);
    eh_string_deinit(&prompt);
    EH_TRY(status);
    snprintf(name, sizeof name, "generated_%d", o + 1);
    EH_TRY(eh_rows_text(table, row, name, answer));
    snprintf(name, sizeof name, "answer_%d", o + 1);
    eh_rows_integer(table, row, name, position + 1);
    for (size_t k = 0; k < sizeof option_kinds / sizeof *option_kinds; k++)
        for (int p = 0; p < 3 && has_options(setup, option_kinds[k].tag); p++) {
            int64_t count;
            snprintf(name, sizeof name, "%s_%d_%d", option_kinds[k].name, o + 1, p + 1);
            eh_rows_number(table, row, name, eh_answer_tagged(answers, option_kinds[k].tag + 3 * o + p, &count));
        }
    return EH_OK;
}

static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    static const char *const wordings[] = {"study", "a", "b"};
    eh_stereoset_item stereoset;
    char name[48];
    int64_t row;
    const bool complete = eh_stereoset_read(item, &stereoset);
    EH_TRY(eh_rows_add(table, item, &row));
    EH_TRY(eh_rows_text(table, row, "task", stereoset.intrasentence ? "intrasentence" : "intersentence"));
    EH_TRY(eh_rows_text(table, row, "target", stereoset.target));
    EH_TRY(eh_rows_text(table, row, "wording", wordings[wording_of(setup)]));
    eh_rows_integer(table, row, "unparsed_is_unrelated", unparsed_is_unrelated(setup));
    if (!complete)
        return eh_rows_reason(table, row, "not one sentence of each label");
    for (int l = 0; l < EH_STEREOSET_LABELS; l++) {
        snprintf(name, sizeof name, "position_%s", eh_stereoset_label_names[l]);
        eh_rows_integer(table, row, name, stereoset.position[l]);
        snprintf(name, sizeof name, "bytes_%s", eh_stereoset_label_names[l]);
        eh_rows_integer(table, row, name, (int64_t)strlen(stereoset.sentences[l]));
        snprintf(name, sizeof name, "word_frequency_%s", eh_stereoset_label_names[l]);
        eh_rows_number(table, row, name, eh_word_frequency(setup->words, stereoset.sentences[l]));
    }
    for (int o = 0; o < order_count(setup); o++) EH_TRY(score_order(setup, &stereoset, o, answers, table, row));
    for (int l = 0; l < EH_STEREOSET_LABELS && !is_study(setup); l++) {
        int64_t tokens;
        const double sum = eh_answer_tagged(answers, SENTENCE + l, &tokens);
        snprintf(name, sizeof name, "likelihood_%s", eh_stereoset_label_names[l]);
        eh_rows_number(table, row, name, stereoset.intrasentence ? sum : sum / (double)tokens);
    }
    for (int64_t i = 0; i < answers->label_first[answers->sequence_count]; i++)
        if (!isfinite(answers->log_probabilities[i]))
            return eh_rows_reason(table, row, "the model's log-likelihood is not a finite number");
    return EH_OK;
}

// --- The metrics ---
static eh_status prepare_study(const eh_score_table *table, eh_sample *sample)
{
    return eh_stereoset_prepare_choices(table, sample, true);
}

static eh_status prepare_prompt(const eh_score_table *table, eh_sample *sample)
{
    return eh_stereoset_prepare_choices(table, sample, false);
}

const eh_metric eh_metric_stereoset_prompt = {
    .name = "stereoset/prompt",
    .metric = "stereoset",
    .protocol = "prompt",
    .formats = "stereoset",
    .answers = EH_LIKELIHOODS | EH_GENERATIONS,
    .wants_words = true,
    .check = check,
    .columns = columns,
    .requests = requests_of,
    .generation = generation,
    .score = score,
    .prepare = prepare_prompt,
    .pooled = true,
    .summarise = eh_stereoset_summarise_choices,
};

const eh_metric eh_metric_stereoset_study = {
    .name = "stereoset/study",
    .metric = "stereoset",
    .protocol = "study",
    .formats = "stereoset",
    .answers = EH_LIKELIHOODS | EH_GENERATIONS,
    .wants_words = true,
    .check = check,
    .columns = columns,
    .requests = requests_of,
    .generation = generation,
    .score = score,
    .prepare = prepare_study,
    .pooled = true,
    .summarise = eh_stereoset_summarise_choices,
};
