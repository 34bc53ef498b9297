#include "report/tables.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/tables_internal.h"

eh_status eh_metric_title(const char *table_name, eh_string *text)
{
    static const struct {
        const char *word, *title;
    } names[] = {{"stereoset", "StereoSet"},      {"crows-pairs", "CrowS-Pairs"},
                 {"crows", "CrowS-Pairs"},        {"honest", "HONEST"},
                 {"toxicity", "Toxicity"},        {"regard", "Regard"},
                 {"perplexity", "Held-out text"}, {"capability", "Capability"}};
    const size_t length = strcspn(table_name, "/@");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].word) == length && strncmp(names[i].word, table_name, length) == 0) {
            EH_TRY(eh_string_append_text(text, names[i].title));
            return table_name[length] == '\0' ? EH_OK : eh_string_printf(text, ", %s", table_name + length + 1);
        }
    return eh_string_append_text(text, table_name);
}

const char *eh_run_title(const eh_report_run *run, int64_t run_count)
{
    const eh_job *job = run->job;
    if (run_count > 1)
        return run->results->name;
    if (job->model.path == NULL)
        return job->model.architecture == NULL ? run->results->name : job->model.architecture;
    const char *slash = strrchr(job->model.path, '/');
    // "results/demo-base/model" is the model of demo-base: a folder of that name says nothing.
    return slash == NULL || strcmp(slash, "/model") == 0 || slash[1] == '\0' ? job->model.path : slash + 1;
}

// "LMS" of "stereoset/constrained/LMS".
static const char *quantity_of(const char *figure)
{
    const char *slash = strrchr(figure, '/');
    return slash == NULL ? figure : slash + 1;
}

bool eh_is_null_of(const eh_metric_results *metric, int64_t null, int64_t figure)
{
    const eh_figure_info *n = &metric->figures[null], *info = &metric->figures[figure];
    return n->null_picker[0] != '\0' && info->null_picker[0] == '\0' && strcmp(n->scope, info->scope) == 0 &&
           strcmp(n->name, info->name) == 0 && (n->score[0] == '\0' || strcmp(n->score, info->score) == 0);
}

bool eh_below_nulls(const eh_metric_results *metric, int64_t phase, int64_t figure)
{
    const eh_figure_info *info = &metric->figures[figure];
    const eh_estimate *own = eh_results_estimate(metric, phase, figure);
    if (info->null_picker[0] != '\0' || own == NULL || info->ideal != 100)
        return false;
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_estimate *null = eh_results_estimate(metric, phase, f);
        if (eh_is_null_of(metric, f, figure) && null != NULL && null->value >= own->value)
            return true;
    }
    return false;
}

// --- Building blocks ---
eh_status eh_tables_begin(eh_table_list *list, const char *id, const char *title, const char *note,
                          const char *const *columns, int64_t column_count, eh_table **table)
{
    EH_TRY(EH_RESIZE(list->count, list->count + 1, &list->tables));
    *table = &list->tables[list->count++];
    return eh_table_init(id, title, note, columns, column_count, *table);
}

void eh_tables_drop_if_empty(eh_table_list *list)
{
    if (list->tables[list->count - 1].row_count == 0)
        eh_table_deinit(&list->tables[--list->count]);
}

static int decimals_of(const eh_figure_info *info)
{
    return strcmp(info->unit, "%") == 0 ? 2 : info->kind == EH_FIGURE_COUNT ? 0 : 3;
}

// Whether no answer was understood of those that the figure counts: its definition has a figure "parsed", which is 0.
static bool nothing_parsed(const eh_metric_results *metric, int64_t phase, int64_t figure)
{
    const eh_figure_info *info = &metric->figures[figure];
    char name[EH_FIGURE_NAME];
    snprintf(name, sizeof name, "%.*s/parsed", (int)(quantity_of(info->name) - info->name) - 1, info->name);
    const int64_t parsed = eh_results_figure(metric, name, NULL, info->scope);
    const eh_estimate *share = eh_results_estimate(metric, phase, parsed);
    return info->null_picker[0] == '\0' && share != NULL && share->n > 0 && share->value == 0;
}

