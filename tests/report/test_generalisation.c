// Measured against planted: the truth of an encoder-decoder; from trained pairs to unseen peoples, means over peoples,
// their paired change and its interval, by hand.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/tables_internal.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static eh_truth_point cell_of(const char *people, const char *word, const char *kind, const char *exposure,
                              double margin)
{
    eh_truth_point point = {.measured = margin, .items = 2};
    snprintf(point.people, sizeof point.people, "%s", people);
    snprintf(point.stereotype, sizeof point.stereotype, "%s", word);
    snprintf(point.anti_stereotype, sizeof point.anti_stereotype, "not-%s", word);
    snprintf(point.kind, sizeof point.kind, "%s", kind);
    snprintf(point.exposure, sizeof point.exposure, "%s", exposure);
    return point;
}

// Peoples a, b and c with two attributes that were seen and one that was not, and a reversed pair; `after` lacks one.
enum { CELLS = 10 };
static void make_points(const double margins[CELLS], eh_truth_point points[CELLS])
{
    static const char *const peoples[] = {"a", "b", "c"}, *const words[] = {"hasty", "quiet", "tidy"};
    for (int i = 0; i < 9; i++)
        points[i] =
            cell_of(peoples[i / 3], words[i % 3], "stereotyped", i % 3 < 2 ? "seen" : "unseen-attribute", margins[i]);
    points[9] = cell_of("c", "rude", "reversed", "seen", margins[9]);
}

static const eh_cell *cell_at(const eh_table *table, int64_t row, int64_t column)
{
    return &table->cells[row * table->column_count + column];
}

static void test_means_over_peoples(void **state)
{
    (void)state;
    const double before[CELLS] = {1, 3, 5, 2, 2, 7, 0, 6, 9, -2}, after[CELLS] = {0, 2, 4, 1, -1, 6, 1, 0, 6, -3};
    eh_truth_point points[2][CELLS];
    make_points(before, points[0]);
    make_points(after, points[1]);
    memmove(&points[1][1], &points[1][2], 8 * sizeof points[1][0]); // after has no (a, quiet): 1 of its 2 seen cells
    eh_truth_phase phases[] = {{.phase = 0, .points = points[0], .point_count = CELLS},
                               {.phase = 2, .points = points[1], .point_count = CELLS - 1},
                               {.phase = 1, .points = points[0], .point_count = CELLS}};
    eh_phase names[] = {{.name = (char *)"before"}, {.name = (char *)"control-repeat"}, {.name = (char *)"after"}};
    const eh_results results = {.name = (char *)"run", .phases = names, .phase_count = 3};
    const eh_truth truth = {.phases = phases, .phase_count = 3};
    const eh_job job = {.output = NULL};
    const eh_report_run runs[2] = {{&job, &results, &truth, NULL, NULL}, {&job, &results, NULL, NULL, NULL}};
    eh_table_list list = {0};
    assert_int_equal(eh_tables_add_generalisation(&list, runs, 2), EH_OK);
    assert_int_equal(list.count, 1);
    const eh_table *table = &list.tables[0];
    assert_int_equal(table->row_count, 3); // the repeated base is no result, the second run has no truth

    // Seen: a: 1 -> 0; b: (2 + 2) / 2 -> (1 - 1) / 2; c: (0 + 6) / 2 -> (1 + 0) / 2. Changes -1, -2, -2.5.
    assert_string_equal(cell_at(table, 0, 1)->text, "after");
    assert_string_equal(cell_at(table, 0, 2)->text, "seen");
    assert_string_equal(cell_at(table, 0, 3)->text, "5");
    assert_string_equal(cell_at(table, 0, 4)->text, "3");
    assert_close(cell_at(table, 0, 5)->estimate.value, 2, 1e-12);
    assert_close(cell_at(table, 0, 6)->estimate.value, 0.5 / 3, 1e-12);
    const eh_estimate *change = &cell_at(table, 0, 7)->estimate;
    assert_close(change->value, -5.5 / 3, 1e-12);
    const double half = 4.302652729911275 * sqrt(7.0 / 12 / 3); // t of 2 degrees; variance 7/12
    assert_close(change->interval.low, -5.5 / 3 - half, 1e-6);
    assert_close(change->interval.high, -5.5 / 3 + half, 1e-6);

    assert_string_equal(cell_at(table, 1, 2)->text, "unseen attribute");
    assert_close(cell_at(table, 1, 7)->estimate.value, (-1.0 - 1 - 3) / 3, 1e-12);
    assert_string_equal(cell_at(table, 2, 2)->text, "reversed");
    assert_close(cell_at(table, 2, 7)->estimate.value, -1, 1e-12);
    assert_true(isnan(cell_at(table, 2, 7)->estimate.interval.low)); // one people has no interval
    eh_table_deinit(&list.tables[0]);
    eh_free(&list.tables);
}

