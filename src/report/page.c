#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html.h"

// --- Verdict
// ----------------------------------------------------------------------------------------------------------
static const char *accent_of(eh_verdict verdict)
{
    switch (verdict) {
    case EH_VERDICT_EFFECTIVE:
        return "good";
    case EH_VERDICT_DAMAGE_ONLY:
    case EH_VERDICT_BACKFIRES:
    case EH_VERDICT_TRADE_OFF:
        return "bad";
    default:
        return "open";
    }
}

static eh_status print_checks(const eh_verdicts *verdicts, eh_string *html)
{
    static const char *const signs[] = {"✓", "✗", "○"}, *const classes[] = {"passed", "failed", "open"};
    static const char *const words[] = {"passed", "failed", "not run"};
    EH_TRY(eh_string_append_text(html, "<ul class=\"checks\">\n"));
    for (int c = 0; c < 4; c++) {
        const eh_check *check = &verdicts->checks[c];
        EH_TRY(eh_string_printf(html,
                                "<li><span class=\"sign %s\" aria-hidden=\"true\">%s</span>Instrument check, %s: ",
                                classes[check->state], signs[check->state], words[check->state]));
        EH_TRY(eh_html_text(check->name, html));
        EH_TRY(eh_string_append_text(html, " <span class=\"detail\">("));
        EH_TRY(eh_html_text(check->detail, html));
        EH_TRY(eh_string_append_text(html, ")</span></li>\n"));
    }
    return eh_string_append_text(html, "</ul>\n");
}

static eh_status print_headline(const eh_report_run *run, eh_string *html)
{
    const eh_verdicts *verdicts = run->verdicts;
    if (verdicts->row_count == 0) {
        EH_TRY(eh_string_append_text(
            html, "<p class=\"word\">No verdict</p><p>A verdict needs StereoSet by likelihood before "
                  "and after a treatment.</p>\n"));
        return EH_OK;
    }
    const eh_verdict_row *row = &verdicts->rows[0];
    const eh_estimate *effect = &row->evidence.effect;
    const char *word = eh_verdict_name(row->verdict);
    if (verdicts->instrument_is_sound)
        EH_TRY(eh_string_printf(html, "<p class=\"word\">%c%s</p>\n", word[0] - 'a' + 'A', word + 1));
    else if (verdicts->any_failed)
        EH_TRY(eh_string_append_text(html, "<p class=\"word\">No verdict: the instrument failed a check</p>\n"));
    else
        EH_TRY(eh_string_printf(html, "<p class=\"word\">Provisionally: %s</p>\n", word));
    EH_TRY(eh_string_printf(html, "<p>%c%s. ", row->reason[0] - 'a' + 'A', row->reason + 1));
    EH_TRY(eh_string_printf(html,
                            "The bias, as mean margin%s, went from <b>%.3f</b> to <b>%.3f</b> nats: a reduction of "
                            "<b>%+.3f</b> [%+.3f, %+.3f]",
                            row->turned ? " (towards the anti-stereotype here, so its sign is turned)" : "",
                            row->base.value, row->treated.value, effect->value, effect->interval.low,
                            effect->interval.high));
    if (row->evidence.has_loss)
        EH_TRY(eh_string_printf(html, ", at a change of %+.2f %% [%+.2f, %+.2f] in bits per byte",
                                100 * row->evidence.loss_value, 100 * row->evidence.loss.low,
                                100 * row->evidence.loss.high));
    EH_TRY(eh_string_append_text(html, ".</p>\n"));
    if (!verdicts->instrument_is_sound)
        EH_TRY(eh_string_append_text(html, verdicts->any_failed
                                               ? "<p>A check of the instrument failed, so the numbers below "
                                                 "can't be read as an answer.</p>\n"
                                               : "<p>A verdict is given only after all checks of the "
                                                 "instrument were run and passed.</p>\n"));
    return EH_OK;
}

eh_status eh_page_verdict(const eh_report_run *run, eh_string *html)
{
    const eh_verdicts *verdicts = run->verdicts;
    const char *accent = verdicts->any_failed ? "bad"
                         : verdicts->row_count > 0 && verdicts->instrument_is_sound
                             ? accent_of(verdicts->rows[0].verdict)
                             : "open";
    EH_TRY(eh_string_printf(html, "<div class=\"verdict %s\"><p class=\"kicker\">Verdict", accent));
    EH_TRY(eh_string_append_text(html, " for "));
    EH_TRY(eh_html_text(run->results->name, html));
    EH_TRY(eh_string_append_text(html, "</p>\n"));
    EH_TRY(print_headline(run, html));
    EH_TRY(print_checks(verdicts, html));
    EH_TRY(eh_string_append_text(html, "<p class=\"note\">Margins, fixed in the job before the run: "));
    EH_TRY(eh_html_text(verdicts->margins, html));
    return eh_string_printf(html, "; SHA-256 <code>%.16s</code>.</p></div>\n", verdicts->margins_sha256);
}