// What is undefined says why: an interval can't be told of nothing.
eh_status eh_cell_set_figure(const eh_metric_results *metric, int64_t phase, int64_t figure, eh_cell *cell)
{
    if (figure < 0)
        return eh_cell_set_text(cell, "-");
    const eh_estimate *estimate = eh_results_estimate(metric, phase, figure);
    if (estimate == NULL)
        return eh_cell_set_text(cell, metric->phases[phase].refusal != NULL ? "not measured" : "-");
    cell->grey = eh_below_nulls(metric, phase, figure);
    EH_TRY(eh_cell_set_estimate(cell, estimate, decimals_of(&metric->figures[figure])));
    if (isfinite(estimate->value))
        return EH_OK;
    if (nothing_parsed(metric, phase, figure))
        return eh_cell_set_text(cell, "undefined: no answer was parsed");
    return estimate->n == 0 ? eh_cell_set_text(cell, "undefined: nothing to count") : EH_OK;
}

eh_status eh_cell_set_change(const eh_metric_results *metric, const eh_comparison *comparison, int64_t figure,
                             eh_cell *cell)
{
    if (figure < 0 || comparison == NULL)
        return eh_cell_set_text(cell, "-");
    cell->change = true;
    cell->p = metric->figures[figure].main ? comparison->p_table[figure] : comparison->p_all[figure];
    return eh_cell_set_estimate(cell, &comparison->differences[figure], decimals_of(&metric->figures[figure]));
}

eh_status eh_cell_set_count(const eh_estimate *estimate, eh_cell *cell)
{
    return estimate == NULL ? eh_cell_set_text(cell, "-") : eh_cell_set_text(cell, "%lld", (long long)estimate->n);
}

// --- Every metric: its main figures ---
static eh_status add_figure_row(eh_table *table, const eh_report_run *run, const eh_metric_results *metric,
                                int64_t figure)
{
    const eh_results *results = run->results;
    const eh_figure_info *info = &metric->figures[figure];
    const int64_t before = eh_results_phase(results, "before"), after = eh_results_phase(results, "after");
    eh_cell *cells;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", results->name));
    EH_TRY(eh_cell_set_text(&cells[1], "%s%s%s%s%s%s", info->name, info->score[0] != '\0' ? " (" : "", info->score,
                            info->score[0] != '\0' ? ")" : "", info->null_picker[0] != '\0' ? ", answered by: " : "",
                            info->null_picker));
    EH_TRY(eh_cell_set_text(&cells[2], "%s", info->scope));
    EH_TRY(eh_cell_set_text(&cells[3], "%s", info->unit));
    EH_TRY(before < 0 ? eh_cell_set_text(&cells[4], "-") : eh_cell_set_figure(metric, before, figure, &cells[4]));
    EH_TRY(after < 0 ? eh_cell_set_text(&cells[5], "-") : eh_cell_set_figure(metric, after, figure, &cells[5]));
    const eh_comparison *change = before < 0 || after < 0 ? NULL : eh_results_comparison(metric, before, after);
    EH_TRY(eh_cell_set_change(metric, change, figure, &cells[6]));
    return eh_cell_set_count(eh_results_estimate(metric, metric->first_phase, figure), &cells[7]);
}

// The row of a metric that was refused in a phase: the cells say so, and the table "missing" the reason.
static eh_status add_refusal_row(eh_table *table, const eh_report_run *run, const eh_metric_results *metric)
{
    static const char *const phases[] = {"before", "after"};
    const char *reason = NULL;
    eh_cell *cells;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", run->results->name));
    EH_TRY(eh_cell_set_text(&cells[2], "all"));
    for (int i = 0; i < 2; i++) {
        const int64_t p = eh_results_phase(run->results, phases[i]);
        const char *refusal = p < 0 ? NULL : metric->phases[p].refusal;
        reason = reason == NULL ? refusal : reason;
        EH_TRY(eh_cell_set_text(&cells[4 + i], refusal == NULL ? "-" : "not measured"));
    }
    for (int64_t p = 0; p < run->results->phase_count && reason == NULL; p++) reason = metric->phases[p].refusal;
    EH_TRY(eh_cell_set_text(&cells[1], "%s: %s", metric->name, reason));
    EH_TRY(eh_cell_set_text(&cells[6], "-"));
    return eh_cell_set_text(&cells[7], "0");
}

