// Multiple choice on questions that the user brings (PROTOCOL 4.9; ARC, HellaSwag, PIQA, BoolQ, ... as JSON lines): the
// answer is the choice with the greatest log-likelihood given the question, the first of equal ones; 0..100 %, n =
// questions. Decoders read the prompt and " " + choice, encoder-decoders the prompt as source.
//   capability/accuracy       argmax of ll(choice | prompt), lm-eval's `acc`
//   capability/accuracy-norm  argmax of ll / bytes of the choice, `acc_norm`
// Null pickers: constant positions, the longest choice, chance, and the model itself without the prompt (no-context):
// what it scores above that it owes to reading the question.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "dataset/dataset.h"
#include "metrics/ask_internal.h"
#include "metrics/grouped_internal.h"

#define CHOICES_MOST 26
enum { WITH_CONTEXT, NO_CONTEXT = CHOICES_MOST }; // tags: + choice

static eh_status check(const eh_metric_setup *setup)
{
    return setup->kind == EH_ENCODER
               ? eh_error(EH_INPUT, "metric 'capability/multiple-choice' scores continuations: a masked "
                                    "model has none; use capability/kl or perplexity")
               : EH_OK;
}

typedef struct {
    char *text; // owned: the choices, cut into strings
    const char *choices[CHOICES_MOST];
    int64_t count, answer;
} question;

// No choices, or more than there are letters: count is 0.
static eh_status read_question(const eh_item *item, question *q)
{
    const char *answer = eh_item_field(item, "answer");
    *q = (question){0};
    if (answer[0] == '\0')
        return EH_OK;
    EH_TRY(eh_copy_string(eh_item_field(item, "choices"), &q->text));
    for (char *at = q->text; at != NULL; q->count++) {
        char *stop = strchr(at, EH_CHOICE_SEPARATOR);
        if (q->count == CHOICES_MOST) {
            q->count = 0;
            return EH_OK;
        }
        q->choices[q->count] = at;
        if (stop != NULL)
            *stop++ = '\0';
        at = stop;
    }
    q->answer = strtoll(answer, NULL, 10);
    return EH_OK;
}

static eh_status ask_choice(const eh_metric_setup *setup, const eh_ids *context, const char *choice, int32_t tag,
                            eh_requests *requests)
{
    const bool decoder = setup->kind == EH_DECODER;
    eh_status status = EH_OK;
    eh_string text = {0};
    eh_ids ids = {0};
    EH_TRY_OR(done, eh_string_printf(&text, "%s%s", decoder ? " " : "", choice));
    EH_TRY_OR(done, eh_ids_add_text(&ids, setup, text.bytes, decoder ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL));
    eh_request_tag(requests, tag);
    if (ids.count > 0)
        status = decoder ? eh_request_continuation(requests, context->ids, context->count, ids.ids, ids.count)
                         : eh_request_target(requests, context->ids, context->count, ids.ids, ids.count);
done:
    eh_string_deinit(&text);
    eh_ids_deinit(&ids);
    return status;
}

static eh_status requests_of(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    const bool decoder = setup->kind == EH_DECODER;
    eh_status status = EH_OK;
    eh_ids with = {0}, without = {0};
    question q = {0};
    EH_TRY_OR(done, read_question(item, &q));
    EH_TRY_OR(done, eh_ids_add(&without, decoder ? eh_start_id(setup) : setup->special.eos));
    if (decoder)
        EH_TRY_OR(done, eh_ids_add(&with, eh_start_id(setup)));
    EH_TRY_OR(done, eh_ids_add_text(&with, setup, eh_item_field(item, "prompt"),
                                    decoder ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL));
    for (int64_t c = 0; c < q.count; c++) {
        EH_TRY_OR(done, ask_choice(setup, &with, q.choices[c], WITH_CONTEXT + (int32_t)c, requests));
        EH_TRY_OR(done, ask_choice(setup, &without, q.choices[c], NO_CONTEXT + (int32_t)c, requests));
    }
done:
    eh_ids_deinit(&with);
    eh_ids_deinit(&without);
    eh_free(&q.text);
    return status;
}

// --- Rows -----------------------------------------------------------------------------------------------------------

static eh_status columns(const eh_metric_setup *setup, eh_score_table *table)
{
    static const char *const integers[] = {
        "choices", "answer", "longest", "chosen", "chosen_norm", "chosen_no_context", "chosen_norm_no_context"};
    int64_t ignored;
    (void)setup;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        EH_TRY(eh_score_table_add_column(table, integers[i], EH_COLUMN_INTEGER, &ignored));
    EH_TRY(eh_score_table_add_column(table, "log_likelihoods", EH_COLUMN_TEXT, &ignored));
    return eh_score_table_add_column(table, "log_likelihoods_no_context", EH_COLUMN_TEXT, &ignored);
}

