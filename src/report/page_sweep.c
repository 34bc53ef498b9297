// The plots of a page of several runs.
#include <math.h>
#include <string.h>

#include "report/page_plots_internal.h"
#include "report/published.h"

#define MOST_GROUPS 48

// One figure over the runs of a sweep, before and after: the scaling curve where the runs are models of several sizes.
static eh_status plot_over_runs(const eh_report_run *runs, int64_t run_count, const char *figure, const char *title,
                                const char *caption, const char *unit, double reference, eh_string *html)
{
    static const char *const series[] = {"before", "after"};
    eh_mark marks[MOST_GROUPS][2];
    eh_bar_group groups[MOST_GROUPS];
    int64_t count = 0;
    for (int64_t r = 0; r < run_count && count < MOST_GROUPS; r++) {
        const eh_metric_results *metric = eh_results_metric(runs[r].results, "stereoset/likelihood");
        const int64_t f = metric == NULL ? -1 : eh_results_figure(metric, figure, NULL, "all");
        if (f < 0)
            continue;
        for (int s = 0; s < 2; s++)
            marks[count][s] = eh_mark_of(metric, eh_results_phase(runs[r].results, series[s]), f);
        groups[count] = (eh_bar_group){runs[r].results->name, marks[count]};
        count++;
    }
    const eh_chart chart = {title, caption, unit, reference, eh_published_lines(runs[0].published, figure)};
    return count == 0 ? EH_OK : eh_chart_bars(&chart, series, 2, groups, count, html);
}

// Before to after, a line a run: as many as there are colours for.
static eh_status plot_slopes(const eh_report_run *runs, int64_t run_count, const char *figure, const char *title,
                             const char *caption, const char *unit, double reference, eh_string *html)
{
    eh_slope slopes[EH_PAGE_FEW_RUNS];
    int64_t count = 0;
    for (int64_t r = 0; r < run_count && count < EH_PAGE_FEW_RUNS; r++) {
        const eh_results *results = runs[r].results;
        const eh_metric_results *metric = eh_results_metric(results, "stereoset/likelihood");
        const int64_t f = metric == NULL ? -1 : eh_results_figure(metric, figure, NULL, "all");
        if (f >= 0)
            slopes[count++] = (eh_slope){results->name, eh_mark_of(metric, eh_results_phase(results, "before"), f),
                                         eh_mark_of(metric, eh_results_phase(results, "after"), f)};
    }
    const eh_chart chart = {title, caption, unit, reference, eh_published_lines(runs[0].published, figure)};
    return count == 0 ? EH_OK : eh_chart_slopes(&chart, slopes, count, html);
}

// What each run's training changed, by bias type: after - before.
static eh_status plot_types(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    const char *series[EH_PAGE_FEW_RUNS];
    const eh_metric_results *first = eh_results_metric(runs[0].results, "stereoset/likelihood");
    eh_mark marks[MOST_GROUPS][EH_PAGE_FEW_RUNS];
    eh_bar_group groups[MOST_GROUPS];
    int64_t group_count = 0;
    for (int64_t r = 0; r < run_count; r++) series[r] = runs[r].results->name;
    for (int64_t f = 0; first != NULL && f < first->figure_count && group_count < MOST_GROUPS; f++) {
        const char *scope = first->figures[f].scope;
        if (f != eh_results_figure(first, "stereoset/margin", NULL, scope) ||
            (strcmp(scope, "all") != 0 && !eh_scope_is_bias_type(scope)))
            continue;
        for (int64_t r = 0; r < run_count; r++) {
            const eh_results *results = runs[r].results;
            const eh_metric_results *metric = eh_results_metric(results, "stereoset/likelihood");
            const int64_t figure = metric == NULL ? -1 : eh_results_figure(metric, "stereoset/margin", NULL, scope);
            const eh_comparison *change = figure < 0
                                              ? NULL
                                              : eh_results_comparison(metric, eh_results_phase(results, "before"),
                                                                      eh_results_phase(results, "after"));
            marks[group_count][r] =
                change == NULL ? (eh_mark){NAN, {NAN, NAN}}
                               : (eh_mark){change->differences[figure].value, change->differences[figure].interval};
        }
        groups[group_count] = (eh_bar_group){scope, marks[group_count]};
        group_count++;
    }
    const eh_chart chart = {.title = "Change of bias by type",
                            .caption = "Mean margin, after - before. Lines: 95 % intervals of the paired change.",
                            .unit = "nats",
                            .reference = 0};
    return group_count < 2 ? EH_OK : eh_chart_bars(&chart, series, run_count, groups, group_count, html);
}

eh_status eh_page_sweep_plots(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    static const struct {
        const char *figure, *title, *slope_caption, *bar_caption, *unit;
        double slope_reference, bar_reference;
    } plots[] = {
        {"stereoset/margin", "Bias before and after", "Mean margin over both tasks; 0 (dashed) is unbiased.",
         "Mean margin over both tasks; 0 is unbiased.", "nats", 0, 0},
        {"stereoset/official-macro/SS", "Stereotype score (SS)", "50 (dashed) is unbiased.",
         "Drawn from 50, which is unbiased.", "%", 50, 50},
        {"stereoset/official-macro/LM", "Language modelling score (LMS)", "100 is best, 50 is guessing.",
         "Drawn from 50, which is guessing; 100 is best.", "%", NAN, 50},
    };
    const bool few = run_count <= EH_PAGE_FEW_RUNS;
    EH_TRY(eh_page_plane(runs, run_count, html));
    EH_TRY(eh_page_scaling(runs, run_count, html));
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++)
        EH_TRY(few ? plot_slopes(runs, run_count, plots[i].figure, plots[i].title, plots[i].slope_caption,
                                 plots[i].unit, plots[i].slope_reference, html)
                   : plot_over_runs(runs, run_count, plots[i].figure, plots[i].title, plots[i].bar_caption,
                                    plots[i].unit, plots[i].bar_reference, html));
    return few ? plot_types(runs, run_count, html) : EH_OK;
}