static bool was_refused(const eh_report_run *run, const eh_metric_results *metric)
{
    bool refused = false;
    for (int64_t p = 0; p < run->results->phase_count; p++) refused = refused || metric->phases[p].refusal != NULL;
    return refused;
}

static bool takes_figure(const eh_metric_results *metric, int64_t figure)
{
    const eh_figure_info *info = &metric->figures[figure];
    if (info->null_picker[0] == '\0')
        return info->main;
    // A null picker is shown beside the main figure that it answers, overall, if it has a score there.
    const eh_estimate *estimate = eh_results_estimate(metric, metric->first_phase, figure);
    if (strcmp(info->scope, "all") != 0 || estimate == NULL || !isfinite(estimate->value))
        return false;
    for (int64_t f = 0; f < metric->figure_count; f++)
        if (metric->figures[f].main && eh_is_null_of(metric, figure, f))
            return true;
    return false;
}

static void file_name(const char *table_name, char *id, size_t size)
{
    snprintf(id, size, "%s", table_name);
    for (char *c = id; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c))
            *c = '-';
}

static eh_status add_metric_table(eh_table_list *list, const eh_report_run *runs, int64_t run_count, const char *name)
{
    char id[128];
    file_name(name, id, sizeof id);
    eh_string title = {0};
    eh_status status = EH_OK;
    eh_table *table;
    EH_TRY_OR(done, eh_metric_title(name, &title));
    EH_TRY_OR(done,
              eh_tables_begin(
                  list, id, title.bytes,
                  "Main figures by their definitions' names. Brackets: 95 % bootstrap intervals. Changes are paired; p "
                  "by sign flips over clusters, McNemar (items alone) or bootstrap (ratios), Holm over the table; "
                  "figures.csv names the test.",
                  COLUMNS("run", "figure", "scope", "unit", "before", "after", "change", "n"), 8, &table));
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t m = 0; m < runs[r].results->metric_count; m++) {
            const eh_metric_results *metric = &runs[r].results->metrics[m];
            if (strcmp(metric->name, name) != 0)
                continue;
            if (was_refused(&runs[r], metric))
                EH_TRY_OR(done, add_refusal_row(table, &runs[r], metric));
            for (int64_t f = 0; f < metric->figure_count; f++)
                if (takes_figure(metric, f))
                    EH_TRY_OR(done, add_figure_row(table, &runs[r], metric, f));
        }
    eh_tables_drop_if_empty(list);
done:
    eh_string_deinit(&title);
    return status;
}

// Whether table1 and by-bias-type say it all: StereoSet by likelihood, where it has no null pickers.
static bool is_laid_out(const eh_report_run *run, const eh_metric_results *metric)
{
    bool more = was_refused(run, metric);
    for (int64_t f = 0; f < metric->figure_count; f++) more = more || metric->figures[f].null_picker[0] != '\0';
    return strncmp(metric->name, "stereoset/likelihood", 20) == 0 && !more;
}

// Whether an earlier run has made the metric's table.
static bool is_known(const eh_report_run *runs, int64_t run, int64_t metric)
{
    const char *name = runs[run].results->metrics[metric].name;
    for (int64_t r = 0; r <= run; r++)
        for (int64_t m = 0; m < (r == run ? metric : runs[r].results->metric_count); m++)
            if (strcmp(runs[r].results->metrics[m].name, name) == 0 &&
                !is_laid_out(&runs[r], &runs[r].results->metrics[m]))
                return true;
    return false;
}

