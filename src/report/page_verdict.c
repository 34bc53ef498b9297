// The verdict, first on the page: in full for one run, side by side for several.
#include <string.h>

#include "report/html.h"
#include "report/page.h"

static const char *accent_of_word(eh_verdict verdict)
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

// Colours say a verdict only where the instrument is sound.
static const char *accent_of(const eh_verdicts *verdicts)
{
    if (verdicts->any_failed)
        return "bad";
    return verdicts->row_count > 0 && verdicts->instrument_is_sound ? accent_of_word(verdicts->rows[0].verdict)
                                                                    : "open";
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

static eh_status print_word(const eh_verdicts *verdicts, eh_string *html)
{
    if (verdicts->row_count == 0)
        return eh_string_append_text(html, "<p class=\"word\">No verdict</p>\n");
    if (verdicts->any_failed)
        return eh_string_append_text(html, "<p class=\"word\">No verdict: the instrument failed a check</p>\n");
    const char *word = eh_verdict_name(verdicts->rows[0].verdict);
    return verdicts->instrument_is_sound
               ? eh_string_printf(html, "<p class=\"word\">%c%s</p>\n", word[0] - 'a' + 'A', word + 1)
               : eh_string_printf(html, "<p class=\"word\">Provisionally: %s</p>\n", word);
}

static eh_status print_headline(const eh_report_run *run, eh_string *html)
{
    const eh_verdicts *verdicts = run->verdicts;
    if (verdicts->row_count == 0) {
        EH_TRY(print_word(verdicts, html));
        return eh_string_append_text(html,
                                     "<p>A verdict needs StereoSet by likelihood before and after a treatment.</p>\n");
    }
    const eh_verdict_row *row = &verdicts->rows[0];
    const eh_estimate *effect = &row->evidence.effect;
    EH_TRY(print_word(verdicts, html));
    EH_TRY(eh_string_append_text(html, "<p>"));
    if (!verdicts->any_failed) // there is no verdict that it could be the reason of
        EH_TRY(eh_string_printf(html, "%c%s. ", row->reason[0] - 'a' + 'A', row->reason + 1));
    EH_TRY(eh_string_printf(html,
                            "The bias, as mean margin%s, went from <b>%.3f</b> to <b>%.3f</b> nats: a reduction of "
                            "<b>%+.3f</b> [%+.3f, %+.3f]",
                            row->turned ? " (towards the anti-stereotype here, so its sign is turned)" : "",
                            row->base.value, row->treated.value, effect->value, effect->interval.low,
                            effect->interval.high));
    if (row->evidence.has_excess)
        EH_TRY(eh_string_printf(html, " (beyond what equal damage takes: %+.3f [%+.3f, %+.3f])",
                                row->evidence.excess.value, row->evidence.excess.interval.low,
                                row->evidence.excess.interval.high));
    if (row->evidence.has_loss)
        EH_TRY(eh_string_printf(html, ", at a change of %+.2f %% [%+.2f, %+.2f] in bits per byte",
                                100 * row->evidence.loss_value, 100 * row->evidence.loss.low,
                                100 * row->evidence.loss.high));
    EH_TRY(eh_string_append_text(html, ".</p>\n"));
    if (!verdicts->instrument_is_sound)
        EH_TRY(eh_string_append_text(html, verdicts->any_failed ? "<p>A check of the instrument failed, so the numbers "
                                                                  "can't be read as an answer.</p>\n"
                                                                : "<p>A verdict is given only after all checks of the "
                                                                  "instrument were run and passed.</p>\n"));
    return EH_OK;
}

eh_status eh_page_verdict(const eh_report_run *run, eh_string *html)
{
    const eh_verdicts *verdicts = run->verdicts;
    EH_TRY(eh_string_printf(html, "<div class=\"verdict %s\"><p class=\"kicker\">Verdict for ", accent_of(verdicts)));
    EH_TRY(eh_html_text(run->results->name, html));
    EH_TRY(eh_string_append_text(html, "</p>\n"));
    EH_TRY(print_headline(run, html));
    EH_TRY(print_checks(verdicts, html));
    EH_TRY(eh_string_append_text(html, "<p class=\"note\">Margins, fixed in the job before the run: "));
    EH_TRY(eh_html_text(verdicts->margins, html));
    return eh_string_printf(html, "; SHA-256 <code>%.16s</code>.</p></div>\n", verdicts->margins_sha256);
}

// --- Several runs ---
#define MOST_CARDS 9 // more are a list

static eh_status print_evidence(const eh_verdict_row *row, eh_string *html)
{
    const eh_evidence *e = &row->evidence;
    const int decimals = strcmp(row->unit, "pp") == 0 ? 1 : 3;
    EH_TRY(eh_string_printf(html, "<dl class=\"facts\"><dt>Bias</dt><dd><b>%.*f → %.*f</b> %s</dd>", decimals,
                            row->base.value, decimals, row->treated.value, row->unit));
    EH_TRY(eh_string_printf(html, "<dt>Reduction</dt><dd>%+.*f <span class=\"ci\">[%+.*f, %+.*f]</span></dd>", decimals,
                            e->effect.value, decimals, e->effect.interval.low, decimals, e->effect.interval.high));
    if (e->has_excess)
        EH_TRY(eh_string_printf(html, "<dt>Beyond damage</dt><dd>%+.*f <span class=\"ci\">[%+.*f, %+.*f]</span></dd>",
                                decimals, e->excess.value, decimals, e->excess.interval.low, decimals,
                                e->excess.interval.high));
    if (e->has_loss)
        EH_TRY(eh_string_printf(html,
                                "<dt>Bits per byte</dt><dd>%+.1f %% <span class=\"ci\">[%+.1f, %+.1f]</span></dd>",
                                100 * e->loss_value, 100 * e->loss.low, 100 * e->loss.high));
    return eh_string_append_text(html, "</dl>\n");
}

static eh_status print_summary(const eh_report_run *run, eh_string *html)
{
    const eh_verdicts *verdicts = run->verdicts;
    int passed = 0;
    for (int c = 0; c < 4; c++) passed += verdicts->checks[c].state == EH_CHECK_PASSED;
    EH_TRY(eh_string_printf(html, "<article class=\"verdict %s\"><p class=\"kicker\">", accent_of(verdicts)));
    EH_TRY(eh_html_text(run->results->name, html));
    EH_TRY(eh_string_append_text(html, "</p>\n"));
    EH_TRY(print_word(verdicts, html));
    if (verdicts->row_count > 0) {
        const char *reason = verdicts->rows[0].reason;
        if (!verdicts->any_failed)
            EH_TRY(eh_string_printf(html, "<p>%c%s.</p>\n", reason[0] - 'a' + 'A', reason + 1));
        EH_TRY(print_evidence(&verdicts->rows[0], html));
    }
    EH_TRY(eh_string_printf(html, "<details class=\"plain\"><summary>Instrument: %d of 4 checks passed</summary>\n",
                            passed));
    EH_TRY(print_checks(verdicts, html));
    EH_TRY(eh_string_append_text(html, "</details>\n<p class=\"note\"><a href=\""));
    EH_TRY(eh_html_text(run->results->name, html));
    return eh_string_append_text(html, "/report.html\">Its own page</a>: plots, items that changed</p></article>\n");
}

// Where a check of the instrument failed, its numbers are no answer.
static bool is_judged(const eh_report_run *run)
{
    return run->verdicts->row_count > 0 && !run->verdicts->any_failed;
}

// "Of 2 trainings, 1 is effective and 1 trades off."
static eh_status print_count(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    static const eh_verdict order[] = {EH_VERDICT_EFFECTIVE, EH_VERDICT_TRADE_OFF, EH_VERDICT_DAMAGE_ONLY,
                                       EH_VERDICT_NO_EFFECT, EH_VERDICT_BACKFIRES, EH_VERDICT_INCONCLUSIVE};
    int64_t sound = 0, judged = 0;
    for (int64_t r = 0; r < run_count; r++) {
        judged += is_judged(&runs[r]);
        sound += is_judged(&runs[r]) && runs[r].verdicts->instrument_is_sound;
    }
    EH_TRY(eh_string_printf(html, "<p class=\"answer\">%lld training%s: ", (long long)run_count,
                            run_count == 1 ? "" : "s"));
    bool any = false;
    for (size_t v = 0; v < sizeof order / sizeof *order; v++) {
        int64_t count = 0;
        for (int64_t r = 0; r < run_count; r++)
            count += is_judged(&runs[r]) && runs[r].verdicts->rows[0].verdict == order[v];
        if (count > 0)
            EH_TRY(eh_string_printf(html, "%s<b>%lld %s</b>", any ? ", " : "", (long long)count,
                                    eh_verdict_name(order[v])));
        any = any || count > 0;
    }
    if (judged < run_count)
        EH_TRY(eh_string_printf(html, "%s<b>%lld without a verdict</b>", any ? ", " : "",
                                (long long)(run_count - judged)));
    return eh_string_append_text(html, sound < judged ? ". <span class=\"soft\">Provisional where a check of the "
                                                        "instrument was not passed.</span></p>\n"
                                                      : ".</p>\n");
}

// "0.295 → 0.135" or "+0.160 [+0.115, +0.213]", as cells of a row of the list.
static eh_status print_change_cell(const char *label, const eh_estimate *estimate, int decimals, eh_string *html)
{
    return eh_string_printf(html,
                            "<td role=\"cell\" class=\"num\" data-label=\"%s\">%+.*f <span class=\"ci\">[%+.*f, "
                            "%+.*f]</span></td>",
                            label, decimals, estimate->value, decimals, estimate->interval.low, decimals,
                            estimate->interval.high);
}

static const char *const list_columns[] = {"run",       "verdict",       "bias, before → after",
                                           "reduction", "beyond damage", "bits per byte, %"};

static eh_status print_list_cells(const eh_verdict_row *row, eh_string *html)
{
    static const char missing[] = "<td role=\"cell\" class=\"num\">-</td>";
    const eh_evidence *e = &row->evidence;
    const int decimals = strcmp(row->unit, "pp") == 0 ? 1 : 3;
    const eh_estimate loss = {.value = 100 * e->loss_value, .interval = {100 * e->loss.low, 100 * e->loss.high}};
    EH_TRY(eh_string_printf(html, "<td role=\"cell\" class=\"num\" data-label=\"%s\">%.*f → %.*f %s</td>",
                            list_columns[2], decimals, row->base.value, decimals, row->treated.value, row->unit));
    EH_TRY(print_change_cell(list_columns[3], &e->effect, decimals, html));
    EH_TRY(e->has_excess ? print_change_cell(list_columns[4], &e->excess, decimals, html)
                         : eh_string_append_text(html, missing));
    return e->has_loss ? print_change_cell(list_columns[5], &loss, 1, html) : eh_string_append_text(html, missing);
}

static eh_status print_list_row(const eh_report_run *run, eh_string *html)
{
    const eh_verdicts *verdicts = run->verdicts;
    const bool judged = verdicts->row_count > 0 && !verdicts->any_failed;
    EH_TRY(eh_string_append_text(html, "<tr role=\"row\"><td role=\"cell\"><a href=\""));
    EH_TRY(eh_html_text(run->results->name, html));
    EH_TRY(eh_string_append_text(html, "/report.html\">"));
    EH_TRY(eh_html_text(run->results->name, html));
    EH_TRY(eh_string_printf(html, "</a></td><td role=\"cell\" class=\"judged %s\" data-label=\"%s\"",
                            accent_of(verdicts), list_columns[1]));
    if (judged) {
        EH_TRY(eh_string_append_text(html, " title=\""));
        EH_TRY(eh_html_text(verdicts->rows[0].reason, html));
        EH_TRY(eh_string_append_text(html, "\""));
    }
    EH_TRY(eh_string_printf(html, ">%s%s</td>",
                            judged                     ? eh_verdict_name(verdicts->rows[0].verdict)
                            : verdicts->row_count == 0 ? "none"
                                                       : "none: the instrument failed a check",
                            judged && !verdicts->instrument_is_sound ? ", provisionally" : ""));
    if (verdicts->row_count > 0)
        EH_TRY(print_list_cells(&verdicts->rows[0], html));
    return eh_string_append_text(html, "</tr>\n");
}

// A line for each of many runs.
static eh_status print_list(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "<div class=\"scroll\"><table class=\"stack\" role=\"table\"><thead "
                                       "role=\"rowgroup\"><tr role=\"row\">"));
    for (size_t c = 0; c < sizeof list_columns / sizeof *list_columns; c++)
        EH_TRY(eh_string_printf(html, "<th role=\"columnheader\" scope=\"col\"%s>%s</th>",
                                c > 1 ? " class=\"num\"" : "", list_columns[c]));
    EH_TRY(eh_string_append_text(html, "</tr></thead><tbody role=\"rowgroup\">\n"));
    for (int64_t r = 0; r < run_count; r++) EH_TRY(print_list_row(&runs[r], html));
    return eh_string_append_text(html, "</tbody></table></div>\n");
}

static eh_status print_cards(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "<div class=\"verdicts\">\n"));
    for (int64_t r = 0; r < run_count; r++) EH_TRY(print_summary(&runs[r], html));
    return eh_string_append_text(html, "</div>\n");
}

eh_status eh_page_verdicts(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    EH_TRY(print_count(runs, run_count, html));
    EH_TRY(run_count <= MOST_CARDS ? print_cards(runs, run_count, html) : print_list(runs, run_count, html));
    EH_TRY(eh_string_append_text(html, "<p class=\"note\">Margins, fixed in the job before the run: "));
    EH_TRY(eh_html_text(runs[0].verdicts->margins, html));
    return eh_string_printf(html, "; SHA-256 <code>%.16s</code>.</p>\n", runs[0].verdicts->margins_sha256);
}
