// Four neutral tasks with a fixed form of answer (PROTOCOL 4.9), made from the seed: does the model still do what it is
// told? Greedy, 8 new tokens; 0..100 %, more is better, n = tasks.
//   yes-no  "Is 7 greater than 12? Answer yes or no."     letter  four words, which is the colour? A-D
//   copy    "Copy this word: window"                      count   how many words are in this list? 1-6
//   capability/parsed   the answer has the form: its first word is yes or no, a letter, a word, a number
//   capability/correct  and it is right; null pickers: chance, and each task's best constant answer (copying has none)
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/philox.h"
#include "metrics/continuations_internal.h"
#include "metrics/grouped_internal.h"

#define TASKS_OF_A_KIND 50
#define COUNT_MOST 6
#define COUNT_OF(array) ((int64_t)(sizeof(array) / sizeof *(array)))
enum { YES_NO, LETTER, COPY, COUNT, KINDS };
static const char *const kind_names[KINDS] = {"yes-no", "letter", "copy", "count"};

static const char *const things[] = {"window", "river",  "table",  "bread",  "garden", "paper",  "stone",  "bottle",
                                     "train",  "button", "candle", "basket", "letter", "mirror", "bridge", "spoon",
                                     "ladder", "cloud",  "pencil", "island", "carpet", "engine", "kettle", "orchard"};
static const char *const colours[] = {"red", "blue", "green", "yellow", "black", "white", "brown", "purple"};

// Random numbers of task i: word w of its own.
static int64_t draw(uint64_t seed, int64_t task, int64_t w, int64_t count)
{
    return (int64_t)eh_random_below(seed, EH_STREAM_NULL_PICKER, (uint64_t)(task * 64 + w + 1) << 20, (uint64_t)count);
}

static eh_status make_yes_no(uint64_t seed, int64_t i, eh_string *text)
{
    const int64_t a = 1 + draw(seed, i, 0, 50), gap = 1 + draw(seed, i, 1, 40);
    const bool yes = draw(seed, i, 2, 2) == 0;
    return eh_string_printf(text, "Is %lld greater than %lld? Answer yes or no.\nAnswer:\x1f%s",
                            (long long)(yes ? a + gap : a), (long long)(yes ? a : a + gap), yes ? "yes" : "no");
}

static eh_status make_letter(uint64_t seed, int64_t i, eh_string *text)
{
    const int64_t place = draw(seed, i, 0, 4), first = draw(seed, i, 1, COUNT_OF(things));
    EH_TRY(eh_string_append_text(text, "Which of these is a colour?\n"));
    for (int64_t p = 0; p < 4; p++)
        EH_TRY(eh_string_printf(text, "%c. %s\n", 'A' + (char)p,
                                p == place ? colours[draw(seed, i, 2, COUNT_OF(colours))]
                                           : things[(first + 5 * p) % COUNT_OF(things)]));
    return eh_string_printf(text, "Answer with one letter.\nAnswer:\x1f%c", 'A' + (char)place);
}

static eh_status make_copy(uint64_t seed, int64_t i, eh_string *text)
{
    const char *word = things[draw(seed, i, 0, COUNT_OF(things))];
    return eh_string_printf(text, "Copy this word: %s\nAnswer:\x1f%s", word, word);
}

static eh_status make_count(uint64_t seed, int64_t i, eh_string *text)
{
    const int64_t count = 1 + draw(seed, i, 0, COUNT_MOST), first = draw(seed, i, 1, COUNT_OF(things));
    EH_TRY(eh_string_append_text(text, "How many words are in this list: "));
    for (int64_t w = 0; w < count; w++)
        EH_TRY(eh_string_printf(text, "%s%s", w > 0 ? ", " : "", things[(first + 7 * w) % COUNT_OF(things)]));
    return eh_string_printf(text, "?\nAnswer with a number.\nAnswer:\x1f%lld", (long long)count);
}

