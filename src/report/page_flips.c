// The items whose choice between stereotype and anti-stereotype changed, with their texts from the shards.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/shard.h"
#include "report/html.h"
#include "report/page.h"

#define MOST_FLIPS 400
#define FIELD_SEPARATOR '\x1f'
// Fields of a StereoSet example's text in its shard (dataset/stereoset.c).
enum { FIELD_ID, FIELD_TASK, FIELD_TARGET, FIELD_GROUP, FIELD_CONTEXT, FIELD_SENTENCES };

typedef struct {
    int64_t before_row, after_row;
    double before, after; // margins
} flip;

// The texts of the data set whose first example has this id; empty without shards.
static eh_status find_texts(const eh_report_run *run, const char *id, eh_examples *examples)
{
    eh_string folder = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&folder, "%s/shards", run->results->folder));
    for (int64_t d = 0; d < run->job->data_count && examples->count == 0; d++) {
        if (strcmp(run->job->data[d].format, "stereoset") != 0)
            continue;
        status = eh_shards_read(folder.bytes, run->job->data[d].name, examples);
        if (status == EH_INPUT) { // not there any more: the list then shows ids alone
            eh_error_clear();
            status = EH_OK;
        }
        if (status != EH_OK)
            break;
        const size_t length = strlen(id);
        if (examples->count > 0 && strncmp(examples->text, id, length) != 0 && run->job->data_count > 1 &&
            d + 1 < run->job->data_count)
            eh_examples_deinit(examples);
    }
done:
    eh_string_deinit(&folder);
    return status;
}

typedef struct {
    const char *bytes;
    size_t size;
} piece;

static piece field_of(const eh_examples *examples, int64_t item, int index)
{
    if (item < 0 || item >= examples->count)
        return (piece){"", 0};
    const char *at = examples->text + examples->text_offsets[item],
               *end = examples->text + examples->text_offsets[item + 1];
    for (; index > 0 && at < end; index--) {
        at = memchr(at, FIELD_SEPARATOR, (size_t)(end - at));
        at = at == NULL ? end : at + 1;
    }
    const char *stop = at < end ? memchr(at, FIELD_SEPARATOR, (size_t)(end - at)) : NULL;
    return (piece){at, (size_t)((stop == NULL ? end : stop) - at)};
}

static piece sentence_of(const eh_examples *examples, int64_t item, int label)
{
    if (item < 0 || item >= examples->count)
        return (piece){"", 0};
    for (uint64_t c = examples->candidate_first[item]; c < examples->candidate_first[item + 1]; c++)
        if (examples->labels[c] == label)
            return field_of(examples, item, FIELD_SENTENCES + (int)(c - examples->candidate_first[item]));
    return (piece){"", 0};
}

// The margin column pair that the figures' main score rests on is not in the table: the sums are, and their order is
// what a reader wants to see.
static bool margin_columns(const eh_score_table *table, int64_t *more, int64_t *less)
{
    static const char *const prefixes[] = {"", "prompted_", "continue_", "pll_", "nsp_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char name[96];
        snprintf(name, sizeof name, "%slog_likelihood_stereotype", prefixes[i]);
        *more = eh_score_column(table, name);
        snprintf(name, sizeof name, "%slog_likelihood_anti_stereotype", prefixes[i]);
        *less = eh_score_column(table, name);
        if (*more >= 0 && *less >= 0)
            return true;
    }
    return false;
}

static int by_change(const void *left, const void *right)
{
    const flip *a = left, *b = right;
    const double x = fabs(a->after - a->before), y = fabs(b->after - b->before);
    if (x != y)
        return x < y ? 1 : -1;
    return a->before_row < b->before_row ? -1 : a->before_row > b->before_row;
}

static eh_status find_flips(const eh_score_table *before, const eh_score_table *after, flip **flips, int64_t *count)
{
    int64_t more[2], less[2], capacity = 0;
    const int64_t item[2] = {eh_score_column(before, "item"), eh_score_column(after, "item")};
    if (!margin_columns(before, &more[0], &less[0]) || !margin_columns(after, &more[1], &less[1]) || item[0] < 0 ||
        item[1] < 0)
        return EH_OK;
    // Both tables are ordered by item.
    for (int64_t b = 0, a = 0; b < before->row_count && a < after->row_count;) {
        const int64_t x = before->columns[item[0]].integers[b], y = after->columns[item[1]].integers[a];
        if (x != y) {
            *(x < y ? &b : &a) += 1;
            continue;
        }
        const flip found = {b, a, before->columns[more[0]].numbers[b] - before->columns[less[0]].numbers[b],
                            after->columns[more[1]].numbers[a] - after->columns[less[1]].numbers[a]};
        if (isfinite(found.before) && isfinite(found.after) && (found.before > 0) != (found.after > 0))
            EH_TRY(EH_APPEND(flips, count, &capacity, found));
        b++;
        a++;
    }
    qsort(*flips, (size_t)*count, sizeof **flips, by_change);
    return EH_OK;
}

