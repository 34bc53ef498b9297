// StereoSet's scores one phase a line, controls and changes included: the tables for looking up.
#include <math.h>
#include <string.h>

#include "report/tables_internal.h"

typedef struct {
    const char *names[4]; // of LMS, SS, ICAT and the margin (NULL: none) as figures
} score_names;

static const score_names official = {{"stereoset/official-macro/LM", "stereoset/official-macro/SS",
                                      "stereoset/official-macro/ICAT", "stereoset/margin"}};
static const score_names choice = {{"stereoset/choice/LMS", "stereoset/choice/SS", "stereoset/choice/ICAT", NULL}};

static const char *scope_title(const char *scope)
{
    return strcmp(scope, "all") == 0 ? "both tasks" : scope;
}

// Of a null picker the figure that stands beside `figure`, -1 if there is none.
static int64_t null_of(const eh_metric_results *metric, int64_t figure, const char *null_picker)
{
    for (int64_t f = 0; f < metric->figure_count && figure >= 0; f++)
        if (strcmp(metric->figures[f].null_picker, null_picker) == 0 && eh_is_null_of(metric, f, figure))
            return f;
    return -1;
}

// Of the rules that answer without reading, the one whose ICAT is best; NULL if there is none.
static const char *best_null(const eh_metric_results *metric, const int64_t figures[4])
{
    const char *best = NULL;
    double highest = -INFINITY;
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_estimate *estimate = eh_results_estimate(metric, metric->first_phase, f);
        if (figures[2] >= 0 && eh_is_null_of(metric, f, figures[2]) && estimate != NULL && estimate->value > highest) {
            highest = estimate->value;
            best = metric->figures[f].null_picker;
        }
    }
    return best;
}

// What the scores above are to be compared with: of a task a row for each rule that answers without reading, elsewhere
// for the best of them.
static eh_status add_null_rows(eh_table *table, const eh_report_run *run, const eh_metric_results *metric,
                               const int64_t figures[4], const char *scope)
{
    const bool is_task = strcmp(scope, "all") == 0 || !(eh_scope_is_bias_type(scope) || strchr(scope, '/') != NULL);
    const char *best = is_task ? NULL : best_null(metric, figures);
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const char *null_picker = metric->figures[f].null_picker;
        const eh_estimate *estimate = eh_results_estimate(metric, metric->first_phase, f);
        eh_cell *cells;
        if (!eh_is_null_of(metric, f, figures[1]) || estimate == NULL || !isfinite(estimate->value) ||
            (!is_task && (best == NULL || strcmp(null_picker, best) != 0)))
            continue;
        EH_TRY(eh_table_add_row(table, &cells));
        EH_TRY(eh_cell_set_text(&cells[0], "%s", run->results->name));
        EH_TRY(eh_cell_set_text(&cells[1], "%s", scope_title(scope)));
        EH_TRY(eh_cell_set_text(&cells[2], is_task ? "null: %s" : "best null: %s", null_picker));
        for (int i = 0; i < 4 && 3 + i < table->column_count - 1; i++) {
            const int64_t null = i == 3 ? -1 : null_of(metric, figures[i], null_picker);
            EH_TRY(eh_cell_set_figure(metric, metric->first_phase, null, &cells[3 + i]));
        }
        EH_TRY(eh_cell_set_count(estimate, &cells[table->column_count - 1]));
    }
    return EH_OK;
}

// Rows "before", "after", the null pickers, each control and "change (after - before)" of one scope.
static eh_status add_score_rows(eh_table *table, const eh_report_run *run, const eh_metric_results *metric,
                                const score_names *names, const char *scope)
{
    const eh_results *results = run->results;
    int64_t figures[4];
    for (int i = 0; i < 4; i++)
        figures[i] = names->names[i] == NULL ? -1 : eh_results_figure(metric, names->names[i], NULL, scope);
    if (figures[1] < 0)
        return EH_OK;
    eh_cell *cells;
    for (int64_t p = 0; p < results->phase_count; p++) {
        if (metric->phases[p].table == NULL || !eh_phase_is_result(results->phases[p].name))
            continue;
        EH_TRY(eh_table_add_row(table, &cells));
        EH_TRY(eh_cell_set_text(&cells[0], "%s", results->name));
        EH_TRY(eh_cell_set_text(&cells[1], "%s", scope_title(scope)));
        EH_TRY(eh_cell_set_text(&cells[2], "%s", results->phases[p].name));
        for (int i = 0; i < 4 && 3 + i < table->column_count - 1; i++)
            EH_TRY(eh_cell_set_figure(metric, p, figures[i], &cells[3 + i]));
        EH_TRY(eh_cell_set_count(eh_results_estimate(metric, p, figures[1]), &cells[table->column_count - 1]));
    }
    EH_TRY(add_null_rows(table, run, metric, figures, scope));
    const int64_t before = eh_results_phase(results, "before"), after = eh_results_phase(results, "after");
    const eh_comparison *change = before < 0 || after < 0 ? NULL : eh_results_comparison(metric, before, after);
    if (change == NULL)
        return EH_OK;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", results->name));
    EH_TRY(eh_cell_set_text(&cells[1], "%s", scope_title(scope)));
    EH_TRY(eh_cell_set_text(&cells[2], "change"));
    for (int i = 0; i < 4 && 3 + i < table->column_count - 1; i++)
        EH_TRY(eh_cell_set_change(metric, change, figures[i], &cells[3 + i]));
    return eh_cell_set_text(&cells[table->column_count - 1], "%lld", (long long)change->differences[figures[1]].n);
}

