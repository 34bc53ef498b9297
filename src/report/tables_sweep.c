// What one asks of several runs, or of a run with controls and checkpoints: everything on one page (overview), what
// training on one thing does to the others (transfer), and the way there (trajectory).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/tables_internal.h"
#include "report/trajectory.h"

static const char margin_figure[] = "stereoset/margin";

// A change as a share of the value it started from, in per cent.
static eh_estimate relative(const eh_estimate *change, const eh_estimate *base)
{
    eh_estimate result = *change;
    const double factor = 100 / base->value;
    result.value *= factor;
    result.interval = (eh_interval){change->interval.low * factor, change->interval.high * factor};
    return result;
}

// --- Overview ---
enum { RUN, PHASE, BIAS, BIAS_CHANGE, SS, LMS, ICAT, BITS, BITS_CHANGE, OVERVIEW_COLUMNS };

static eh_status set_signed(eh_cell *cell, const eh_estimate *estimate, int decimals)
{
    cell->change = true;
    return eh_cell_set_estimate(cell, estimate, decimals);
}

static eh_status add_bias_cells(const eh_results *results, int64_t phase, eh_cell *cells)
{
    static const char *const names[] = {"stereoset/official-macro/SS", "stereoset/official-macro/LM",
                                        "stereoset/official-macro/ICAT"};
    const eh_metric_results *metric = eh_results_metric(results, "stereoset/likelihood");
    const int64_t before = eh_results_phase(results, "before");
    for (int c = BIAS; c <= ICAT; c++) EH_TRY(eh_cell_set_text(&cells[c], "-"));
    if (metric == NULL || metric->phases[phase].table == NULL)
        return EH_OK;
    const int64_t margin = eh_results_figure(metric, margin_figure, NULL, "all");
    EH_TRY(eh_cell_set_figure(metric, phase, margin, &cells[BIAS]));
    for (int i = 0; i < 3; i++) {
        EH_TRY(eh_cell_set_figure(metric, phase, eh_results_figure(metric, names[i], NULL, "all"), &cells[SS + i]));
        cells[SS + i].decimals = 1;
    }
    const eh_comparison *change = before < 0 ? NULL : eh_results_comparison(metric, before, phase);
    return change == NULL || margin < 0 ? EH_OK : eh_cell_set_change(metric, change, margin, &cells[BIAS_CHANGE]);
}

static eh_status add_capability_cells(const eh_results *results, int64_t phase, eh_cell *cells)
{
    const eh_metric_results *metric;
    int64_t figure;
    const int64_t before = eh_results_phase(results, "before");
    for (int c = BITS; c <= BITS_CHANGE; c++) EH_TRY(eh_cell_set_text(&cells[c], "-"));
    if (!eh_results_capability(results, &metric, &figure) || metric->phases[phase].table == NULL)
        return EH_OK;
    EH_TRY(eh_cell_set_figure(metric, phase, figure, &cells[BITS]));
    const eh_comparison *change = before < 0 ? NULL : eh_results_comparison(metric, before, phase);
    const eh_estimate *base = eh_results_estimate(metric, before, figure);
    if (change == NULL || base == NULL || !(base->value > 0))
        return EH_OK;
    const eh_estimate loss = relative(&change->differences[figure], base);
    return set_signed(&cells[BITS_CHANGE], &loss, 1);
}

eh_status eh_tables_add_overview(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    eh_table *table;
    EH_TRY(eh_tables_begin(
        list, "overview", "All models and controls",
        "Bias: mean over items of log P(stereotype) - log P(anti-stereotype), nats; 0 is unbiased. SS (50 is "
        "unbiased), "
        "LMS and ICAT: stereoset/official-macro. Bits per byte: on held-out text, less is better. Changes are against "
        "'before', on the same items. Brackets: 95 % bootstrap intervals; p: sign flips over terms, Holm over the "
        "run's table. control-damage is the mean of several models, the base with other noise each: its intervals hold "
        "a "
        "new one.",
        COLUMNS("run", "phase", "bias, nats", "change of bias", "SS", "LMS", "ICAT", "bits per byte", "change, %"),
        OVERVIEW_COLUMNS, &table));
    table->sections = true;
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t p = 0; p < runs[r].results->phase_count; p++) {
            const eh_results *results = runs[r].results;
            eh_cell *cells;
            if (!eh_phase_is_result(results->phases[p].name))
                continue;
            EH_TRY(eh_table_add_row(table, &cells));
            EH_TRY(eh_cell_set_text(&cells[RUN], "%s", eh_run_title(&runs[r], run_count)));
            EH_TRY(eh_cell_set_text(&cells[PHASE], "%s", results->phases[p].name));
            EH_TRY(add_bias_cells(results, p, cells));
            EH_TRY(add_capability_cells(results, p, cells));
        }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

// --- Transfer ---
#define MOST_TYPES 14