// --- Cards
// --------------------------------------------------------------------------------------------------------------
static eh_status print_card(const eh_report_run *run, const eh_metric_results *metric, int64_t figure, const char *name,
                            int decimals, eh_string *html)
{
    const int64_t before = eh_results_phase(run->results, "before"), after = eh_results_phase(run->results, "after");
    const eh_estimate *b = eh_results_estimate(metric, before, figure), *a = eh_results_estimate(metric, after, figure);
    if (b == NULL)
        return EH_OK;
    EH_TRY(eh_string_append_text(html, "<div class=\"card\"><p class=\"name\">"));
    EH_TRY(eh_html_text(name, html));
    EH_TRY(eh_string_printf(html, "</p><p class=\"big\">%.*f", decimals, b->value));
    if (a != NULL)
        EH_TRY(eh_string_printf(html, " → %.*f", decimals, a->value));
    EH_TRY(eh_string_append_text(html, "</p><p class=\"small\">"));
    const eh_comparison *change = a == NULL ? NULL : eh_results_comparison(metric, before, after);
    if (change == NULL) {
        EH_TRY(eh_string_printf(html, "[%.*f, %.*f], n = %lld", decimals, b->interval.low, decimals, b->interval.high,
                                (long long)b->n));
    } else {
        const eh_estimate *d = &change->differences[figure];
        EH_TRY(eh_string_printf(html, "%+.*f [%+.*f, %+.*f]", decimals, d->value, decimals, d->interval.low, decimals,
                                d->interval.high));
        eh_string p = {0};
        eh_status status = eh_print_p(change->p_table[figure], &p);
        if (status == EH_OK && p.size > 0) {
            status = eh_string_append_text(html, ", ");
            if (status == EH_OK)
                status = eh_html_text(p.bytes, html);
        }
        eh_string_deinit(&p);
        EH_TRY(status);
    }
    return eh_string_append_text(html, "</p></div>\n");
}

// What the other metrics' main figures are called on a card; the definition's name where there is no better one.
static void other_name(const eh_figure_info *info, char *name, size_t size)
{
    static const struct {
        const char *figure, *words;
    } known[] = {{"crows/lm-eval/metric", "CrowS-Pairs: stereotypical sentence preferred, % (50 is unbiased)"},
                 {"perplexity/bits-per-byte", "Held-out text: bits per byte (less is better)"}};
    snprintf(name, size, "%s, %s", info->name, info->unit);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(info->name, known[i].figure) == 0)
            snprintf(name, size, "%s", known[i].words);
}

static eh_status print_cards(const eh_report_run *run, eh_string *html)
{
    static const struct {
        const char *figure, *name;
        int decimals;
    } cards[] = {{"stereoset/margin", "Bias: mean margin, nats (0 is unbiased)", 3},
                 {"stereoset/official-macro/SS", "Stereotype score (50 is unbiased)", 1},
                 {"stereoset/official-macro/LM", "Language modelling score (100 is best)", 1},
                 {"stereoset/official-macro/ICAT", "ICAT (100 is ideal)", 1}};
    const eh_metric_results *metric = eh_results_metric(run->results, "stereoset/likelihood");
    EH_TRY(eh_string_append_text(html, "<div class=\"cards\">\n"));
    for (size_t c = 0; metric != NULL && c < sizeof cards / sizeof *cards; c++) {
        const int64_t figure = eh_results_figure(metric, cards[c].figure, NULL, "all");
        if (figure >= 0)
            EH_TRY(print_card(run, metric, figure, cards[c].name, cards[c].decimals, html));
    }
    for (int64_t m = 0; m < run->results->metric_count; m++) {
        const eh_metric_results *other = &run->results->metrics[m];
        for (int64_t f = 0; other != metric && f < other->figure_count; f++) {
            const eh_figure_info *info = &other->figures[f];
            if (!info->main || strcmp(info->scope, "all") != 0 || info->null_picker[0] != '\0')
                continue;
            char name[160];
            other_name(info, name, sizeof name);
            EH_TRY(print_card(run, other, f, name, strcmp(info->unit, "%") == 0 ? 1 : 3, html));
            break;
        }
    }
    return eh_string_append_text(html, "</div>\n");
}