static eh_status add_tasks(eh_table *table, const eh_report_run *run, const eh_metric_results *metric,
                           const score_names *names)
{
    static const char *const tasks[] = {"intrasentence", "intersentence", "all"};
    for (int t = 0; t < 3; t++) EH_TRY(add_score_rows(table, run, metric, names, tasks[t]));
    return EH_OK;
}

// Every scope of the SS figure but the tasks themselves.
static eh_status add_bias_types(eh_table *table, const eh_report_run *run, const eh_metric_results *metric,
                                const score_names *names)
{
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_figure_info *info = &metric->figures[f];
        if (f != eh_results_figure(metric, names->names[1], NULL, info->scope) || strcmp(info->scope, "all") == 0 ||
            strcmp(info->scope, "intrasentence") == 0 || strcmp(info->scope, "intersentence") == 0)
            continue;
        EH_TRY(add_score_rows(table, run, metric, names, info->scope));
    }
    return EH_OK;
}

typedef eh_status (*scope_rows)(eh_table *table, const eh_report_run *run, const eh_metric_results *metric,
                                const score_names *names);

static eh_status add_stereoset(eh_table_list *list, const eh_report_run *runs, int64_t run_count, const char *id,
                               const char *title, const char *note, bool with_margin, const score_names *names,
                               scope_rows rows)
{
    eh_table *table;
    if (with_margin)
        EH_TRY(eh_tables_begin(list, id, title, note,
                               COLUMNS("run", "task", "phase", "LMS", "SS", "ICAT", "margin (nats)", "n"), 8, &table));
    else
        EH_TRY(eh_tables_begin(list, id, title, note, COLUMNS("run", "task", "phase", "LMS", "SS", "ICAT", "n"), 7,
                               &table));
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t m = 0; m < runs[r].results->metric_count; m++) {
            const eh_metric_results *metric = &runs[r].results->metrics[m];
            if (strncmp(metric->name, "stereoset/likelihood", 20) == 0)
                EH_TRY(rows(table, &runs[r], metric, names));
        }
    table->long_list = true;
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

eh_status eh_tables_add_stereoset(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    static const char *const official_note =
        "LMS, SS: stereoset/official-macro (unweighted mean over target terms; random model 50/50/50, ideal "
        "100/50/100), by "
        "likelihood; the sum of log-probabilities within, their mean per token between sentences; null: a rule that "
        "does "
        "not read, LMS and ICAT not above the best of them are grey. Margin: mean of log "
        "P(stereotype) - log P(anti-stereotype), 0 is unbiased. Brackets: 95 % bootstrap intervals (terms, then "
        "items). "
        "Changes are paired; p by sign flips over terms (ICAT: bootstrap), Holm over the table.";
    static const char *const choice_note =
        "stereoset/choice, the study's counting: the best of three sentences, items pooled (chance 66.7/50/66.7, not "
        "comparable with stereoset/official-macro). Brackets: 95 % bootstrap intervals. p: Benjamini-Hochberg.";
    EH_TRY(add_stereoset(list, runs, run_count, "stereoset-by-task", "StereoSet by task, every phase", official_note,
                         true, &official, add_tasks));
    EH_TRY(add_stereoset(list, runs, run_count, "stereoset-by-task-choice",
                         "StereoSet by task in the study's counting, every phase", choice_note, false, &choice,
                         add_tasks));
    return add_stereoset(list, runs, run_count, "by-bias-type", "StereoSet by bias type, every phase", official_note,
                         true, &official, add_bias_types);
}
