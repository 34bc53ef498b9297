// Scores that are not above a rule that does not read are grey, on a metric's figures made by hand.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/string.h"
#include "report/page.h"
#include "support/cmocka.h"

enum { MOST = 8 };
typedef struct {
    eh_figure_info figures[MOST];
    eh_estimate estimates[MOST];
    eh_score_table table;
    eh_phase_figures phase;
    eh_metric_results metric;
} made_metric;

static void make(made_metric *made, char *name)
{
    memset(made, 0, sizeof *made);
    made->metric = (eh_metric_results){.name = name, .figures = made->figures, .phases = &made->phase};
    made->phase = (eh_phase_figures){.table = &made->table, .estimates = made->estimates};
}

static int64_t add(made_metric *made, const char *name, const char *scope, const char *null_picker, double ideal,
                   double value)
{
    const int64_t f = made->metric.figure_count++;
    snprintf(made->figures[f].name, sizeof made->figures[f].name, "%s", name);
    snprintf(made->figures[f].scope, sizeof made->figures[f].scope, "%s", scope);
    snprintf(made->figures[f].null_picker, sizeof made->figures[f].null_picker, "%s", null_picker);
    snprintf(made->figures[f].unit, sizeof made->figures[f].unit, "%%");
    made->figures[f].ideal = ideal;
    made->estimates[f] = (eh_estimate){.value = value, .n = 100, .interval = {NAN, NAN}};
    made->phase.sample.figure_count = made->metric.figure_count;
    return f;
}

// PROTOCOL 3.10: always the first choice scores ICAT 66.65, so BLOOMZ's 55.47 is worse than that.
static void test_a_score_below_a_null_is_grey(void **state)
{
    (void)state;
    made_metric made;
    make(&made, (char[]){"stereoset/study"});
    const int64_t own = add(&made, "stereoset/study/ICAT", "all", "", 100, 55.47);
    const int64_t ss = add(&made, "stereoset/study/SS", "all", "", 50, 49.49);
    const int64_t task = add(&made, "stereoset/study/ICAT", "intrasentence", "", 100, 45.77);
    add(&made, "stereoset/study/ICAT", "all", "always-1", 100, 66.65);
    add(&made, "stereoset/study/SS", "all", "always-1", 50, 49.81);
    assert_true(eh_below_nulls(&made.metric, 0, own));
    assert_false(eh_below_nulls(&made.metric, 0, ss));   // SS has no better and worse
    assert_false(eh_below_nulls(&made.metric, 0, task)); // the null is of another scope
    made.estimates[own].value = 66.66;
    assert_false(eh_below_nulls(&made.metric, 0, own));
    made.estimates[own].value = 66.65; // as good as a rule is not better than it
    assert_true(eh_below_nulls(&made.metric, 0, own));
}

// Each definition has nulls of its own: those of one say nothing of another.
static void test_nulls_go_by_their_definition(void **state)
{
    (void)state;
    made_metric made;
    make(&made, (char[]){"stereoset/prompt@dev"});
    const int64_t letters = add(&made, "stereoset/constrained/LMS", "all", "", 100, 60);
    const int64_t text = add(&made, "stereoset/generated/LMS", "all", "", 100, 60);
    const int64_t null = add(&made, "stereoset/constrained/LMS", "all", "longest", 100, 66.7);
    assert_true(eh_below_nulls(&made.metric, 0, letters));
    assert_false(eh_below_nulls(&made.metric, 0, text));
    assert_false(eh_below_nulls(&made.metric, 0, null)); // a null is not judged by itself
    made.estimates[null].value = NAN;                    // a rule that has no score here
    assert_false(eh_below_nulls(&made.metric, 0, letters));
}

static void test_a_grey_cell_says_so_in_every_form(void **state)
{
    (void)state;
    eh_table table;
    eh_cell *cells;
    eh_string text = {0};
    const eh_estimate estimate = {.value = 55.47, .n = 100, .interval = {50, 60}};
    assert_int_equal(eh_table_init("t", "T", "N", (const char *const[]){"run", "ICAT"}, 2, &table), EH_OK);
    assert_int_equal(eh_table_add_row(&table, &cells), EH_OK);
    assert_int_equal(eh_cell_set_text(&cells[0], "bloomz"), EH_OK);
    assert_int_equal(eh_cell_set_estimate(&cells[1], &estimate, 2), EH_OK);
    cells[1].grey = true;
    assert_int_equal(eh_page_table(&table, true, &text), EH_OK);
    assert_non_null(strstr(text.bytes, "class=\"num grey\""));
    assert_non_null(strstr(text.bytes, "below null")); // not by colour alone
    eh_string_clear(&text);
    assert_int_equal(eh_table_to_markdown(&table, &text), EH_OK);
    assert_non_null(strstr(text.bytes, "55.47 [50.00, 60.00] (not above its nulls)"));
    eh_string_clear(&text);
    assert_int_equal(eh_table_to_latex(&table, &text), EH_OK);
    assert_non_null(strstr(text.bytes, "\\textcolor{gray}{55.47 [50.00, 60.00]}"));
    eh_string_deinit(&text);
    eh_table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_score_below_a_null_is_grey),
                                       cmocka_unit_test(test_nulls_go_by_their_definition),
                                       cmocka_unit_test(test_a_grey_cell_says_so_in_every_form)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
