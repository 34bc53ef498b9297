// The page of many runs: which of them belong together, a line each for the verdicts, a curve for each group of sizes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "report/groups.h"
#include "report/page.h"
#include "report/page_plots_internal.h"
#include "support/cmocka.h"

enum { MOST_RUNS = 10, PHASES = 2 };

// Runs made up: `before` and `after` have a bias, a score and bits per byte.
typedef struct {
    eh_job jobs[MOST_RUNS];
    eh_results results[MOST_RUNS];
    eh_phase phases[MOST_RUNS][PHASES];
    eh_estimate estimates[MOST_RUNS][PHASES][2];
    eh_phase_figures figures[MOST_RUNS][2][PHASES];
    eh_metric_results metrics[MOST_RUNS][2];
    eh_verdict_row rows[MOST_RUNS];
    eh_verdicts verdicts[MOST_RUNS];
    eh_report_run runs[MOST_RUNS];
    int64_t count;
} sweep;

static const eh_figure_info bias_figure = {.name = "stereoset/margin", .scope = "all", .unit = "nats", .main = true};
static const eh_figure_info text_figure = {
    .name = "perplexity/bits-per-byte", .scope = "all", .unit = "bits/byte", .main = true};
static const eh_score_table table; // that there is one is all that is asked

static void add_run(sweep *made, const char *name, const char *job, const char *architecture, double parameters)
{
    const int64_t r = made->count++;
    const char *text = "output: out\n";
    char whole[256];
    snprintf(whole, sizeof whole, "%sname: %s\n%s", text, name, job);
    assert_int_equal(eh_job_parse("made-up.yaml", whole, strlen(whole), NULL, 0, &made->jobs[r]), EH_OK);
    for (int p = 0; p < PHASES; p++) {
        made->phases[r][p] = (eh_phase){.name = (char *)(p == 0 ? "before" : "after"),
                                        .architecture = (char *)architecture,
                                        .parameters = parameters};
        for (int m = 0; m < 2; m++) {
            made->estimates[r][p][m] =
                (eh_estimate){.value = m == 0 ? 0.3 - 0.2 * p : 1 + 0.1 * p, .interval = {0, 0.5}, .n = 10};
            made->figures[r][m][p] = (eh_phase_figures){
                .table = &table, .estimates = &made->estimates[r][p][m], .sample = {.figure_count = 1}};
        }
    }
    made->metrics[r][0] = (eh_metric_results){.name = (char *)"stereoset/likelihood",
                                              .figure_count = 1,
                                              .figures = &bias_figure,
                                              .phases = made->figures[r][0]};
    made->metrics[r][1] = (eh_metric_results){.name = (char *)"perplexity/held-out",
                                              .figure_count = 1,
                                              .figures = &text_figure,
                                              .phases = made->figures[r][1]};
    made->results[r] = (eh_results){.name = (char *)name,
                                    .phases = made->phases[r],
                                    .phase_count = PHASES,
                                    .metrics = made->metrics[r],
                                    .metric_count = 2};
    made->rows[r] = (eh_verdict_row){.unit = "nats",
                                     .verdict = EH_VERDICT_TRADE_OFF,
                                     .reason = "it costs too much",
                                     .base = {.value = 0.3},
                                     .treated = {.value = 0.1}};
    made->verdicts[r] = (eh_verdicts){.rows = &made->rows[r], .row_count = 1, .instrument_is_sound = true};
    for (int c = 0; c < EH_CHECK_COUNT; c++)
        made->verdicts[r].checks[c] = (eh_check){.name = "made up", .state = EH_CHECK_PASSED};
    made->runs[r] = (eh_report_run){&made->jobs[r], &made->results[r], NULL, &made->verdicts[r], NULL};
}

static void deinit(sweep *made)
{
    for (int64_t r = 0; r < made->count; r++) eh_job_deinit(&made->jobs[r]);
}

static int count_of(const char *text, const char *words)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++) count++;
    return count;
}

static void test_runs_that_differ_in_one_thing_belong_together(void **state)
{
    (void)state;
    sweep *made = calloc(1, sizeof *made);
    add_run(made, "a", "model: {path: small}\nseed: 1\n", "bloom", 1e5);
    add_run(made, "b", "model: {path: small}\nseed: 2\n", "bloom", 1e5);
    add_run(made, "c", "model: {path: large}\nseed: 1\nmemory: {zero: 1}\n", "bloom", 1e6);
    add_run(made, "d", "model: {path: small}\nseed: 1\ntrain: {lr: 1.0e-2}\n", "bloom", 1e5);
    int64_t group[MOST_RUNS];
    assert_int_equal(eh_group_runs(made->runs, 4, EH_DIFFER_IN_SEED, group), EH_OK);
    assert_true(group[0] == 0 && group[1] == 0 && group[2] == 2 && group[3] == 3);
    assert_int_equal(eh_group_runs(made->runs, 4, EH_DIFFER_IN_MODEL, group), EH_OK);
    assert_true(group[0] == 0 && group[1] == 0 && group[2] == 0 && group[3] == 3);
    deinit(made);
    free(made);
}

