// The plots of report.html: which figures go into which chart.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/charts.h"
#include "report/columns.h"
#include "report/page_plots_internal.h"
#include "report/published.h"

#define MOST_GROUPS 24
#define MOST_PHASES 6

static bool is_shown(const eh_metric_results *metric, const eh_results *results, int64_t phase)
{
    return metric->phases[phase].table != NULL && eh_phase_is_result(results->phases[phase].name);
}

const char *eh_short_phase(const char *phase)
{
    return strncmp(phase, "control-", 8) == 0 ? phase + 8 : phase;
}

eh_mark eh_mark_of(const eh_metric_results *metric, int64_t phase, int64_t figure)
{
    const eh_estimate *estimate = eh_results_estimate(metric, phase, figure);
    return estimate == NULL ? (eh_mark){NAN, {NAN, NAN}} : (eh_mark){estimate->value, estimate->interval};
}

// --- LMS, SS, ICAT by task ---
static eh_status plot_score(const eh_report_run *run, const eh_metric_results *metric, const char *figure,
                            const char *title, const char *caption, double reference, eh_string *html)
{
    static const char *const scopes[] = {"intrasentence", "intersentence", "all"}, *const labels[] = {
                                                                                       "within", "between", "both"};
    const int64_t before = eh_results_phase(run->results, "before"), after = eh_results_phase(run->results, "after");
    eh_slope slopes[3];
    int64_t count = 0;
    for (int s = 0; s < 3; s++) {
        const int64_t f = eh_results_figure(metric, figure, NULL, scopes[s]);
        if (f >= 0)
            slopes[count++] = (eh_slope){labels[s], eh_mark_of(metric, before, f), eh_mark_of(metric, after, f)};
    }
    if (count == 0)
        return EH_OK;
    const eh_chart chart = {title, caption, "%", reference, eh_published_lines(run->published, figure)};
    return eh_chart_slopes(&chart, slopes, count, html);
}

// --- Bias types ---
static eh_status plot_groups(const eh_report_run *run, const eh_metric_results *metric, const char *figure,
                             const char *title, const char *caption, const char *unit, double reference,
                             eh_string *html)
{
    const eh_results *results = run->results;
    const char *series[MOST_PHASES];
    eh_mark marks[MOST_GROUPS][MOST_PHASES];
    eh_bar_group groups[MOST_GROUPS];
    int64_t phases[MOST_PHASES], phase_count = 0, group_count = 0;
    for (int64_t p = 0; p < results->phase_count && phase_count < MOST_PHASES; p++)
        if (is_shown(metric, results, p)) {
            series[phase_count] = eh_short_phase(results->phases[p].name);
            phases[phase_count++] = p;
        }
    for (int64_t f = 0; f < metric->figure_count && group_count < MOST_GROUPS; f++) {
        const eh_figure_info *info = &metric->figures[f];
        if (f != eh_results_figure(metric, figure, NULL, info->scope) ||
            (strcmp(info->scope, "all") != 0 && !eh_scope_is_bias_type(info->scope)))
            continue;
        for (int64_t p = 0; p < phase_count; p++) marks[group_count][p] = eh_mark_of(metric, phases[p], f);
        groups[group_count] = (eh_bar_group){info->scope, marks[group_count]};
        group_count++;
    }
    if (group_count < 2)
        return EH_OK;
    const eh_chart chart = {title, caption, unit, reference, eh_published_lines(run->published, figure)};
    return eh_chart_bars(&chart, series, phase_count, groups, group_count, html);
}