// Bias types over both tasks, the whole last.
static int64_t find_types(const eh_metric_results *metric, const char **types)
{
    int64_t count = 0;
    for (int64_t f = 0; f < metric->figure_count && count < MOST_TYPES - 1; f++) {
        const char *scope = metric->figures[f].scope;
        if (f == eh_results_figure(metric, margin_figure, NULL, scope) && eh_scope_is_bias_type(scope))
            types[count++] = scope;
    }
    types[count++] = "all";
    return count;
}

// The reduction of the bias: towards 0, whichever side the base is on.
static eh_status set_reduction(const eh_metric_results *metric, int64_t phase, int64_t before, const char *scope,
                               eh_cell *cell)
{
    const int64_t figure = eh_results_figure(metric, margin_figure, NULL, scope);
    const eh_comparison *change = eh_results_comparison(metric, before, phase);
    const eh_estimate *base = eh_results_estimate(metric, before, figure);
    if (figure < 0 || change == NULL || base == NULL)
        return eh_cell_set_text(cell, "-");
    eh_estimate reduction = change->differences[figure];
    if (base->value >= 0) {
        reduction.value = -reduction.value;
        reduction.interval = (eh_interval){-reduction.interval.high, -reduction.interval.low};
    }
    return set_signed(cell, &reduction, 3);
}

static eh_status add_transfer_rows(eh_table *table, const eh_report_run *run, int64_t run_count,
                                   const eh_metric_results *metric)
{
    const eh_results *results = run->results;
    const int64_t before = eh_results_phase(results, "before");
    for (int64_t p = 0; before >= 0 && p < results->phase_count; p++) {
        const char *phase = results->phases[p].name;
        eh_cell *cells;
        if (p == before || !eh_phase_is_result(phase) || eh_results_comparison(metric, before, p) == NULL)
            continue;
        EH_TRY(eh_table_add_row(table, &cells));
        EH_TRY(eh_cell_set_text(&cells[0], "%s", eh_run_title(run, run_count)));
        EH_TRY(eh_cell_set_text(&cells[1], "%s", phase));
        for (int64_t c = 2; c < table->column_count; c++)
            EH_TRY(set_reduction(metric, p, before, table->columns[c], &cells[c]));
    }
    return EH_OK;
}

eh_status eh_tables_add_transfer(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    const char *columns[2 + MOST_TYPES] = {"run", "phase"};
    const eh_metric_results *metric = NULL;
    eh_table *table;
    for (int64_t r = 0; r < run_count && metric == NULL; r++)
        metric = eh_results_metric(runs[r].results, "stereoset/likelihood");
    const int64_t count = metric == NULL ? 0 : find_types(metric, columns + 2);
    if (count < 2)
        return EH_OK;
    EH_TRY(eh_tables_begin(list, "transfer", "What it does to each bias type",
                           "By how many nats the mean margin came nearer to neutral than before (+: less bias; past "
                           "neutral counts on), per "
                           "bias type: a row is a training, with the placebo and the reversed training beside. "
                           "Brackets: 95 % intervals of "
                           "the paired change.",
                           columns, 2 + count, &table));
    table->heat = true;
    for (int64_t r = 0; r < run_count; r++) {
        const eh_metric_results *own = eh_results_metric(runs[r].results, "stereoset/likelihood");
        if (own != NULL)
            EH_TRY(add_transfer_rows(table, &runs[r], run_count, own));
    }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

// --- Trajectory ---
static eh_status add_trajectory_row(eh_table *table, const char *title, const eh_trajectory_point *point)
{
    eh_cell *cells;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", title));
    EH_TRY(eh_cell_set_text(&cells[1], "%s", point->phase));
    EH_TRY(isfinite(point->step) ? eh_cell_set_text(&cells[2], "%.0f", point->step) : eh_cell_set_text(&cells[2], "-"));
    EH_TRY(eh_cell_set_estimate(&cells[3], point->margin, 3));
    EH_TRY(eh_cell_set_estimate(&cells[4], point->bits, 3));
    EH_TRY(eh_cell_set_estimate(&cells[5], point->divergence, 4));
    return eh_cell_set_text(&cells[6], "%s", point->on_front ? "yes" : "");
}

eh_status eh_tables_add_trajectory(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    eh_table *table;
    EH_TRY(eh_tables_begin(
        list, "trajectory", "The way there: bias and capability at every checkpoint",
        "Front: no other point of this training is both nearer to neutral and better on held-out text. KL: divergence "
        "from the base model per token of neutral text. Brackets: 95 % bootstrap intervals.",
        COLUMNS("run", "phase", "step", "bias, nats", "bits per byte", "KL to the base, nats", "front"), 7, &table));
    table->sections = run_count > 1;
    eh_status status = EH_OK;
    for (int64_t r = 0; r < run_count && status == EH_OK; r++) {
        eh_trajectory way = {0};
        status = eh_trajectory_make(runs[r].results, &way);
        for (int64_t i = 0; i < way.count && status == EH_OK; i++)
            status = add_trajectory_row(table, eh_run_title(&runs[r], run_count), &way.points[i]);
        eh_trajectory_deinit(&way);
    }
    eh_tables_drop_if_empty(list);
    return status;
}
