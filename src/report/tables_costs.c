// What every step took, beside what the plan had foretold: OUTPUT/costs.csv (each stage writes a line when it has
// succeeded), OUTPUT/predicted.csv (evenhand run, before it starts a training) and OUTPUT/training.csv (what was
// trained).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/columns.h"
#include "report/tables_internal.h"

#define MIB 1048576.0
enum { RUN, STEP, WEIGHTS, RANKS, SECONDS, FORETOLD_SECONDS, MEMORY, FORETOLD_MEMORY, COLUMN_COUNT };

// What is known of the steps of one folder: the run's own, or a control's.
typedef struct {
    eh_columns costs, predicted, training;
} folder_costs;

static eh_status read_folder(const char *folder, folder_costs *known)
{
    EH_TRY(eh_columns_read_if_there(folder, "costs.csv", &known->costs));
    EH_TRY(eh_columns_read_if_there(folder, "predicted.csv", &known->predicted));
    return eh_columns_read_if_there(folder, "training.csv", &known->training);
}

static const char *text_of(const eh_columns *columns, int64_t row, const char *name)
{
    return eh_columns_text(columns, row, eh_columns_find(columns, name));
}

static double number_of(const eh_columns *columns, int64_t row, const char *name)
{
    return eh_columns_number(columns, row, eh_columns_find(columns, name));
}

// Of a step that ran twice, the last counts.
static bool ran_again(const eh_columns *costs, int64_t row)
{
    for (int64_t later = row + 1; later < costs->row_count; later++)
        if (strcmp(text_of(costs, row, "step"), text_of(costs, later, "step")) == 0 &&
            strcmp(text_of(costs, row, "phase"), text_of(costs, later, "phase")) == 0)
            return true;
    return false;
}

static eh_status set_number(eh_cell *cell, double value, double unit, int decimals)
{
    return isfinite(value) && value > 0 ? eh_cell_set_text(cell, "%.*f", decimals, value / unit)
                                        : eh_cell_set_text(cell, "-");
}

static eh_status add_row(eh_table *table, const char *run, const char *control, const folder_costs *known, int64_t row)
{
    const eh_columns *costs = &known->costs, *predicted = &known->predicted;
    const char *step = text_of(costs, row, "step"), *phase = text_of(costs, row, "phase");
    double seconds = NAN, bytes = NAN;
    eh_cell *cells;
    for (int64_t p = 0; p < predicted->row_count; p++)
        if (strcmp(text_of(predicted, p, "step"), step) == 0 &&
            number_of(predicted, p, "ranks") == number_of(costs, row, "ranks")) {
            seconds = number_of(predicted, p, "seconds");
            bytes = number_of(predicted, p, "peak_bytes");
        }
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[RUN], "%s", run));
    EH_TRY(eh_cell_set_text(&cells[STEP], "%s%s%s%s%s", step, phase[0] != '\0' ? " " : "", phase,
                            control[0] != '\0' ? " of control " : "", control));
    if (strcmp(step, "finetune") == 0 && known->training.row_count > 0)
        EH_TRY(eh_cell_set_text(&cells[WEIGHTS], "%s of %s", text_of(&known->training, 0, "trained"),
                                text_of(&known->training, 0, "weights")));
    else
        EH_TRY(eh_cell_set_text(&cells[WEIGHTS], "-"));
    EH_TRY(eh_cell_set_text(&cells[RANKS], "%s", text_of(costs, row, "ranks")));
    EH_TRY(set_number(&cells[SECONDS], number_of(costs, row, "seconds"), 1, 1));
    EH_TRY(set_number(&cells[FORETOLD_SECONDS], seconds, 1, 1));
    EH_TRY(set_number(&cells[MEMORY], number_of(costs, row, "peak_bytes"), MIB, 1));
    return set_number(&cells[FORETOLD_MEMORY], bytes, MIB, 1);
}

static eh_status add_folder(eh_table *table, const char *run, const char *folder, const char *control)
{
    folder_costs known = {0};
    eh_status status = read_folder(folder, &known);
    for (int64_t row = 0; row < known.costs.row_count && status == EH_OK; row++)
        if (!ran_again(&known.costs, row) && strcmp(text_of(&known.costs, row, "step"), "report") != 0)
            status = add_row(table, run, control, &known, row);
    eh_columns_deinit(&known.costs);
    eh_columns_deinit(&known.predicted);
    eh_columns_deinit(&known.training);
    return status;
}

eh_status eh_tables_add_costs(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    static const char *const trained[] = {"placebo", "reversed", "neutral"};
    eh_table *table;
    EH_TRY(
        eh_tables_begin(list, "costs", "What it cost, measured and foretold",
                        "Foretold: by evenhand plan for these ranks, before the training began; the time of its steps "
                        "alone, of an evaluation that of its products, its texts at their greatest length. Memory: of "
                        "the fullest rank. Weights: those that were trained, of all.",
                        COLUMNS("run", "step", "trained weights", "ranks", "seconds", "foretold, s", "peak memory, MiB",
                                "foretold, MiB"),
                        COLUMN_COUNT, &table));
    table->sections = run_count > 1;
    table->long_list = true;
    for (int64_t r = 0; r < run_count; r++) {
        const char *title = eh_run_title(&runs[r], run_count), *folder = runs[r].results->folder;
        EH_TRY(add_folder(table, title, folder, ""));
        for (size_t c = 0; c < sizeof trained / sizeof *trained; c++) {
            char own[4096];
            snprintf(own, sizeof own, "%s/control-%s", folder, trained[c]);
            EH_TRY(add_folder(table, title, own, trained[c]));
        }
    }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}