// Sizes of one architecture and one setting make a curve; others would be another question.
static void test_a_scaling_curve_joins_what_differs_in_size_alone(void **state)
{
    (void)state;
    sweep *made = calloc(1, sizeof *made);
    add_run(made, "path-small_slow", "model: {path: small}\ntrain: {lr: 1.0e-4}\n", "bloom", 1e5);
    add_run(made, "path-large_slow", "model: {path: large}\ntrain: {lr: 1.0e-4}\n", "bloom", 1e6);
    add_run(made, "path-small_fast", "model: {path: small}\ntrain: {lr: 1.0e-2}\n", "bloom", 1e5);
    add_run(made, "path-large_fast", "model: {path: large}\ntrain: {lr: 1.0e-2}\n", "bloom", 1e6);
    add_run(made, "path-other_slow", "model: {path: other}\ntrain: {lr: 1.0e-4}\n", "gpt2", 3e5);
    add_run(made, "path-third_slow", "model: {path: third}\ntrain: {lr: 1.0e-4}\nseed: 7\n", "bloom", 3e6);
    eh_string html = {0};
    assert_int_equal(eh_page_scaling(made->runs, made->count, &html), EH_OK);
    assert_int_equal(count_of(html.bytes, "<figure"), 2);
    assert_non_null(strstr(html.bytes, "Scaling: bias, bloom, slow"));
    assert_non_null(strstr(html.bytes, "Scaling: bias, bloom, fast"));
    assert_null(strstr(html.bytes, "gpt2"));
    assert_null(strstr(html.bytes, "path-other"));
    assert_int_equal(count_of(html.bytes, "class=\"way l"), 4); // before and after, twice; the third's seed is another
    eh_string_deinit(&html);
    deinit(made);
    free(made);
}

static void test_many_verdicts_are_a_list_and_a_plane_of_ways(void **state)
{
    (void)state;
    sweep *made = calloc(1, sizeof *made);
    char names[MOST_RUNS][8];
    for (int r = 0; r < MOST_RUNS; r++) {
        snprintf(names[r], sizeof names[r], "run-%d", r);
        add_run(made, names[r], "model: {path: m}\n", "bloom", 1e5);
    }
    made->rows[3].verdict = EH_VERDICT_EFFECTIVE;
    made->verdicts[4].any_failed = true;
    for (int few = 0; few < 2; few++) {
        eh_string list = {0};
        assert_int_equal(eh_page_verdicts(made->runs, few ? 9 : 10, &list), EH_OK);
        assert_int_equal(count_of(list.bytes, "<article"), few ? 9 : 0);
        assert_int_equal(count_of(list.bytes, "<a href=\"run-"), few ? 9 : 10);
        assert_int_equal(count_of(list.bytes, "<tr"), few ? 0 : 11);
        assert_int_equal(count_of(list.bytes, ">trade-off</td>"), few ? 0 : 8);
        assert_int_equal(count_of(list.bytes, ">effective</td>"), few ? 0 : 1);
        assert_int_equal(count_of(list.bytes, ">none: the instrument failed a check</td>"), few ? 0 : 1);
        eh_string_deinit(&list);

        eh_string plane = {0};
        assert_int_equal(eh_page_plane(made->runs, few ? 6 : 10, &plane), EH_OK);
        assert_int_equal(count_of(plane.bytes, "class=\"way l"), few ? 6 : 10);
        assert_int_equal(count_of(plane.bytes, ">run-"), few ? 6 + 12 : 20);      // a legend's; two titles a run
        assert_int_equal(count_of(plane.bytes, "class=\"way l4\""), few ? 1 : 8); // trade-off
        assert_int_equal(count_of(plane.bytes, "class=\"way l2\""), 1);           // effective
        eh_string_deinit(&plane);
    }
    deinit(made);
    free(made);
}

// A table of a thousand rows is a file's; on the page of one run it is folded.
static void test_the_longest_tables_are_left_to_their_files(void **state)
{
    (void)state;
    static const char *const columns[] = {"run", "value"};
    eh_table long_table;
    assert_int_equal(eh_table_init("made-up", "Made up", "a note", columns, 2, &long_table), EH_OK);
    long_table.long_list = true;
    for (int r = 0; r < 1000; r++) {
        eh_cell *cells;
        assert_int_equal(eh_table_add_row(&long_table, &cells), EH_OK);
        assert_int_equal(eh_cell_set_text(&cells[0], "run"), EH_OK);
        assert_int_equal(eh_cell_set_text(&cells[1], "%d", r), EH_OK);
    }
    for (int several = 0; several < 2; several++) {
        eh_string html = {0};
        assert_int_equal(eh_page_table(&long_table, several, &html), EH_OK);
        assert_int_equal(count_of(html.bytes, "<tr"), several ? 0 : 1001);
        assert_int_equal(count_of(html.bytes, "<details"), several ? 0 : 1);
        assert_int_equal(count_of(html.bytes, "(1000 rows, in its files)"), several);
        assert_int_equal(count_of(html.bytes, "href=\"tables/made-up.csv\""), 1);
        eh_string_deinit(&html);
    }
    eh_table_deinit(&long_table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_that_differ_in_one_thing_belong_together),
        cmocka_unit_test(test_a_scaling_curve_joins_what_differs_in_size_alone),
        cmocka_unit_test(test_the_longest_tables_are_left_to_their_files),
        cmocka_unit_test(test_many_verdicts_are_a_list_and_a_plane_of_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