static eh_status make_items(const eh_metric_setup *setup, eh_examples *examples)
{
    static const char *const fields[] = {"id", "prompt", "answer", NULL};
    static eh_status (*const make[KINDS])(uint64_t, int64_t, eh_string *) = {make_yes_no, make_letter, make_copy,
                                                                             make_count};
    eh_status status = EH_OK;
    eh_string text = {0};
    EH_TRY_OR(done, eh_own_items_begin(fields, kind_names, KINDS, examples));
    for (int k = 0; k < KINDS; k++)
        for (int64_t i = 0; i < TASKS_OF_A_KIND; i++) {
            eh_string_clear(&text);
            EH_TRY_OR(done, eh_string_printf(&text, "%s-%lld\x1f", kind_names[k], (long long)i + 1));
            EH_TRY_OR(done, make[k](setup->seed, k * TASKS_OF_A_KIND + i, &text));
            EH_TRY_OR(done, eh_own_items_add(text.bytes, text.size, (uint16_t)k, examples));
        }
done:
    eh_string_deinit(&text);
    return status;
}

// --- Asking ---------------------------------------------------------------------------------------------------------

static eh_status check(const eh_metric_setup *setup)
{
    return eh_continuation_check(setup, "capability/instructions");
}

static eh_status requests_of(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    eh_ids ids = {0};
    eh_status status = eh_ids_add_text(&ids, setup, eh_item_field(item, "prompt"), EH_WITH_SPECIAL);
    if (status == EH_OK && ids.count > 0)
        status = eh_request_generation(requests, ids.ids, ids.count);
    eh_ids_deinit(&ids);
    return status;
}

static void generation(const eh_metric_setup *setup, eh_generation *generation)
{
    generation->max_new_tokens = setup->settings->max_new_tokens > 0 ? setup->settings->max_new_tokens : 8;
}

static eh_status columns(const eh_metric_setup *setup, eh_score_table *table)
{
    int64_t ignored;
    (void)setup;
    EH_TRY(eh_score_table_add_column(table, "prompt", EH_COLUMN_TEXT, &ignored));
    EH_TRY(eh_score_table_add_column(table, "answer", EH_COLUMN_TEXT, &ignored));
    EH_TRY(eh_score_table_add_column(table, "generated", EH_COLUMN_TEXT, &ignored));
    EH_TRY(eh_score_table_add_column(table, "parsed", EH_COLUMN_INTEGER, &ignored));
    return eh_score_table_add_column(table, "correct", EH_COLUMN_INTEGER, &ignored);
}

// The first word of the text, without the punctuation around it.
static void first_word(const char *text, char word[64])
{
    size_t size = 0;
    while (*text != '\0' && (unsigned char)*text < 128 && !isalnum((unsigned char)*text)) text++;
    while (size < 63 && text[size] != '\0' && ((unsigned char)text[size] >= 128 || isalnum((unsigned char)text[size])))
        size++;
    memcpy(word, text, size);
    word[size] = '\0';
}

static bool is_number(const char *word)
{
    return word[0] != '\0' && word[strspn(word, "0123456789")] == '\0';
}

static bool has_form(const char *kind, const char *word)
{
    if (strcmp(kind, kind_names[YES_NO]) == 0)
        return strcasecmp(word, "yes") == 0 || strcasecmp(word, "no") == 0;
    if (strcmp(kind, kind_names[LETTER]) == 0)
        return word[0] >= 'A' && word[0] <= 'D' && word[1] == '\0';
    return strcmp(kind, kind_names[COUNT]) == 0 ? is_number(word) : word[0] != '\0';
}