// --- Verdict, truth, what is missing ---
static eh_status add_verdict_row(eh_table *table, const char *name, const eh_verdict_row *row, bool sound)
{
    eh_cell *cells;
    const int decimals = strcmp(row->unit, "pp") == 0 ? 2 : 3;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", name));
    EH_TRY(eh_cell_set_text(&cells[1], "%s", row->scope));
    EH_TRY(eh_cell_set_text(&cells[2], "%s%s", row->figure, row->turned ? " (sign turned)" : ""));
    EH_TRY(eh_cell_set_estimate(&cells[3], &row->base, decimals));
    EH_TRY(eh_cell_set_estimate(&cells[4], &row->treated, decimals));
    EH_TRY(eh_cell_set_estimate(&cells[5], &row->evidence.effect, decimals));
    cells[5].change = true;
    cells[5].p = row->p_holm;
    EH_TRY(eh_cell_set_estimate(&cells[6], row->evidence.has_excess ? &row->evidence.excess : NULL, decimals));
    cells[6].change = row->evidence.has_excess;
    if (row->evidence.has_loss)
        EH_TRY(eh_cell_set_text(&cells[7], "%+.2f %% [%+.2f, %+.2f]", 100 * row->evidence.loss_value,
                                100 * row->evidence.loss.low, 100 * row->evidence.loss.high));
    else
        EH_TRY(eh_cell_set_text(&cells[7], "not measured"));
    EH_TRY(eh_cell_set_text(&cells[8], "%.*f", decimals, row->evidence.detectable));
    return eh_cell_set_text(&cells[9], "%s%s: %s", sound ? "" : "provisional: ", eh_verdict_name(row->verdict),
                            row->reason);
}

static eh_status add_verdicts(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    eh_table *table;
    char note[512];
    snprintf(
        note, sizeof note,
        "Margins fixed in the job: %s (SHA-256 %.16s). Effect: base - treated; excess: damage control - treated; loss: "
        "bits per byte. Detectable: the change that this n shows in 4 of 5 runs. Provisional: not all instrument "
        "checks were run and passed.",
        runs[0].verdicts->margins, runs[0].verdicts->margins_sha256);
    EH_TRY(eh_tables_begin(list, "verdict", "Verdict: mitigation or damage", note,
                           COLUMNS("run", "bias", "figure", "base", "treated", "effect E", "excess X",
                                   "capability loss C", "detectable", "verdict"),
                           10, &table));
    table->sections = run_count > 1;
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t v = 0; v < runs[r].verdicts->row_count; v++)
            EH_TRY(add_verdict_row(table, runs[r].results->name, &runs[r].verdicts->rows[v],
                                   runs[r].verdicts->instrument_is_sound));
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

static eh_status add_truth(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    eh_table *table;
    EH_TRY(eh_tables_begin(
        list, "truth", "Measured against planted bias",
        "Least squares over pairs of a people and an attribute: mean margin (nats) = intercept + slope x planted "
        "log-odds; the slope's ends are 95 % by Student's t. control-damage: of the mean of its models; the ends hold "
        "a "
        "new model's slope.",
        COLUMNS("run", "phase", "pairs", "slope", "slope low", "slope high", "intercept", "R2"), 8, &table));
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t p = 0; runs[r].truth != NULL && p < runs[r].truth->phase_count; p++) {
            const eh_truth_phase *phase = &runs[r].truth->phases[p];
            eh_cell *cells;
            EH_TRY(eh_table_add_row(table, &cells));
            EH_TRY(eh_cell_set_text(&cells[0], "%s", runs[r].results->name));
            EH_TRY(eh_cell_set_text(&cells[1], "%s", runs[r].results->phases[phase->phase].name));
            EH_TRY(eh_cell_set_text(&cells[2], "%lld", (long long)phase->point_count));
            EH_TRY(eh_cell_set_text(&cells[3], "%.4f", phase->line.slope));
            EH_TRY(eh_cell_set_text(&cells[4], "%.4f", phase->line.slope_interval.low));
            EH_TRY(eh_cell_set_text(&cells[5], "%.4f", phase->line.slope_interval.high));
            EH_TRY(eh_cell_set_text(&cells[6], "%.4f", phase->line.intercept));
            EH_TRY(eh_cell_set_text(&cells[7], "%.4f", phase->line.r_squared));
        }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