// --- Tables
// -------------------------------------------------------------------------------------------------------------
static eh_status print_cell(const eh_cell *cell, eh_string *html)
{
    if (!cell->has_estimate || !isfinite(cell->estimate.value)) {
        const bool sentence = cell->text != NULL && strlen(cell->text) > 40;
        EH_TRY(eh_string_append_text(html, sentence ? "<td class=\"wide\">" : "<td>"));
        EH_TRY(eh_html_text(cell->text == NULL ? "" : cell->text, html));
        return eh_string_append_text(html, "</td>");
    }
    const eh_estimate *e = &cell->estimate;
    EH_TRY(eh_string_printf(html, "<td class=\"num%s\" title=\"n = %lld%s\">", cell->grey ? " grey" : "",
                            (long long)e->n, cell->grey ? "; not better than a rule that does not read" : ""));
    EH_TRY(eh_string_printf(html, cell->change ? "%+.*f" : "%.*f", cell->decimals, e->value));
    if (isfinite(e->interval.low))
        EH_TRY(eh_string_printf(
            html, cell->change ? " <span class=\"ci\">[%+.*f, %+.*f]" : " <span class=\"ci\">[%.*f, %.*f]",
            cell->decimals, e->interval.low, cell->decimals, e->interval.high));
    if (isfinite(e->interval.low))
        EH_TRY(eh_string_append_text(html, "</span>"));
    if (!isnan(cell->p))
        EH_TRY(cell->p < 0.001 ? eh_string_append_text(html, "<br><span class=\"ci\">p &lt; 0.001</span>")
                               : eh_string_printf(html, "<br><span class=\"ci\">p = %.3f</span>", cell->p));
    return eh_string_append_text(html, "</td>");
}

static bool text_is(const eh_cell *cell, const char *text)
{
    return cell->text != NULL && strcmp(cell->text, text) == 0;
}

// The first column names the run; a page of one run does without.
eh_status eh_page_table(const eh_table *table, bool several_runs, eh_string *html)
{
    const int64_t begin = several_runs ? 0 : 1;
    EH_TRY(eh_string_append_text(html, "<h3 id=\"table-"));
    EH_TRY(eh_html_text(table->id, html));
    EH_TRY(eh_string_append_text(html, "\">"));
    EH_TRY(eh_html_text(table->title, html));
    EH_TRY(eh_string_append_text(html, "</h3><div class=\"scroll\" tabindex=\"0\"><table><thead><tr>"));
    for (int64_t c = begin; c < table->column_count; c++) {
        bool numbers = false;
        for (int64_t r = 0; r < table->row_count; r++)
            numbers = numbers || table->cells[r * table->column_count + c].has_estimate;
        EH_TRY(eh_string_append_text(html, numbers ? "<th scope=\"col\" class=\"num\">" : "<th scope=\"col\">"));
        EH_TRY(eh_html_text(table->columns[c], html));
        EH_TRY(eh_string_append_text(html, "</th>"));
    }
    EH_TRY(eh_string_append_text(html, "</tr></thead><tbody>\n"));
    for (int64_t r = 0; r < table->row_count; r++) {
        const eh_cell *cells = table->cells + r * table->column_count;
        bool change = false, first = table->column_count > 2 && text_is(&cells[2], "before") && r > 0;
        for (int64_t c = 0; c < table->column_count; c++) change = change || text_is(&cells[c], "change");
        EH_TRY(eh_string_printf(html, "<tr%s>", change ? " class=\"change\"" : first ? " class=\"first\"" : ""));
        for (int64_t c = begin; c < table->column_count; c++) EH_TRY(print_cell(&cells[c], html));
        EH_TRY(eh_string_append_text(html, "</tr>\n"));
    }
    EH_TRY(eh_string_append_text(html, "</tbody></table></div><p class=\"note\">"));
    EH_TRY(eh_html_text(table->note, html));
    EH_TRY(eh_string_append_text(html, " Files: "));
    static const char *const endings[] = {"csv", "md", "tex"};
    for (int i = 0; i < 3; i++) {
        EH_TRY(eh_string_append_text(html, "<a href=\"tables/"));
        EH_TRY(eh_html_text(table->id, html));
        EH_TRY(eh_string_printf(html, ".%s\">%s</a>%s", endings[i], endings[i], i < 2 ? ", " : ".</p>\n"));
    }
    return EH_OK;
}