// --- Planted against measured ---
static eh_status plot_truth_phase(const eh_report_run *run, const eh_truth_phase *phase, eh_string *html)
{
    eh_point *points = NULL;
    char(*titles)[192] = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(phase->point_count, &points));
    EH_TRY_OR(done, EH_ALLOC(phase->point_count, &titles));
    for (int64_t i = 0; i < phase->point_count; i++) {
        const eh_truth_point *p = &phase->points[i];
        snprintf(titles[i], sizeof titles[i], "%s, %s / %s (%s, %s): planted %+.2f, measured %+.2f nats", p->people,
                 p->stereotype, p->anti_stereotype, p->kind, p->exposure, p->planted, p->measured);
        const int series = strcmp(p->kind, "stereotyped") == 0 ? 0 : strcmp(p->kind, "neutral") == 0 ? 5 : 1;
        points[i] = (eh_point){p->planted, p->measured, {NAN, NAN}, {NAN, NAN}, NULL, titles[i], series, EH_DOT};
    }
    char title[128], caption[320];
    snprintf(title, sizeof title, "Planted against measured, %s", run->results->phases[phase->phase].name);
    snprintf(
        caption, sizeof caption,
        "R² %.2f, slope %.2f [%.2f, %.2f] over %lld pairs of an invented people and an attribute. Blue: stereotyped, "
        "grey: neutral, orange: reversed. Dashed: measured = planted.",
        phase->line.r_squared, phase->line.slope, phase->line.slope_interval.low, phase->line.slope_interval.high,
        (long long)phase->point_count);
    const eh_scatter scatter = {.x_label = "planted log-odds of the stereotype",
                                .y_label = "measured mean margin, nats",
                                .has_line = isfinite(phase->line.slope),
                                .slope = phase->line.slope,
                                .intercept = phase->line.intercept,
                                .identity = true,
                                .x_reference = NAN,
                                .y_reference = NAN,
                                .small = true};
    const eh_chart chart = {.title = title, .caption = caption, .unit = "", .reference = NAN};
    EH_TRY_OR(done, eh_chart_scatter(&chart, &scatter, points, phase->point_count, html));
done:
    eh_free(&points);
    eh_free(&titles);
    return status;
}

// --- Position bias ---
static eh_status plot_position_figure(const eh_report_run *run, const eh_metric_results *metric, const char *quantity,
                                      const char *title, const char *caption, const char *unit, eh_string *html)
{
    static const char *const readings[][2] = {
        {"generated", "as written"}, {"study", "as written"}, {"constrained", "likeliest letter"}};
    const char *series[MOST_PHASES];
    eh_mark marks[3][MOST_PHASES];
    eh_bar_group groups[3];
    int64_t phases[MOST_PHASES], phase_count = 0, group_count = 0;
    for (int64_t p = 0; p < run->results->phase_count && phase_count < MOST_PHASES; p++)
        if (is_shown(metric, run->results, p)) {
            series[phase_count] = eh_short_phase(run->results->phases[p].name);
            phases[phase_count++] = p;
        }
    for (int r = 0; r < 3; r++) {
        char name[EH_FIGURE_NAME];
        snprintf(name, sizeof name, "stereoset/%s/%s", readings[r][0], quantity);
        const int64_t f = eh_results_figure(metric, name, NULL, "all");
        bool any = false;
        for (int64_t p = 0; p < phase_count; p++) {
            marks[group_count][p] = eh_mark_of(metric, phases[p], f);
            any = any || isfinite(marks[group_count][p].value);
        }
        if (any) {
            groups[group_count] = (eh_bar_group){readings[r][1], marks[group_count]};
            group_count++;
        }
    }
    const eh_chart chart = {.title = title, .caption = caption, .unit = unit, .reference = NAN};
    return group_count == 0 ? EH_OK : eh_chart_bars(&chart, series, phase_count, groups, group_count, html);
}

static eh_status plot_positions(const eh_report_run *run, eh_string *html)
{
    for (int64_t m = 0; m < run->results->metric_count; m++) {
        const eh_metric_results *metric = &run->results->metrics[m];
        EH_TRY(
            plot_position_figure(run, metric, "position-bias", "Position bias of the answers",
                                 "Half the distance of the positions' shares from a third each, over all six orders: 0 "
                                 "is blind to order, 0.667 always takes the same place. Lines: 95 % intervals.",
                                 "", html));
        EH_TRY(
            plot_position_figure(run, metric, "consistency", "Same sentence in all six orders",
                                 "Share of items; a constant place scores 0 %, chance 0.41 %, a model blind to order "
                                 "100 %. Lines: 95 % intervals.",
                                 "%", html));
    }
    return EH_OK;
}