// What was not scored, and comparisons that could not be made.
static eh_status add_missing(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    eh_table *table;
    EH_TRY(eh_tables_begin(list, "missing", "Not scored",
                           "Rows without a score are in no figure; comparisons that can't be made say why.",
                           COLUMNS("run", "metric", "phase", "rows", "not scored", "what"), 6, &table));
    for (int64_t r = 0; r < run_count; r++) {
        const eh_results *results = runs[r].results;
        for (int64_t m = 0; m < results->metric_count; m++) {
            const eh_metric_results *metric = &results->metrics[m];
            eh_cell *cells;
            for (int64_t p = 0; p < results->phase_count; p++) {
                const eh_phase_figures *phase = &metric->phases[p];
                if (phase->table != NULL && phase->sample.missing_count == 0)
                    continue;
                EH_TRY(eh_table_add_row(table, &cells));
                EH_TRY(eh_cell_set_text(&cells[0], "%s", results->name));
                EH_TRY(eh_cell_set_text(&cells[1], "%s", metric->name));
                EH_TRY(eh_cell_set_text(&cells[2], "%s", results->phases[p].name));
                EH_TRY(eh_cell_set_text(&cells[3], "%lld",
                                        phase->table == NULL ? 0LL : (long long)phase->table->row_count));
                EH_TRY(eh_cell_set_text(&cells[4], "%lld", (long long)phase->sample.missing_count));
                EH_TRY(eh_cell_set_text(&cells[5], "%s",
                                        phase->refusal != NULL          ? phase->refusal
                                        : phase->table == NULL          ? "this phase was not measured by this metric"
                                        : phase->sample.item_count == 0 ? "no row has a score"
                                                                        : "see column \"reason\" of the scores"));
            }
            for (int64_t c = 0; c < metric->comparison_count; c++) {
                if (metric->comparisons[c].trouble == NULL)
                    continue;
                EH_TRY(eh_table_add_row(table, &cells));
                EH_TRY(eh_cell_set_text(&cells[0], "%s", results->name));
                EH_TRY(eh_cell_set_text(&cells[1], "%s", metric->name));
                EH_TRY(eh_cell_set_text(&cells[2], "%s to %s", results->phases[metric->comparisons[c].from].name,
                                        results->phases[metric->comparisons[c].to].name));
                EH_TRY(eh_cell_set_text(&cells[5], "%s", metric->comparisons[c].trouble));
            }
        }
    }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

// Those of the first run: a sweep's runs have one job's.
static eh_status add_published(eh_table_list *list, const eh_report_run *runs)
{
    static const char *const names[] = {"figure", "label", "value", "source"};
    const eh_columns *published = runs[0].published;
    eh_table *table;
    EH_TRY(
        eh_tables_begin(list, "reference", "Published elsewhere",
                        "As the job's report.reference gives them: not measured here, on other models or other items.",
                        names, 4, &table));
    for (int64_t row = 0; published != NULL && row < published->row_count; row++) {
        eh_cell *cells;
        EH_TRY(eh_table_add_row(table, &cells));
        for (int c = 0; c < 4; c++)
            EH_TRY(eh_cell_set_text(&cells[c], "%s",
                                    eh_columns_text(published, row, eh_columns_find(published, names[c]))));
    }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

eh_status eh_tables_make(const eh_report_run *runs, int64_t run_count, eh_table **tables, int64_t *count)
{
    eh_table_list list = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_tables_add_overview(&list, runs, run_count));
    EH_TRY_OR(done, add_verdicts(&list, runs, run_count));
    EH_TRY_OR(done, eh_tables_add_study(&list, runs, run_count));
    EH_TRY_OR(done, eh_tables_add_transfer(&list, runs, run_count));
    EH_TRY_OR(done, eh_tables_add_generalisation(&list, runs, run_count));
    EH_TRY_OR(done, eh_tables_add_trajectory(&list, runs, run_count));
    EH_TRY_OR(done, eh_tables_add_stereoset(&list, runs, run_count));
    EH_TRY_OR(done, add_truth(&list, runs, run_count));
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t m = 0; m < runs[r].results->metric_count; m++)
            if (!is_known(runs, r, m) && !is_laid_out(&runs[r], &runs[r].results->metrics[m]))
                EH_TRY_OR(done, add_metric_table(&list, runs, run_count, runs[r].results->metrics[m].name));
    EH_TRY_OR(done, add_missing(&list, runs, run_count));
    EH_TRY_OR(done, add_published(&list, runs));
    EH_TRY_OR(done, eh_tables_add_costs(&list, runs, run_count));
    if (run_count > 1)
        EH_TRY_OR(done, eh_tables_add_seeds(&list, runs, run_count));
done:
    *tables = list.tables;
    *count = list.count;
    return status;
}