static const char *text_of(const eh_score_table *table, const char *column, int64_t row)
{
    const int64_t c = eh_score_column(table, column);
    return c < 0 || table->columns[c].type != EH_COLUMN_TEXT ? "" : table->columns[c].texts[row];
}

static eh_status print_sentence(const char *what, piece sentence, bool chosen, eh_string *html)
{
    if (sentence.size == 0)
        return EH_OK;
    EH_TRY(eh_string_printf(html, "<br><span class=\"meta\">%s:</span> %s", what, chosen ? "<b>" : ""));
    EH_TRY(eh_html_text_sized(sentence.bytes, sentence.size, html));
    return eh_string_append_text(html, chosen ? "</b>" : "");
}

static eh_status print_flip(const eh_score_table *table, const flip *found, const eh_examples *examples,
                            eh_string *html)
{
    const int64_t item = table->columns[eh_score_column(table, "item")].integers[found->before_row];
    EH_TRY(eh_string_append_text(html, "<li><span class=\"meta\">"));
    const char *const names[] = {"group", "target", "task", "id"};
    for (int i = 0; i < 4; i++) {
        EH_TRY(eh_html_text(text_of(table, names[i], found->before_row), html));
        EH_TRY(eh_string_append_text(html, i < 3 ? " · " : ""));
    }
    EH_TRY(eh_string_printf(html, " · margin %+.2f → %+.2f nats: now prefers the %s</span>", found->before,
                            found->after, found->after > 0 ? "stereotype" : "anti-stereotype"));
    const piece context = field_of(examples, item, FIELD_CONTEXT);
    EH_TRY(print_sentence("context", context, false, html));
    EH_TRY(print_sentence("stereotype", sentence_of(examples, item, 0), found->after > 0, html));
    EH_TRY(print_sentence("anti-stereotype", sentence_of(examples, item, 1), found->after <= 0, html));
    return eh_string_append_text(html, "</li>\n");
}

static eh_status print_flips(const eh_report_run *run, const eh_score_table *table, const flip *flips, int64_t count,
                             eh_string *html)
{
    eh_examples examples = {0};
    eh_status status = EH_OK;
    int64_t to_stereotype = 0;
    for (int64_t i = 0; i < count; i++) to_stereotype += flips[i].after > 0;
    EH_TRY_OR(done, find_texts(run, text_of(table, "id", 0), &examples));
    EH_TRY_OR(done,
              eh_string_printf(
                  html,
                  "<p>%lld of %lld items changed their choice: %lld towards the anti-stereotype, %lld towards the "
                  "stereotype. The sentence preferred afterwards is bold%s.</p>\n",
                  (long long)count, (long long)table->row_count, (long long)(count - to_stereotype),
                  (long long)to_stereotype, count > MOST_FLIPS ? "; the 400 greatest changes are listed" : ""));
    EH_TRY_OR(done, eh_string_printf(
                        html,
                        "<details><summary>The list (%lld items, greatest change first)</summary>\n<input "
                        "type=\"search\" hidden placeholder=\"Search the items\" aria-label=\"Search the items\">\n"
                        "<ul class=\"flips\">\n",
                        (long long)(count < MOST_FLIPS ? count : MOST_FLIPS)));
    for (int64_t i = 0; i < count && i < MOST_FLIPS; i++)
        EH_TRY_OR(done, print_flip(table, &flips[i], &examples, html));
    EH_TRY_OR(done, eh_string_append_text(html, "</ul></details>\n"));
done:
    eh_examples_deinit(&examples);
    return status;
}

eh_status eh_page_flips(const eh_report_run *run, eh_string *html)
{
    const eh_metric_results *metric = eh_results_metric(run->results, "stereoset/likelihood");
    const int64_t before = eh_results_phase(run->results, "before"), after = eh_results_phase(run->results, "after");
    flip *flips = NULL;
    int64_t count = 0;
    eh_status status = EH_OK;
    if (metric == NULL || before < 0 || after < 0 || metric->phases[before].table == NULL ||
        metric->phases[after].table == NULL)
        return eh_string_append_text(html,
                                     "<p class=\"note\">There is no pair of StereoSet scores before and after.</p>\n");
    EH_TRY_OR(done, find_flips(metric->phases[before].table, metric->phases[after].table, &flips, &count));
    if (count == 0)
        status = eh_string_append_text(html, "<p class=\"note\">No item changed its choice.</p>\n");
    else
        status = print_flips(run, metric->phases[before].table, flips, count, html);
done:
    eh_free(&flips);
    return status;
}
