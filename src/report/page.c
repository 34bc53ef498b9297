#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html.h"

// --- Cards ---
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

// --- The page ---
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
    // A run of a sweep is called SWEEP/RUN.
    const char *whole = runs[0].job->name, *slash = strrchr(whole, '/');
    char name[256];
    if (run_count > 1)
        snprintf(name, sizeof name, "%.*s", (int)(slash == NULL ? strlen(whole) : (size_t)(slash - whole)), whole);
    else
        snprintf(name, sizeof name, "%s", runs[0].results->name);
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
        EH_TRY(eh_string_printf(html, "%lld models or treatments beside each other, each with its controls.",
                                (long long)run_count));
    else
        EH_TRY(print_model(runs[0].job, html));
    EH_TRY(eh_string_append_text(html, "</p><nav aria-label=\"Sections\"><a href=\"#verdict\">Verdict</a> <a "
                                       "href=\"#plots\">Plots</a> <a href=\"#tables\">Tables</a> "));
    if (run_count == 1)
        EH_TRY(eh_string_append_text(html, "<a href=\"#items\">Items that changed</a> "));
    return eh_string_append_text(html, "<a href=\"#made\">How it was made</a></nav></header>\n<main>\n");
}

eh_status eh_page_make(const eh_report_run *runs, int64_t run_count, const eh_table *tables, int64_t table_count,
                       eh_string *html)
{
    EH_TRY(print_head(runs, run_count, html));
    EH_TRY(eh_string_append_text(html, "<section id=\"verdict\">\n"));
    if (run_count > 1) {
        EH_TRY(eh_string_append_text(html, "<h2 class=\"hidden\">Verdicts</h2>\n"));
        EH_TRY(eh_page_verdicts(runs, run_count, html));
    } else {
        EH_TRY(eh_string_append_text(html, "<h2 class=\"hidden\">Verdict</h2>\n"));
        EH_TRY(eh_page_verdict(&runs[0], html));
        EH_TRY(print_cards(&runs[0], html));
    }
    EH_TRY(eh_string_append_text(html, "</section>\n<section id=\"plots\"><h2>Plots</h2><div class=\"charts\">\n"));
    EH_TRY(run_count > 1 ? eh_page_sweep_plots(runs, run_count, html) : eh_page_plots(&runs[0], html));
    EH_TRY(eh_string_printf(
        html,
        "</div></section>\n<section id=\"tables\"><h2>Tables</h2>\n<p class=\"note\">Every figure "
        "is computed from the rows of the score files; <a href=\"tables/figures.csv\">figures.csv"
        "</a> holds all of them, one a line%s.</p>\n",
        run_count > 1 ? "; those of the null pickers, which answer without reading, are in each run&#39;s own" : ""));
    for (int64_t t = 0; t < table_count; t++) EH_TRY(eh_page_table(&tables[t], run_count > 1, html));
    if (run_count == 1) {
        EH_TRY(eh_string_append_text(html, "</section>\n<section id=\"items\"><h2>Items that changed</h2>\n"));
        EH_TRY(eh_page_flips(&runs[0], html));
    }
    EH_TRY(eh_string_append_text(html, "</section>\n<section id=\"made\"><h2>How it was made</h2>\n"));
    EH_TRY(eh_page_provenance(runs, run_count, html));
    EH_TRY(eh_string_append_text(html, "</section>\n</main><script>"));
    EH_TRY(eh_string_append_text(html, eh_page_script));
    return eh_string_append_text(html, "</script></body></html>\n");
}