// --- Training ---
static eh_status draw_training(const eh_columns *columns, eh_string *html)
{
    int64_t step = eh_columns_find(columns, "step");
    if (step < 0)
        step = 0;
    double *values = NULL;
    eh_curve curves[MOST_PHASES];
    int64_t count = 0;
    const int64_t rows = columns->row_count;
    EH_TRY(EH_ALLOC(rows * (columns->column_count + 1), &values));
    for (int64_t r = 0; r < rows; r++) values[r] = eh_columns_number(columns, r, step);
    for (int64_t c = 0; c < columns->column_count && count < MOST_PHASES; c++) {
        double *y = values + rows * (count + 1);
        bool any = false;
        if (strstr(columns->headers[c], "loss") == NULL)
            continue;
        for (int64_t r = 0; r < rows; r++) any = isfinite(y[r] = eh_columns_number(columns, r, c)) || any;
        if (any)
            curves[count++] = (eh_curve){columns->headers[c], y};
    }
    const eh_chart chart = {.title = "Training",
                            .caption = "Loss in nats per labelled token over the steps of the fine-tuning.",
                            .unit = "",
                            .reference = NAN};
    const eh_status status =
        count > 0 && rows > 1 ? eh_chart_curves(&chart, "step", values, rows, curves, count, html) : EH_OK;
    eh_free(&values);
    return status;
}

static eh_status plot_training(const eh_report_run *run, eh_string *html)
{
    eh_columns columns = {0};
    eh_status status = eh_columns_read_if_there(run->results->folder, "metrics.csv", &columns);
    if (status == EH_OK && columns.row_count > 0)
        status = draw_training(&columns, html);
    eh_columns_deinit(&columns);
    return status;
}

// --- All ---
static eh_status plot_stereoset(const eh_report_run *run, const eh_metric_results *metric, eh_string *html)
{
    static const char *const margin =
        "Mean of log P(stereotype) - log P(anti-stereotype) over items: 0 is unbiased. Lines: 95 % "
        "intervals.";
    const bool both = eh_results_phase(run->results, "before") >= 0 && eh_results_phase(run->results, "after") >= 0;
    EH_TRY(eh_page_plane(run, 1, html));
    if (both) {
        EH_TRY(plot_score(
            run, metric, "stereoset/official-macro/SS", "Stereotype score (SS)",
            "Share of items in which the stereotype is preferred; 50 (dashed) is unbiased. Bars: 95 % intervals.", 50,
            html));
        EH_TRY(plot_score(run, metric, "stereoset/official-macro/LM", "Language modelling score (LMS)",
                          "How often a meaningful sentence beats the unrelated one; 100 is best, 50 is guessing.", NAN,
                          html));
        EH_TRY(plot_score(run, metric, "stereoset/official-macro/ICAT", "ICAT",
                          "LMS x min(SS, 100 - SS) / 50: 100 is ideal, 50 is a random model.", NAN, html));
    }
    EH_TRY(plot_groups(run, metric, "stereoset/margin", "Bias by type", margin, "nats", 0, html));
    return EH_OK;
}

eh_status eh_page_plots(const eh_report_run *run, eh_string *html)
{
    const eh_metric_results *metric = eh_results_metric(run->results, "stereoset/likelihood");
    if (metric != NULL)
        EH_TRY(plot_stereoset(run, metric, html));
    for (int64_t p = 0; run->truth != NULL && p < run->truth->phase_count; p++)
        if (strcmp(run->results->phases[run->truth->phases[p].phase].name, "before") == 0 ||
            strcmp(run->results->phases[run->truth->phases[p].phase].name, "after") == 0)
            EH_TRY(plot_truth_phase(run, &run->truth->phases[p], html));
    for (int64_t m = 0; m < run->results->metric_count; m++) {
        const eh_metric_results *other = &run->results->metrics[m];
        for (int64_t f = 0; f < other->figure_count && other != metric; f++)
            if (other->figures[f].main && strcmp(other->figures[f].scope, "all") == 0 &&
                other->figures[f].null_picker[0] == '\0') {
                EH_TRY(plot_groups(run, other, other->figures[f].name, other->figures[f].name, "Lines: 95 % intervals.",
                                   other->figures[f].unit,
                                   isfinite(other->figures[f].ideal) ? other->figures[f].ideal : 0, html));
                break;
            }
    }
    EH_TRY(plot_positions(run, html));
    EH_TRY(plot_training(run, html));
    return eh_page_trajectory(run, html);
}
