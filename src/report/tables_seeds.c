// Trainings that differ in nothing but their seed, side by side: how far they scatter, beside the scatter of items.
#include "report/tables_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "report/groups.h"

// --- One figure over the runs of a group ---------------------------------------------------------------------------

typedef struct {
    double *values, *variances; // [run_count]
    int64_t count;
} estimates;

// The figure of that name in the run's phase "after", or its change from "before"; NULL where the run has none.
static const eh_estimate *find(const eh_results *results, const char *metric_name, const eh_figure_info *info,
                               bool change)
{
    const eh_metric_results *metric = eh_results_metric(results, metric_name);
    const int64_t before = eh_results_phase(results, "before"), after = eh_results_phase(results, "after");
    if (metric == NULL || after < 0)
        return NULL;
    const int64_t figure = eh_results_figure(metric, info->name, info->score, info->scope);
    if (figure < 0)
        return NULL;
    if (!change)
        return eh_results_estimate(metric, after, figure);
    const eh_comparison *comparison = before < 0 ? NULL : eh_results_comparison(metric, before, after);
    return comparison == NULL ? NULL : &comparison->differences[figure];
}

static eh_status add_row(const eh_results *results, const char *metric, const eh_figure_info *info, bool change,
                         const estimates *found, eh_table *table)
{
    const eh_seed_spread spread = eh_seed_spread_of(found->values, found->variances, found->count);
    eh_cell *cells;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", results->name));
    EH_TRY(eh_cell_set_text(&cells[1], "%s", metric));
    EH_TRY(eh_cell_set_text(&cells[2], "%s", info->name));
    EH_TRY(eh_cell_set_text(&cells[3], change ? "after - before" : "after"));
    EH_TRY(eh_cell_set_text(&cells[4], "%" PRId64, spread.seed_count));
    const eh_estimate mean = {.value = spread.mean, .n = spread.seed_count, .interval = spread.interval};
    EH_TRY(eh_cell_set_estimate(&cells[5], &mean, 3));
    EH_TRY(eh_cell_set_text(&cells[6], "%.4g", sqrt(spread.between)));
    EH_TRY(eh_cell_set_text(&cells[7], "%.4g", sqrt(spread.within)));
    return eh_cell_set_text(&cells[8], "%.4g", sqrt(spread.total));
}

static eh_status add_figure(const eh_report_run *runs, int64_t run_count, const int64_t *group, int64_t first,
                            const eh_metric_results *metric, const eh_figure_info *info, bool change, estimates *found,
                            eh_table *table)
{
    found->count = 0;
    for (int64_t r = first; r < run_count; r++) {
        const eh_estimate *estimate = group[r] == first ? find(runs[r].results, metric->name, info, change) : NULL;
        if (estimate == NULL || !isfinite(estimate->value) || !isfinite(estimate->standard_error))
            continue;
        found->values[found->count] = estimate->value;
        found->variances[found->count++] = estimate->standard_error * estimate->standard_error;
    }
    return found->count < 2 ? EH_OK : add_row(runs[first].results, metric->name, info, change, found, table);
}

static eh_status add_group(const eh_report_run *runs, int64_t run_count, const int64_t *group, int64_t first,
                           estimates *found, eh_table *table)
{
    const eh_results *results = runs[first].results;
    for (int64_t m = 0; m < results->metric_count; m++)
        for (int64_t f = 0; f < results->metrics[m].figure_count; f++) {
            const eh_figure_info *info = &results->metrics[m].figures[f];
            if (!info->main || info->null_picker[0] != '\0' || strcmp(info->scope, "all") != 0)
                continue;
            for (int change = 0; change < 2; change++)
                EH_TRY(
                    add_figure(runs, run_count, group, first, &results->metrics[m], info, change != 0, found, table));
        }
    return EH_OK;
}

// A row for each group of two or more such runs and each main figure over all groups, after the treatment and as its
// change. No row: no such runs.
eh_status eh_tables_add_seeds(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    int64_t *group = NULL;
    estimates found = {0};
    eh_table *table;
    eh_status status = EH_OK;
    EH_TRY(
        eh_tables_begin(list, "seeds", "Trainings that differ in their seed alone",
                        "Mean with a 95 % interval by Student's t over seeds. Between: the estimates' standard "
                        "deviation over seeds; within: the root of their mean sampling variance (items); total: both.",
                        COLUMNS("run", "metric", "figure", "what", "seeds", "mean", "between seeds (sd)",
                                "within (items, sd)", "total (sd)"),
                        9, &table));
    EH_TRY_OR(done, EH_ALLOC(run_count, &group));
    EH_TRY_OR(done, EH_ALLOC(run_count, &found.values));
    EH_TRY_OR(done, EH_ALLOC(run_count, &found.variances));
    EH_TRY_OR(done, eh_group_runs(runs, run_count, EH_DIFFER_IN_SEED, group));
    for (int64_t r = 0; r < run_count; r++)
        if (group[r] == r)
            EH_TRY_OR(done, add_group(runs, run_count, group, r, &found, table));
    eh_tables_drop_if_empty(list);
done:
    eh_free(&group);
    eh_free(&found.values);
    eh_free(&found.variances);
    return status;
}