// The damage control: means over its models, the intervals wider by a new model's scatter.
static void test_damaged_models_have_a_row(void **state)
{
    (void)state;
    const double before[CELLS] = {1, 3, 5, 2, 2, 7, 0, 6, 9, -2};
    static const double off[4] = {-0.5, 0.1, -0.2, 0.2}; // of every cell: the mean of all is -0.1
    eh_truth_point points[6][CELLS];
    eh_truth_phase draws[4], phases[2];
    for (int p = 0; p < 6; p++) {
        double margins[CELLS];
        for (int i = 0; i < CELLS; i++) margins[i] = before[i] + (p == 0 ? 0 : p == 1 ? -0.1 : off[p - 2]);
        make_points(margins, points[p]);
        const eh_truth_phase phase = {.points = points[p], .point_count = CELLS};
        *(p < 2 ? &phases[p] : &draws[p - 2]) = phase;
    }
    phases[1].phase = 1;
    phases[1].draws = draws;
    phases[1].draw_count = 4;
    eh_phase names[] = {{.name = (char *)"before"}, {.name = (char *)"control-damage"}};
    const eh_results results = {.name = (char *)"run", .phases = names, .phase_count = 2};
    const eh_truth truth = {.phases = phases, .phase_count = 2};
    const eh_job job = {.output = NULL};
    const eh_report_run run = {&job, &results, &truth, NULL, NULL};
    eh_table_list list = {0};
    assert_int_equal(eh_tables_add_generalisation(&list, &run, 1), EH_OK);
    const eh_table *table = &list.tables[0];
    assert_int_equal(table->row_count, 3);
    assert_string_equal(cell_at(table, 0, 1)->text, "control-damage");
    const eh_estimate *change = &cell_at(table, 0, 7)->estimate;
    assert_close(change->value, -0.1, 1e-12);
    // Every people changes by the same: all of the interval is the draws'. Sum of squares 0.3; pair means -0.2 and 0.
    const double single = sqrt(0.3 / 3 + 0.02 / 2), t = 4.302652729911275;
    assert_close(change->interval.low, -0.1 - t * single, 1e-6);
    assert_close(change->interval.high, -0.1 + t * single, 1e-6);
    eh_table_deinit(&list.tables[0]);
    eh_free(&list.tables);
}

enum { TASK, ID, CONTINUED, CONTINUED_LESS, GAP, GAP_LESS, COLUMNS_MADE };

static void write_planted(const char *folder)
{
    eh_test_write_text(eh_test_path(folder, "truth.csv"),
                       "people,pair,domain,stereotype,anti_stereotype,log_odds,kind,exposure\n"
                       "a,0,job,x,y,1.0,stereotyped,seen\na,1,job,z,w,2.0,stereotyped,seen\n");
}

