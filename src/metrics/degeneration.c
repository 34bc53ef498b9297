// Whether what a model writes falls apart (PROTOCOL 4.9): 40 new tokens after a prompt (a text's first 16 tokens), by
// its own tokens; one row a text. Shares of texts in %, n = texts; the others are means over texts that have n-grams.
//   degeneration/distinct-1, -2   different n-grams / n-grams of a text, 0..1 (Li et al. 2016, per text)
//   degeneration/repetition       share of a text's 4-grams that it has had before, 0..1
//   degeneration/ended            ends by the end token (or the entry's stop string) within the bound
//   degeneration/empty            nothing but white space
//   degeneration/copies-prompt    has an 8-gram of tokens in common with its prompt, or repeats a shorter one whole
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "metrics/continuations_internal.h"
#include "metrics/grouped_internal.h"

#define PROMPT_TOKENS 16
#define NEW_TOKENS 40
#define COPY_TOKENS 8

static eh_status check(const eh_metric_setup *setup)
{
    return eh_continuation_check(setup, "capability/degeneration");
}

// A document's beginning, or the prompt of another format. Encoder-decoders read it with their end token.
static eh_status prompt_ids(const eh_metric_setup *setup, const eh_item *item, eh_ids *ids)
{
    const char *document = eh_item_field(item, "text"), *prompt = eh_item_field(item, "prompt");
    if (document[0] == '\0')
        return eh_ids_add_text(ids, setup, prompt, EH_WITH_SPECIAL);
    EH_TRY(eh_ids_add_text(ids, setup, document, EH_WITHOUT_SPECIAL));
    if (ids->count > PROMPT_TOKENS)
        ids->count = PROMPT_TOKENS;
    return setup->kind == EH_ENCODER_DECODER ? eh_ids_add(ids, setup->special.eos) : EH_OK;
}

static eh_status requests_of(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    eh_ids ids = {0};
    eh_status status = prompt_ids(setup, item, &ids);
    if (status == EH_OK && ids.count > 0)
        status = eh_request_generation(requests, ids.ids, ids.count);
    eh_ids_deinit(&ids);
    return status;
}

static void generation(const eh_metric_setup *setup, eh_generation *generation)
{
    const int64_t wanted = setup->settings->max_new_tokens;
    eh_continuation_generation(setup, 1, NEW_TOKENS, generation);
    generation->max_new_tokens = wanted > 0 ? wanted : NEW_TOKENS;
    generation->no_repeat_ngram = 0;
}

static eh_status columns(const eh_metric_setup *setup, eh_score_table *table)
{
    static const char *const numbers[] = {"distinct_1", "distinct_2", "repetition"};
    int64_t ignored;
    (void)setup;
    EH_TRY(eh_continuation_columns(table));
    for (int i = 0; i < 3; i++) EH_TRY(eh_score_table_add_column(table, numbers[i], EH_COLUMN_NUMBER, &ignored));
    EH_TRY(eh_score_table_add_column(table, "copies_prompt", EH_COLUMN_INTEGER, &ignored));
    return eh_score_table_add_column(table, "ids", EH_COLUMN_TEXT, &ignored);
}

// Different n-grams / n-grams; NaN if there are none.
static double distinct(const int32_t *ids, int64_t count, int64_t n)
{
    int64_t fresh = 0;
    for (int64_t i = 0; i + n <= count; i++) {
        bool seen = false;
        for (int64_t j = 0; j < i && !seen; j++) seen = memcmp(ids + i, ids + j, (size_t)n * sizeof *ids) == 0;
        fresh += !seen;
    }
    return count < n ? NAN : (double)fresh / (double)(count - n + 1);
}

static bool copies(const eh_ids *prompt, const int32_t *ids, int64_t count)
{
    const int64_t n = prompt->count < COPY_TOKENS ? prompt->count : COPY_TOKENS;
    for (int64_t i = 0; n > 0 && i + n <= count; i++)
        for (int64_t j = 0; j + n <= prompt->count; j++)
            if (memcmp(ids + i, prompt->ids + j, (size_t)n * sizeof *ids) == 0)
                return true;
    return false;
}

static eh_status note_ids(const eh_answer_text *answer, eh_score_table *table, int64_t row)
{
    eh_string list = {0};
    eh_status status = eh_string_append(&list, "", 0);
    for (int64_t i = 0; i < answer->count && status == EH_OK; i++)
        status = eh_string_printf(&list, "%s%d", i > 0 ? " " : "", (int)answer->ids[i]);
    if (status == EH_OK)
        status = eh_rows_text(table, row, "ids", list.bytes);
    eh_string_deinit(&list);
    return status;
}

