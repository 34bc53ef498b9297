// The 2023 study's result tables in its own layout, for any number of models: its Table 1 (StereoSet), 3 (regard) and 4
// (toxicity and HONEST). A section is a task, a row is a model, columns are before and after fine-tuning. Scores that
// are counted differently never share a table: Table 1 comes once for each definition.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/tables_internal.h"

#define MOST_COLUMNS 3

// What a column shows in a scope: the first of these figures that there is.
typedef struct {
    const char *title, *scope, *figure;
} study_column;

typedef struct {
    const char *title;
    study_column columns[MOST_COLUMNS];
} study_section;

static eh_status start(eh_table_list *list, const char *id, const char *title, const char *note,
                       const char *const *columns, int64_t count, eh_table **table)
{
    const char *names[2 + 2 * MOST_COLUMNS] = {"section", "model"}, *groups[2 + 2 * MOST_COLUMNS] = {"", ""};
    for (int64_t c = 0; c < count; c++) {
        names[2 + c] = names[2 + count + c] = columns[c];
        groups[2 + c] = "before";
        groups[2 + count + c] = "after";
    }
    EH_TRY(eh_tables_begin(list, id, title, note, names, 2 + 2 * count, table));
    (*table)->sections = true;
    return eh_table_set_groups(*table, groups);
}

static eh_status add_row(eh_table *table, const char *section, const char *model, const eh_results *results,
                         const eh_metric_results *metric, const int64_t *figures, int64_t count)
{
    const int64_t phases[2] = {eh_results_phase(results, "before"), eh_results_phase(results, "after")};
    eh_cell *cells;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[0], "%s", section));
    EH_TRY(eh_cell_set_text(&cells[1], "%s", model));
    for (int p = 0; p < 2; p++)
        for (int64_t c = 0; c < count; c++) {
            eh_cell *cell = &cells[2 + p * count + c];
            EH_TRY(phases[p] < 0 ? eh_cell_set_text(cell, "-")
                                 : eh_cell_set_figure(metric, phases[p], figures[c], cell));
        }
    return EH_OK;
}

// How far a cell is from the best value there could be.
static double shortfall(const eh_cell *cell, double ideal)
{
    return cell->has_estimate && !cell->grey && isfinite(cell->estimate.value) ? fabs(cell->estimate.value - ideal)
                                                                               : INFINITY;
}

// Sets the best of each section in bold, before and after together, as the study did; where there is one model, its
// two phases are not a contest.
static void mark_best(eh_table *table, const double *ideals, int64_t count, int64_t run_count)
{
    const char *heading;
    for (int64_t r = 0, next; run_count > 1 && r < table->row_count; r = next) {
        for (next = r + 1; next < table->row_count && !eh_table_begins_section(table, next, &heading);) next++;
        for (int64_t c = 0; c < count; c++) {
            double least = INFINITY;
            for (int pass = 0; pass < 2; pass++)
                for (int64_t row = r; row < next; row++)
                    for (int p = 0; p < 2; p++) {
                        eh_cell *cell = &table->cells[row * table->column_count + 2 + p * count + c];
                        const double own = shortfall(cell, ideals[c]);
                        if (pass == 0)
                            least = fmin(least, own);
                        else
                            cell->best = isfinite(own) && own <= least;
                    }
        }
    }
}

// --- Table 1 ---
typedef struct {
    const char *id, *table, *names[3], *title, *note;
} stereoset_definition;

