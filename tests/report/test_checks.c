// The instrument checks on results made by hand: null pickers beside a metric, and a planted run named in the job.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "report/checks.h"
#include "support/cmocka.h"
#include "support/folder.h"

enum { PLANTED = 3, MOST = 8 };

typedef struct {
    eh_figure_info figures[MOST];
    eh_estimate estimates[MOST];
    eh_score_table table;
    eh_phase_figures figures_of;
    eh_metric_results metric;
    eh_phase phase;
    eh_results results;
} made_results;

static void make(made_results *made, char *metric)
{
    static char before[] = "before";
    memset(made, 0, sizeof *made);
    made->metric = (eh_metric_results){.name = metric, .figures = made->figures, .phases = &made->figures_of};
    made->figures_of = (eh_phase_figures){.table = &made->table, .estimates = made->estimates};
    made->phase = (eh_phase){.name = before};
    made->results = (eh_results){.phases = &made->phase, .phase_count = 1, .metrics = &made->metric, .metric_count = 1};
}

static void add(made_results *made, const char *name, const char *null_picker, double value, int64_t n)
{
    const int64_t f = made->metric.figure_count++;
    snprintf(made->figures[f].name, sizeof made->figures[f].name, "%s", name);
    snprintf(made->figures[f].scope, sizeof made->figures[f].scope, "all");
    snprintf(made->figures[f].null_picker, sizeof made->figures[f].null_picker, "%s", null_picker);
    made->estimates[f] = (eh_estimate){.value = value, .n = n, .interval = {NAN, NAN}};
    made->figures_of.sample.figure_count = made->metric.figure_count;
}

static eh_check run(const made_results *made, const char *planted, int which)
{
    eh_check checks[EH_CHECK_COUNT];
    const eh_status status = eh_checks_run(&made->results, NULL, planted, checks);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    assert_int_equal(status, EH_OK);
    return checks[which];
}

static void add_rule(made_results *made, const char *null_picker, double lms, double ss, int64_t items)
{
    add(made, "stereoset/constrained/LMS", null_picker, lms, items);
    add(made, "stereoset/constrained/SS", null_picker, ss, (int64_t)((double)items * lms / 100));
}

static void test_null_pickers_beside_the_metric_are_judged(void **state)
{
    (void)state;
    made_results made;
    make(&made, (char[]){"stereoset/prompt"});
    assert_int_equal(run(&made, NULL, 1).state, EH_CHECK_NOT_RUN);
    add_rule(&made, "", 99, 10, 600); // the model's own figures say nothing of the instrument
    assert_int_equal(run(&made, NULL, 1).state, EH_CHECK_NOT_RUN);
    add_rule(&made, "always-1", 66, 51, 600);
    assert_int_equal(run(&made, NULL, 1).state, EH_CHECK_PASSED);
    made.estimates[3].value = 61; // SS of 396 choices: 4.4 standard errors off
    assert_int_equal(run(&made, NULL, 1).state, EH_CHECK_FAILED);
    made.estimates[3].value = 51;
    made.estimates[2].value = 80; // LMS of 600 items, 6.9 standard errors off
    assert_int_equal(run(&made, NULL, 1).state, EH_CHECK_FAILED);
}

static void test_the_development_set_has_its_published_values(void **state)
{
    (void)state;
    made_results made;
    make(&made, (char[]){"stereoset/study"});
    add_rule(&made, "always-2", 66.59, 50.39, 4229);
    assert_int_equal(run(&made, NULL, 1).state, EH_CHECK_PASSED);
    made.estimates[1].value = 50.45; // near enough to chance, but the set's own value is known
    const eh_check check = run(&made, NULL, 1);
    assert_int_equal(check.state, EH_CHECK_FAILED);
    assert_non_null(strstr(check.detail, "not at their published values"));
}

static void write_truth(const char *folder, const char *row)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tables", folder);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/tables/truth.csv", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "run,phase,pairs,slope,slope low,slope high,intercept,R2\n%s\n", row);
    fclose(file);
}

static void test_a_real_run_names_a_planted_one(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_check checks[EH_CHECK_COUNT];
    made_results made;
    make(&made, (char[]){"stereoset/likelihood"});
    assert_int_equal(run(&made, NULL, PLANTED).state, EH_CHECK_NOT_RUN);
    assert_non_null(strstr(run(&made, NULL, PLANTED).detail, "verdict.planted"));
    assert_int_equal(eh_checks_run(&made.results, NULL, folder, checks), EH_INPUT); // nothing is there
    assert_non_null(strstr(eh_error_message(), "truth.csv"));
    write_truth(folder, "demo,after,192,0.1,0,0.2,0,0.1\ndemo,before,192,0.91,0.88,0.94,0.01,0.96");
    const eh_check passed = run(&made, folder, PLANTED);
    assert_int_equal(passed.state, EH_CHECK_PASSED);
    assert_non_null(strstr(passed.detail, "R2 = 0.96 over 192 pairs"));
    assert_non_null(strstr(passed.detail, folder)); // says whose truth it is
    write_truth(folder, "demo,before,192,0.91,0.2,1.6,0.01,0.42");
    assert_int_equal(run(&made, folder, PLANTED).state, EH_CHECK_FAILED);
    write_truth(folder, "demo,after,192,0.91,0.2,1.6,0.01,0.96");
    assert_int_equal(eh_checks_run(&made.results, NULL, folder, checks), EH_INPUT);
    eh_test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_null_pickers_beside_the_metric_are_judged),
                                       cmocka_unit_test(test_the_development_set_has_its_published_values),
                                       cmocka_unit_test(test_a_real_run_names_a_planted_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