// --- The page
// -----------------------------------------------------------------------------------------------------------
static eh_status print_model(const eh_job *job, eh_string *html)
{
    if (job->model.path != NULL) {
        EH_TRY(eh_string_append_text(html, "Model: <code>"));
        EH_TRY(eh_html_text(job->model.path, html));
        return eh_string_append_text(html, "</code>.");
    }
    if (job->model.architecture == NULL)
        return EH_OK;
    EH_TRY(eh_string_append_text(html, "Model: "));
    EH_TRY(eh_html_text(job->model.architecture, html));
    return eh_string_append_text(html, ", trained from random initialisation.");
}

static eh_status print_head(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    const char *name = run_count > 1 ? runs[0].job->name : runs[0].results->name;
    EH_TRY(eh_string_append_text(
        html, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
              "content=\"width=device-width,initial-scale=1\"><title>"));
    EH_TRY(eh_html_text(name, html));
    EH_TRY(eh_string_append_text(html, " - evenhand report</title><style>"));
    EH_TRY(eh_string_append_text(html, eh_page_style));
    EH_TRY(eh_string_append_text(html, "</style></head><body>\n<header class=\"top\"><p class=\"kicker\">evenhand "
                                       "report</p><h1>"));
    EH_TRY(eh_html_text(name, html));
    EH_TRY(eh_string_append_text(html, "</h1><p class=\"lead\">Does the treatment make the model less biased, or only "
                                       "worse? "));
    if (run_count > 1)
        EH_TRY(eh_string_printf(html, "%lld runs of a sweep beside each other.", (long long)run_count));
    else
        EH_TRY(print_model(runs[0].job, html));
    EH_TRY(eh_string_append_text(html, "</p><nav aria-label=\"Sections\"><a href=\"#verdict\">Verdict</a> <a "
                                       "href=\"#plots\">Plots</a> <a href=\"#tables\">Tables</a> "));
    if (run_count == 1)
        EH_TRY(eh_string_append_text(html, "<a href=\"#items\">Items that changed</a> "));
    return eh_string_append_text(html, "<a href=\"#made\">How it was made</a></nav></header>\n<main>\n");
}

static eh_status print_run_heading(const eh_report_run *run, int64_t run_count, eh_string *html)
{
    if (run_count == 1)
        return EH_OK;
    EH_TRY(eh_string_append_text(html, "<h3>"));
    EH_TRY(eh_html_text(run->results->name, html));
    EH_TRY(eh_string_append_text(html, " (<a href=\""));
    EH_TRY(eh_html_text(run->results->name, html));
    return eh_string_append_text(html, "/report.html\">its own page</a>)</h3>\n");
}

eh_status eh_page_make(const eh_report_run *runs, int64_t run_count, const eh_table *tables, int64_t table_count,
                       eh_string *html)
{
    EH_TRY(print_head(runs, run_count, html));
    EH_TRY(eh_string_append_text(html, "<section id=\"verdict\">\n"));
    for (int64_t r = 0; r < run_count; r++) {
        EH_TRY(print_run_heading(&runs[r], run_count, html));
        EH_TRY(eh_page_verdict(&runs[r], html));
        EH_TRY(print_cards(&runs[r], html));
    }
    EH_TRY(eh_string_append_text(html, "</section>\n<section id=\"plots\"><h2>Plots</h2><div class=\"charts\">\n"));
    EH_TRY(run_count > 1 ? eh_page_sweep_plots(runs, run_count, html) : eh_page_plots(&runs[0], html));
    EH_TRY(eh_string_append_text(
        html, "</div></section>\n<section id=\"tables\"><h2>Tables</h2>\n<p class=\"note\">Every figure "
              "is computed from the rows of the score files; <a href=\"tables/figures.csv\">figures.csv"
              "</a> holds all of them, one a line.</p>\n"));
    for (int64_t t = 0; t < table_count; t++) EH_TRY(eh_page_table(&tables[t], run_count > 1, html));
    if (run_count == 1) {
        EH_TRY(eh_string_append_text(html, "</section>\n<section id=\"items\"><h2>Items that changed</h2>\n"));
        EH_TRY(eh_page_flips(&runs[0], html));
    }
    EH_TRY(eh_string_append_text(html, "</section>\n<section id=\"made\"><h2>How it was made</h2>\n"));
    for (int64_t r = 0; r < run_count; r++) {
        EH_TRY(print_run_heading(&runs[r], run_count, html));
        EH_TRY(eh_page_provenance(&runs[r], html));
    }
    EH_TRY(eh_string_append_text(html, "</section>\n</main><script>"));
    EH_TRY(eh_string_append_text(html, eh_page_script));
    return eh_string_append_text(html, "</script></body></html>\n");
}