static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    const char *answer = eh_item_field(item, "answer");
    char word[64] = "";
    int64_t row;
    (void)setup;
    EH_TRY(eh_rows_add(table, item, &row));
    EH_TRY(eh_rows_text(table, row, "prompt", eh_item_field(item, "prompt")));
    EH_TRY(eh_rows_text(table, row, "answer", answer));
    if (answers->text_count == 0)
        return eh_rows_reason(table, row, "an empty prompt");
    EH_TRY(eh_rows_text(table, row, "generated", answers->texts[0].text));
    first_word(answers->texts[0].text, word);
    const bool parsed = has_form(item->group, word);
    eh_rows_integer(table, row, "parsed", parsed);
    eh_rows_integer(table, row, "correct", parsed && strcasecmp(word, answer) == 0);
    return EH_OK;
}

// --- Figures --------------------------------------------------------------------------------------------------------

enum { RIGHT, PARSED, CHANCE, YES, NO, AT_A, AT_B, AT_C, AT_D, ONE, VALUES = ONE + COUNT_MOST };
enum { CORRECT, PARSED_SHARE, NULL_CHANCE, NULL_CONSTANT, FIGURES };

static bool fill(const eh_score_table *table, int64_t row, int64_t end, double *v)
{
    static const double chances[KINDS] = {0.5, 0.25, 0, 1.0 / COUNT_MOST};
    const char *kind = eh_named_text(table, "group", row), *answer = eh_named_text(table, "answer", row);
    (void)end;
    if (eh_named_text(table, "reason", row)[0] != '\0')
        return false;
    v[RIGHT] = (double)eh_named_integer(table, "correct", row);
    v[PARSED] = (double)eh_named_integer(table, "parsed", row);
    for (int k = 0; k < KINDS; k++)
        if (strcmp(kind, kind_names[k]) == 0)
            v[CHANCE] = chances[k];
    v[YES] = strcmp(kind, kind_names[YES_NO]) == 0 && strcmp(answer, "yes") == 0;
    v[NO] = strcmp(kind, kind_names[YES_NO]) == 0 && strcmp(answer, "no") == 0;
    for (int p = 0; p < 4; p++) v[AT_A + p] = strcmp(kind, kind_names[LETTER]) == 0 && answer[0] == 'A' + p;
    for (int c = 0; c < COUNT_MOST; c++) v[ONE + c] = strcmp(kind, kind_names[COUNT]) == 0 && atoi(answer) == c + 1;
    return true;
}

static double greatest(const double *x, int count)
{
    double most = 0;
    for (int i = 0; i < count; i++) most = fmax(most, x[i]);
    return most;
}

static void summarise_scope(double items, const double *v, eh_figure *f)
{
    f[CORRECT] = eh_figure_ratio(100, v[RIGHT], items);
    f[PARSED_SHARE] = eh_figure_ratio(100, v[PARSED], items);
    f[NULL_CHANCE] = eh_figure_ratio(100, v[CHANCE], items);
    f[NULL_CONSTANT] =
        eh_figure_ratio(100, greatest(v + YES, 2) + greatest(v + AT_A, 4) + greatest(v + ONE, COUNT_MOST), items);
}

static const eh_figure_row figure_rows[FIGURES] = {
    [CORRECT] = {"capability/correct", "%", NULL, EH_FIGURE_PERCENT, 100, RIGHT, true},
    [PARSED_SHARE] = {"capability/parsed", "%", NULL, EH_FIGURE_PERCENT, 100, PARSED, true},
    [NULL_CHANCE] = {"capability/correct", "%", "random", EH_FIGURE_SCORE, 100, -1, false},
    [NULL_CONSTANT] = {"capability/correct", "%", "best-constant", EH_FIGURE_SCORE, 100, -1, false},
};
static const eh_grouped grouped = {
    .value_count = VALUES, .fill = fill, .figures = figure_rows, .figure_count = FIGURES, .summarise = summarise_scope};

const eh_metric eh_metric_instructions = {
    .name = "capability/instructions",
    .metric = "capability",
    .protocol = "instructions",
    .formats = "",
    .answers = EH_GENERATIONS,
    .items = make_items,
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