static const stereoset_definition definitions[] = {
    {"table1",
     "stereoset/likelihood",
     {"stereoset/official-macro/LM", "stereoset/official-macro/SS", "stereoset/official-macro/ICAT"},
     "StereoSet",
     "By likelihood, stereoset/official-macro: unweighted mean over target terms; a random model scores 50/50/50, an "
     "ideal one 100/50/100."},
    {"table1-choice",
     "stereoset/likelihood",
     {"stereoset/choice/LMS", "stereoset/choice/SS", "stereoset/choice/ICAT"},
     "StereoSet by likelihood in the study's counting",
     "stereoset/choice: the likeliest of three sentences, items pooled; a random choice scores 66.7/50/66.7."},
    {"table1-prompt",
     "stereoset/prompt",
     {"stereoset/constrained/LMS", "stereoset/constrained/SS", "stereoset/constrained/ICAT"},
     "StereoSet by prompt",
     "stereoset/constrained: the likeliest letter over all orders of the options; a random choice scores "
     "66.7/50/66.7. Grey: not above a rule that does not read."},
    {"table1-study",
     "stereoset/study",
     {"stereoset/study/LMS", "stereoset/study/SS", "stereoset/study/ICAT"},
     "StereoSet by the study's prompts and counting",
     "stereoset/study: what the model writes is parsed as the study did; a random choice scores 66.7/50/66.7. Grey: "
     "not "
     "above a rule that does not read."},
};

static eh_status add_scope(eh_table *table, const stereoset_definition *definition, const eh_report_run *runs,
                           int64_t run_count, const char *scope, const char *title)
{
    for (int64_t r = 0; r < run_count; r++) {
        const eh_metric_results *metric = eh_results_metric(runs[r].results, definition->table);
        int64_t figures[3];
        if (metric == NULL)
            continue;
        for (int i = 0; i < 3; i++) figures[i] = eh_results_figure(metric, definition->names[i], NULL, scope);
        if (figures[1] >= 0)
            EH_TRY(add_row(table, title, eh_run_title(&runs[r], run_count), runs[r].results, metric, figures, 3));
    }
    return EH_OK;
}

// Bias types as the first run that has the metric names them, over both tasks; where a metric has them by task alone,
// one after the other.
static eh_status add_bias_types(eh_table *table, const stereoset_definition *definition, const eh_report_run *runs,
                                int64_t run_count)
{
    const eh_metric_results *metric = NULL;
    for (int64_t r = 0; r < run_count && metric == NULL; r++)
        metric = eh_results_metric(runs[r].results, definition->table);
    bool whole = false;
    for (int64_t f = 0; metric != NULL && f < metric->figure_count; f++)
        whole = whole || eh_scope_is_bias_type(metric->figures[f].scope);
    for (int64_t f = 0; metric != NULL && f < metric->figure_count; f++) {
        const char *scope = metric->figures[f].scope;
        if (f == eh_results_figure(metric, definition->names[1], NULL, scope) &&
            (whole ? eh_scope_is_bias_type(scope) : strchr(scope, '/') != NULL))
            EH_TRY(add_scope(table, definition, runs, run_count, scope, scope));
    }
    return EH_OK;
}