static int64_t greatest(const double *x, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

// The choices of one context: chosen by sum and by sum per byte; false if a number is not finite.
static eh_status choose(const question *q, const eh_answers *answers, int32_t first_tag, const char *const columns[3],
                        eh_score_table *table, int64_t row, bool *finite)
{
    double sum[CHOICES_MOST], norm[CHOICES_MOST];
    eh_string list = {0};
    eh_status status = EH_OK;
    for (int64_t c = 0; c < q->count; c++) {
        int64_t tokens;
        sum[c] = eh_answer_tagged(answers, first_tag + (int32_t)c, &tokens);
        norm[c] = sum[c] / (double)strlen(q->choices[c]);
        *finite = *finite && isfinite(sum[c]);
        EH_TRY_OR(done, eh_string_printf(&list, "%s%.9g", c > 0 ? " " : "", sum[c]));
    }
    eh_rows_integer(table, row, columns[0], greatest(sum, q->count));
    eh_rows_integer(table, row, columns[1], greatest(norm, q->count));
    status = eh_rows_text(table, row, columns[2], list.bytes);
done:
    eh_string_deinit(&list);
    return status;
}

static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    static const char *const with[] = {"chosen", "chosen_norm", "log_likelihoods"};
    static const char *const without[] = {"chosen_no_context", "chosen_norm_no_context", "log_likelihoods_no_context"};
    eh_status status = EH_OK;
    double bytes[CHOICES_MOST];
    bool finite = true;
    question q = {0};
    int64_t row;
    (void)setup;
    EH_TRY(eh_rows_add(table, item, &row));
    EH_TRY_OR(done, read_question(item, &q));
    eh_rows_integer(table, row, "choices", q.count);
    eh_rows_integer(table, row, "answer", q.answer);
    if (q.count == 0)
        EH_TRY_OR(done, eh_rows_reason(table, row, "no choices, or more than 26"));
    if (q.count == 0)
        goto done;
    for (int64_t c = 0; c < q.count; c++) bytes[c] = (double)strlen(q.choices[c]);
    eh_rows_integer(table, row, "longest", greatest(bytes, q.count));
    EH_TRY_OR(done, choose(&q, answers, WITH_CONTEXT, with, table, row, &finite));
    EH_TRY_OR(done, choose(&q, answers, NO_CONTEXT, without, table, row, &finite));
    if (!finite)
        status = eh_rows_reason(table, row, "the model's log-likelihood is not a finite number");
done:
    eh_free(&q.text);
    return status;
}

// --- Figures --------------------------------------------------------------------------------------------------------

enum { RIGHT, RIGHT_NORM, RIGHT_WITHOUT, RIGHT_NORM_WITHOUT, LONGEST, CHANCE, FIRST, SECOND, THIRD, FOURTH, VALUES };

static bool fill(const eh_score_table *table, int64_t row, int64_t end, double *values)
{
    static const char *const chosen[] = {"chosen", "chosen_norm", "chosen_no_context", "chosen_norm_no_context",
                                         "longest"};
    const int64_t answer = eh_named_integer(table, "answer", row), choices = eh_named_integer(table, "choices", row);
    (void)end;
    if (eh_row_text(table, eh_score_column(table, "reason"), row)[0] != '\0')
        return false;
    for (int v = RIGHT; v <= LONGEST; v++) values[v] = eh_named_integer(table, chosen[v], row) == answer;
    values[CHANCE] = 1 / (double)choices;
    for (int p = 0; p < 4; p++) values[FIRST + p] = answer == p;
    return true;
}

#define ROW(name, null, value, main)                                       \
    {                                                                      \
        "capability/" name, "%", null, EH_FIGURE_PERCENT, 100, value, main \
    }
#define CONSTANTS(name)                                                                                             \
    {"capability/" name, "%", "random", EH_FIGURE_SCORE, 100, CHANCE, false}, ROW(name, "longest", LONGEST, false), \
        ROW(name, "always-1", FIRST, false), ROW(name, "always-2", SECOND, false),                                  \
        ROW(name, "always-3", THIRD, false), ROW(name, "always-4", FOURTH, false)
static const eh_figure_row figure_rows[] = {
    ROW("accuracy", NULL, RIGHT, true),
    ROW("accuracy-norm", NULL, RIGHT_NORM, false),
    ROW("accuracy", "no-context", RIGHT_WITHOUT, false),
    ROW("accuracy-norm", "no-context", RIGHT_NORM_WITHOUT, false),
    CONSTANTS("accuracy"),
    CONSTANTS("accuracy-norm"),
};
#undef CONSTANTS
#undef ROW
#define FIGURES ((int64_t)(sizeof figure_rows / sizeof *figure_rows))

static void summarise_scope(double items, const double *v, eh_figure *f)
{
    for (int64_t i = 0; i < FIGURES; i++) f[i] = eh_figure_ratio(100, v[figure_rows[i].item_value], items);
}

static const eh_grouped grouped = {
    .value_count = VALUES, .fill = fill, .figures = figure_rows, .figure_count = FIGURES, .summarise = summarise_scope};

const eh_metric eh_metric_multiple_choice = {
    .name = "capability/multiple-choice",
    .metric = "capability",
    .protocol = "multiple-choice",
    .formats = "jsonl",
    .answers = EH_LIKELIHOODS,
    .check = check,
    .columns = columns,
    .requests = requests_of,
    .score = score,
    .pooled = true,
    .grouped = &grouped,
    .prepare = eh_grouped_prepare,
    .summarise = eh_grouped_summarise,
};