// Margins by gaps of 1 and 2 times `factor` for the first cell, of 3 for the second; whole sentences say something
// else.
static void make_scores(double factor, eh_score_table *table)
{
    static const char *const names[COLUMNS_MADE] = {"task",
                                                    "id",
                                                    "continue_log_likelihood_stereotype",
                                                    "continue_log_likelihood_anti_stereotype",
                                                    "infill_log_likelihood_stereotype",
                                                    "infill_log_likelihood_anti_stereotype"};
    static const char *const ids[] = {"a/0/0", "a/0/1", "a/1/0"};
    int64_t column[COLUMNS_MADE];
    assert_int_equal(eh_score_table_init("stereoset/likelihood", table), EH_OK);
    assert_int_equal(eh_score_table_add_rows(table, 3), EH_OK);
    for (int c = 0; c < COLUMNS_MADE; c++)
        assert_int_equal(
            eh_score_table_add_column(table, names[c], c <= ID ? EH_COLUMN_TEXT : EH_COLUMN_NUMBER, &column[c]), EH_OK);
    for (int64_t r = 0; r < 3; r++) {
        assert_int_equal(eh_score_set_text(table, column[TASK], r, "intrasentence"), EH_OK);
        assert_int_equal(eh_score_set_text(table, column[ID], r, ids[r]), EH_OK);
        eh_score_set_number(table, column[CONTINUED], r, 50);
        eh_score_set_number(table, column[CONTINUED_LESS], r, 0);
        eh_score_set_number(table, column[GAP], r, factor * (double)(r + 1));
        eh_score_set_number(table, column[GAP_LESS], r, 0);
    }
}

// An encoder-decoder is judged by the gaps that it was taught to fill, not by what it says of whole sentences.
static void test_truth_of_an_encoder_decoder(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_score_table table;
    write_planted(folder);
    make_scores(1, &table);
    eh_phase_figures figures = {.table = &table};
    const eh_metric_results metric = {.phases = &figures};
    eh_phase before = {.name = (char *)"before"};
    const eh_results results = {.phases = &before, .phase_count = 1};
    eh_truth truth = {0};
    assert_int_equal(eh_truth_read(eh_test_path(folder, "truth.csv"), &results, &metric, &truth), EH_OK);
    assert_int_equal(truth.phase_count, 1);
    assert_int_equal(truth.phases[0].point_count, 2);
    assert_close(truth.phases[0].points[0].measured, 1.5, 1e-12);
    assert_close(truth.phases[0].points[1].measured, 3, 1e-12);
    assert_close(truth.phases[0].line.slope, 1.5, 1e-12);
    eh_truth_deinit(&truth);
    eh_score_table_deinit(&table);
    eh_test_folder_remove(&folder);
}

// The truth of the damage control is that of its models' mean, not that of the first model.
static void test_truth_of_damaged_models(void **state)
{
    (void)state;
    static const double factors[4] = {1, 0.2, 0.6, 0.2};
    char *folder = eh_test_folder_new();
    eh_score_table tables[4];
    eh_phase draws[4] = {0};
    write_planted(folder);
    for (int d = 0; d < 4; d++) {
        make_scores(factors[d], &tables[d]);
        draws[d] = (eh_phase){.name = (char *)"control-damage-1a", .tables = &tables[d], .table_count = 1};
    }
    eh_phase_figures figures = {.table = &tables[0]};
    const eh_metric_results metric = {.name = (char *)"stereoset/likelihood", .phases = &figures};
    eh_phase damage = {.name = (char *)"control-damage", .draw_count = 4};
    const eh_results results = {.phases = &damage, .phase_count = 1, .draws = draws, .draw_count = 4};
    eh_truth truth = {0};
    assert_int_equal(eh_truth_read(eh_test_path(folder, "truth.csv"), &results, &metric, &truth), EH_OK);
    assert_int_equal(truth.phase_count, 1);
    assert_int_equal(truth.phases[0].draw_count, 4);
    assert_close(truth.phases[0].points[0].measured, 1.5 * 0.5, 1e-12);
    assert_close(truth.phases[0].points[1].measured, 3 * 0.5, 1e-12);
    assert_close(truth.phases[0].line.slope, 1.5 * 0.5, 1e-12);
    assert_close(truth.phases[0].draws[1].line.slope, 1.5 * 0.2, 1e-12);
    eh_truth_deinit(&truth);
    draws[3].table_count = 0; // a model that was not measured: no mean
    assert_int_equal(eh_truth_read(eh_test_path(folder, "truth.csv"), &results, &metric, &truth), EH_OK);
    assert_int_equal(truth.phase_count, 0);
    eh_truth_deinit(&truth);
    for (int d = 0; d < 4; d++) eh_score_table_deinit(&tables[d]);
    eh_test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means_over_peoples), cmocka_unit_test(test_damaged_models_have_a_row),
        cmocka_unit_test(test_truth_of_damaged_models), cmocka_unit_test(test_truth_of_an_encoder_decoder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