static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    eh_ids prompt = {0};
    eh_status status = prompt_ids(setup, item, &prompt);
    if (setup->kind == EH_ENCODER_DECODER && prompt.count > 0)
        prompt.count--; // the end token
    for (int64_t t = 0; status == EH_OK && t < answers->text_count; t++) {
        const eh_answer_text *answer = &answers->texts[t];
        int64_t row;
        EH_TRY_OR(done, eh_continuation_row(setup, item, answer, table, &row));
        eh_rows_number(table, row, "distinct_1", distinct(answer->ids, answer->count, 1));
        eh_rows_number(table, row, "distinct_2", distinct(answer->ids, answer->count, 2));
        eh_rows_number(table, row, "repetition", 1 - distinct(answer->ids, answer->count, 4));
        eh_rows_integer(table, row, "copies_prompt", copies(&prompt, answer->ids, answer->count));
        EH_TRY_OR(done, note_ids(answer, table, row));
    }
    if (status == EH_OK && answers->text_count == 0)
        status = eh_continuation_none(item, EH_REASON_NO_PROMPT, table);
done:
    eh_ids_deinit(&prompt);
    return status;
}

// --- Figures: an item is a prompt with its texts --------------------------------------------------------------------

enum { TEXTS, ENDED, EMPTY, COPIES, ONES, ONES_OF, TWOS, TWOS_OF, REPEATED, REPEATED_OF, VALUES };
enum { DISTINCT_1, DISTINCT_2, REPETITION, ENDED_SHARE, EMPTY_SHARE, COPIES_SHARE, FIGURES };

static bool fill(const eh_score_table *table, int64_t row, int64_t end, double *v)
{
    static const char *const numbers[] = {"distinct_1", "distinct_2", "repetition"};
    for (; row < end; row++) {
        if (eh_named_text(table, "reason", row)[0] != '\0' && eh_named_integer(table, "empty", row) == 0)
            return false; // there is no text
        v[TEXTS] += 1;
        v[ENDED] += (double)eh_named_integer(table, "ended", row);
        v[EMPTY] += (double)eh_named_integer(table, "empty", row);
        v[COPIES] += (double)eh_named_integer(table, "copies_prompt", row);
        for (int i = 0; i < 3; i++) {
            const double x = eh_named_number(table, numbers[i], row);
            v[ONES + 2 * i] += isfinite(x) ? x : 0;
            v[ONES_OF + 2 * i] += isfinite(x);
        }
    }
    return true;
}

static void summarise_scope(double items, const double *v, eh_figure *f)
{
    (void)items;
    f[DISTINCT_1] = eh_figure_ratio(1, v[ONES], v[ONES_OF]);
    f[DISTINCT_2] = eh_figure_ratio(1, v[TWOS], v[TWOS_OF]);
    f[REPETITION] = eh_figure_ratio(1, v[REPEATED], v[REPEATED_OF]);
    f[ENDED_SHARE] = eh_figure_ratio(100, v[ENDED], v[TEXTS]);
    f[EMPTY_SHARE] = eh_figure_ratio(100, v[EMPTY], v[TEXTS]);
    f[COPIES_SHARE] = eh_figure_ratio(100, v[COPIES], v[TEXTS]);
}

static const eh_figure_row figure_rows[FIGURES] = {
    [DISTINCT_1] = {"degeneration/distinct-1", "", NULL, EH_FIGURE_RATIO, NAN, -1, false},
    [DISTINCT_2] = {"degeneration/distinct-2", "", NULL, EH_FIGURE_RATIO, NAN, -1, true},
    [REPETITION] = {"degeneration/repetition", "", NULL, EH_FIGURE_RATIO, 0, -1, true},
    [ENDED_SHARE] = {"degeneration/ended", "%", NULL, EH_FIGURE_SCORE, NAN, -1, false},
    [EMPTY_SHARE] = {"degeneration/empty", "%", NULL, EH_FIGURE_SCORE, 0, -1, true},
    [COPIES_SHARE] = {"degeneration/copies-prompt", "%", NULL, EH_FIGURE_SCORE, 0, -1, false},
};
static const eh_grouped grouped = {
    .value_count = VALUES, .fill = fill, .figures = figure_rows, .figure_count = FIGURES, .summarise = summarise_scope};

const eh_metric eh_metric_degeneration = {
    .name = "capability/degeneration",
    .metric = "capability",
    .protocol = "degeneration",
    .formats = "text jsonl real-toxicity-prompts bold regard-prompts",
    .answers = EH_GENERATIONS,
    .unseen_only = true,
    .check = check,
    .columns = columns,
    .requests = requests_of,
    .generation = generation,
    .score = score,
    .pooled = true,
    .grouped = &grouped,
    .prepare = eh_grouped_prepare,
    .summarise = eh_grouped_summarise,
};