static eh_status add_table1(eh_table_list *list, const stereoset_definition *definition, const eh_report_run *runs,
                            int64_t run_count, bool by_bias_type)
{
    static const double ideals[] = {100, 50, 100};
    static const char *const tasks[][2] = {
        {"intrasentence", "Intrasentence task"}, {"intersentence", "Intersentence task"}, {"all", "Global"}};
    char id[64], title[128], note[512];
    eh_table *table;
    snprintf(id, sizeof id, "%s%s", definition->id, by_bias_type ? "-by-bias-type" : "");
    snprintf(title, sizeof title, "%s by %s, before and after fine-tuning", definition->title,
             by_bias_type ? "bias type" : "task");
    snprintf(note, sizeof note, "%s Brackets: 95 %% bootstrap intervals.%s", definition->note,
             run_count > 1 ? " Bold: the best of its section." : "");
    EH_TRY(start(list, id, title, note, COLUMNS("LMS", "SS", "ICAT"), 3, &table));
    for (int t = 0; t < 3 && !by_bias_type; t++)
        EH_TRY(add_scope(table, definition, runs, run_count, tasks[t][0], tasks[t][1]));
    if (by_bias_type)
        EH_TRY(add_bias_types(table, definition, runs, run_count));
    mark_best(table, ideals, 3, run_count);
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

// --- Tables 3 and 4 ---
static const study_section regard_sections[] = {
    {"Mean values",
     {{"neutral", "all", "regard/mean/neutral"},
      {"positive", "all", "regard/mean/positive"},
      {"negative", "all", "regard/mean/negative"}}},
    {"Maximum values",
     {{"neutral", "all", "regard/maximum/neutral"},
      {"positive", "all", "regard/maximum/positive"},
      {"negative", "all", "regard/maximum/negative"}}},
};
static const study_section toxicity_sections[] = {
    {"Toxicity", {{"mean", "all", "toxicity/mean"}, {"maximum", "all", "toxicity/maximum"}}},
};
static const study_section honest_sections[] = {
    {"HONEST", {{"female", "female", "honest/score"}, {"male", "male", "honest/score"}}},
};

// The metric's table that has the column's figure.
static const eh_metric_results *find_figure(const eh_results *results, const study_column *column, int64_t *figure)
{
    *figure = -1;
    for (int64_t m = 0; m < results->metric_count; m++) {
        *figure = eh_results_figure(&results->metrics[m], column->figure, NULL, column->scope);
        if (*figure >= 0)
            return &results->metrics[m];
    }
    return NULL;
}

static eh_status add_section(eh_table *table, const study_section *section, int64_t column_count,
                             const eh_report_run *runs, int64_t run_count)
{
    for (int64_t r = 0; r < run_count; r++) {
        const eh_metric_results *metric = NULL;
        int64_t figures[MOST_COLUMNS] = {-1, -1, -1};
        for (int64_t c = 0; c < column_count; c++) {
            const eh_metric_results *found = find_figure(runs[r].results, &section->columns[c], &figures[c]);
            if (metric == NULL)
                metric = found;
            else if (found != metric)
                figures[c] = -1; // of another table: it can't stand in this row
        }
        if (metric != NULL)
            EH_TRY(add_row(table, section->title, eh_run_title(&runs[r], run_count), runs[r].results, metric, figures,
                           column_count));
    }
    return EH_OK;
}

static eh_status add_sections(eh_table_list *list, const char *id, const char *title, const char *note,
                              const study_section *sections, int64_t section_count, int64_t column_count,
                              const eh_report_run *runs, int64_t run_count)
{
    const char *columns[MOST_COLUMNS];
    eh_table *table;
    for (int64_t c = 0; c < column_count; c++) columns[c] = sections[0].columns[c].title;
    EH_TRY(start(list, id, title, note, columns, column_count, &table));
    for (int64_t s = 0; s < section_count; s++) EH_TRY(add_section(table, &sections[s], column_count, runs, run_count));
    eh_tables_drop_if_empty(list);
    return EH_OK;
}

eh_status eh_tables_add_study(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    for (int by_bias_type = 0; by_bias_type < 2; by_bias_type++)
        for (size_t d = 0; d < sizeof definitions / sizeof *definitions; d++)
            EH_TRY(add_table1(list, &definitions[d], runs, run_count, by_bias_type == 1));
    EH_TRY(
        add_sections(list, "table3", "Regard, before and after fine-tuning",
                     "A regard classifier's probabilities over the continuations. A maximum grows with the number of "
                     "texts: its interval means little. Brackets: 95 % bootstrap intervals.",
                     regard_sections, 2, 3, runs, run_count));
    EH_TRY(add_sections(list, "table4", "Toxicity, before and after fine-tuning",
                        "A classifier's probability that a continuation is toxic. Brackets: 95 % bootstrap intervals.",
                        toxicity_sections, 1, 2, runs, run_count));
    return add_sections(list, "table4-honest", "HONEST, before and after fine-tuning",
                        "Share of hurtful completions. Brackets: 95 % bootstrap intervals.", honest_sections, 1, 2,
                        runs, run_count);
}
