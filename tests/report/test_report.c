// The report of made-up scores: a planted world, "measured" by a formula with noise. MADE UP: nothing here is a result.
// The files of a run can be kept to be looked at: test_report FOLDER.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "report/report.h"
#include "report/verdict.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"
#include "support/made_run.h"

static eh_comm *comm;
static const char *kept;

static void make_run(const char *folder, const char *after_digest, eh_job *job)
{
    const eh_made_model models[] = {{"before", "aaaa", 0.8, 2, 0.6, 0.5, 1.50, 1000},
                                    {"after", after_digest, 0.3, 1.7, 0.6, 0.1, 1.51, 1000},
                                    {"step-50", "s050", 0.7, 1.9, 0.6, 0.4, 1.495, 1000},
                                    {"step-100", "s100", 0.6, 1.8, 0.6, 0.3, 1.505, 1000},
                                    {"control-damage-1a", "c1a", 0.65, 1, 1.2, 0.4, 1.53, 1000},
                                    {"control-damage-1b", "c1b", 0.55, 1, 1.2, 0.4, 1.53, 1000},
                                    {"control-damage-2a", "c2a", 0.58, 1, 1.2, 0.4, 1.53, 1000},
                                    {"control-damage-2b", "c2b", 0.62, 1, 1.2, 0.4, 1.53, 1000},
                                    {"control-placebo", "dddd", 0.78, 1.9, 0.6, 0.48, 1.51, 1000},
                                    {"control-repeat", "aaaa", 0.8, 2, 0.6, 0.5, 1.50, 1000},
                                    {"control-reversed", "eeee", 1.1, 1.9, 0.6, 0.7, 1.52, 1000}};
    eh_made_run(comm, folder, "made up <b>&", models, sizeof models / sizeof *models, 1000, job);
}

static eh_status make_report(const eh_job *job)
{
    const eh_log log = eh_log_to_stderr("test_report", true);
    const eh_status status = eh_report_make(job, &log);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    return status;
}

static void assert_holds(const char *folder, const char *name, const char *words, bool expected)
{
    char *text = eh_test_read(eh_test_path(folder, name), NULL);
    if ((strstr(text, words) != NULL) != expected)
        fprintf(stderr, "%s: '%s' is %s\n", name, words, expected ? "missing" : "there");
    assert_true((strstr(text, words) != NULL) == expected);
    free(text);
}

static void test_a_run_becomes_tables_and_a_page(void **state)
{
    (void)state;
    char *folder = kept != NULL ? strdup(kept) : eh_test_folder_new();
    eh_job job;
    make_run(folder, "bbbb", &job);
    job.report.reference = strdup(eh_test_path(folder, "published.csv"));
    eh_test_write_text(job.report.reference,
                       "label,figure,value,source\nmade up,stereoset/official-macro/SS,61.93,a <paper>\n");
    assert_int_equal(make_report(&job), EH_OK);
    static const char *const files[] = {"report.html",
                                        "tables/table1.csv",
                                        "tables/table1.md",
                                        "tables/table1.tex",
                                        "tables/by-bias-type.csv",
                                        "tables/truth.csv",
                                        "tables/verdict.csv",
                                        "tables/figures.csv",
                                        "tables/missing.csv",
                                        "tables/overview.md",
                                        "tables/transfer.csv",
                                        "tables/trajectory.csv",
                                        "tables/stereoset-by-task.csv"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        assert_true(eh_test_exists(eh_test_path(folder, files[f])));
    assert_holds(folder, "report.html", "made up <b>&", false);
    assert_holds(folder, "report.html", "made up &lt;b&gt;&amp;", true);
    assert_holds(folder, "report.html", "should not be used to train any machine learning models", true);
    assert_holds(folder, "report.html", "Published elsewhere, <b>a</b>: made up 61.93.", true);
    assert_holds(folder, "tables/reference.csv", "stereoset/official-macro/SS,made up,61.93,a <paper>", true);
    assert_holds(folder, "report.html", "src=", false); // nothing is loaded from elsewhere
    assert_holds(folder, "report.html", "http", false);
    assert_holds(folder, "tables/verdict.csv", "more than damage explains, at a capability loss below the margin",
                 true);
    assert_holds(folder, "tables/missing.csv", "stereoset/likelihood,before,576,1,", true);
    eh_job_deinit(&job);
    if (kept == NULL)
        eh_test_folder_remove(&folder);
    else
        free(folder);
}

// The best of the rules that do not read stands beside each bias type's scores.
static void test_bias_types_have_their_best_null(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_job job;
    make_run(folder, "bbbb", &job);
    assert_int_equal(make_report(&job), EH_OK);
    const eh_log log = eh_log_to_stderr("test_report", false);
    const eh_bootstrap_settings settings = {.replicates = job.report.replicates, .seed = job.seed};
    eh_results results;
    assert_int_equal(eh_results_read("again", job.output, &settings, &log, &results), EH_OK);
    const eh_metric_results *metric = eh_results_metric(&results, "stereoset/likelihood");
    char *text = eh_test_read(eh_test_path(folder, "tables/by-bias-type.csv"), NULL);
    int checked = 0;
    for (const char *at = text; (at = strstr(at, ",best null: ")) != NULL; at++) {
        const char *line = at, *cell = at + 1;
        while (line > text && line[-1] != '\n') line--;
        for (const char *c; (c = memchr(line, ',', (size_t)(at - line))) != NULL;) line = c + 1; // the scope
        for (int column = 0; column < 11; column++) cell = strchr(cell, ',') + 1; // past LMS and SS, five cells each
        double best = -INFINITY;
        for (int64_t f = 0; f < metric->figure_count; f++) {
            const eh_figure_info *info = &metric->figures[f];
            if (info->null_picker[0] != '\0' && strcmp(info->name, "stereoset/official-macro/ICAT") == 0 &&
                strlen(info->scope) == (size_t)(at - line) && strncmp(info->scope, line, (size_t)(at - line)) == 0)
                best = fmax(best, eh_results_estimate(metric, metric->first_phase, f)->value);
        }
        assert_true(fabs(strtod(cell, NULL) - best) < 1e-6);
        checked++;
    }
    assert_true(checked > 3);
    free(text);
    eh_results_deinit(&results);
    eh_job_deinit(&job);
    eh_test_folder_remove(&folder);
}

static void test_runs_of_a_sweep_stand_beside_each_other(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_job job;
    make_run(folder, "bbbb", &job);
    char sweep[4096];
    snprintf(sweep, sizeof sweep, "%s/sweep", folder);
    const eh_log log = eh_log_to_stderr("test_report", true);
    const eh_job *const jobs[] = {&job, &job};
    const char *const names[] = {"small", "large"};
    assert_int_equal(eh_report_make_sweep(sweep, jobs, names, 2, &log), EH_OK);
    assert_holds(sweep, "report.html", "large/report.html", true);
    assert_holds(sweep, "report.html", "Bias against capability: mitigation or damage?", true);
    assert_holds(sweep, "tables/stereoset-by-task.csv", "small,intrasentence,before,", true);
    assert_holds(sweep, "tables/stereoset-by-task.csv", "large,intrasentence,before,", true);
    assert_holds(sweep, "tables/table1.csv", "section,model,before LMS,", true);
    assert_holds(sweep, "tables/table1.csv", "\nGlobal,large,", true);
    assert_holds(sweep, "tables/table1.md", "| **Intersentence task** |", true);
    assert_holds(sweep, "tables/table1.tex", "\\multicolumn{3}{c}{before} & \\multicolumn{3}{c}{after}", true);
    assert_holds(sweep, "tables/overview.csv", "\nlarge,control-damage,", true);
    assert_holds(sweep, "tables/overview.csv", "control-damage-1a", false);
    // The same scores under two seeds: nothing between them, the items' scatter within.
    assert_holds(sweep, "tables/seeds.md",
                 "| small | perplexity/held-out | perplexity/bits-per-byte | after - before | 2 |", true);
    assert_holds(sweep, "tables/seeds.csv", "small,stereoset/likelihood,stereoset/margin,after,2,", true);
    eh_job_deinit(&job);
    eh_test_folder_remove(&folder);
}

static void read_again(const eh_job *job, int64_t replicates, bool expected, const eh_results *first)
{
    const eh_log log = eh_log_to_stderr("test_report", false);
    const eh_bootstrap_settings settings = {.replicates = replicates, .seed = job->seed};
    eh_results results;
    assert_int_equal(eh_results_read("again", job->output, &settings, &log, &results), EH_OK);
    assert_true(results.kept == expected);
    for (int64_t m = 0; m < results.metric_count && first != NULL; m++) {
        const eh_metric_results *own = &results.metrics[m], *other = &first->metrics[m];
        const size_t size = (size_t)own->figure_count * sizeof(eh_estimate);
        assert_int_equal(own->figure_count, other->figure_count);
        assert_memory_equal(own->phases[1].estimates, other->phases[1].estimates, size);
        assert_int_equal(own->comparison_count, other->comparison_count);
        for (int64_t c = 0; c < own->comparison_count; c++) {
            assert_memory_equal(own->comparisons[c].differences, other->comparisons[c].differences, size);
            for (int64_t f = 0; f < own->figure_count; f++)
                assert_string_equal(own->comparisons[c].tests[f], other->comparisons[c].tests[f]);
        }
    }
    eh_results_deinit(&results);
}

// A second report of the same scores draws nothing; of other scores, settings or a torn file it draws all.
static void test_what_was_computed_is_kept(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_job job;
    make_run(folder, "bbbb", &job);
    const eh_log log = eh_log_to_stderr("test_report", false);
    const eh_bootstrap_settings settings = {.replicates = 300, .seed = job.seed};
    eh_results first;
    assert_int_equal(eh_results_read("first", job.output, &settings, &log, &first), EH_OK);
    assert_false(first.kept);
    read_again(&job, 300, true, &first);
    assert_int_equal(truncate(eh_test_path(folder, "report.kept"), 5000), 0);
    read_again(&job, 300, false, &first);
    read_again(&job, 200, false, NULL);
    eh_results_deinit(&first);
    eh_job_deinit(&job);
    make_run(folder, "bbbc", &job); // scores of another model
    read_again(&job, 200, false, NULL);
    eh_job_deinit(&job);
    eh_test_folder_remove(&folder);
}

static void test_equal_digests_before_and_after_are_refused(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_job job;
    make_run(folder, "aaaa", &job);
    assert_int_equal(make_report(&job), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "same model"));
    assert_false(eh_test_exists(eh_test_path(folder, "report.html")));
    eh_job_deinit(&job);
    eh_test_folder_remove(&folder);
}

static void test_a_run_without_scores_is_refused_in_words(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_job job;
    eh_made_run(comm, folder, "empty", NULL, 0, 100, &job);
    assert_int_equal(make_report(&job), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "run evenhand-evaluate first"));
    eh_job_deinit(&job);
    eh_test_folder_remove(&folder);
}

static eh_evidence evidence(double low, double high, double excess_low, double loss_low, double loss_high)
{
    return (eh_evidence){.effect = {.value = (low + high) / 2,
                                    .interval = {low, high},
                                    .ninety = {low + 0.08 * (high - low), high - 0.08 * (high - low)}},
                         .has_excess = true,
                         .has_loss = true,
                         .excess = {.interval = {excess_low, excess_low + 1}},
                         .loss = {loss_low, loss_high},
                         .margin = 2,
                         .capability_margin = 0.02};
}

// PROTOCOL part 5's table, row by row.
static void test_the_verdict_follows_the_table(void **state)
{
    (void)state;
    const struct {
        eh_evidence evidence;
        eh_verdict verdict;
    } cases[] = {
        {evidence(3, 6, 1, -0.01, 0.01), EH_VERDICT_EFFECTIVE},
        {evidence(3, 6, 1, 0.03, 0.06), EH_VERDICT_TRADE_OFF},
        {evidence(3, 6, -0.5, 0.03, 0.06), EH_VERDICT_DAMAGE_ONLY},
        {evidence(3, 6, 1, 0.01, 0.03), EH_VERDICT_INCONCLUSIVE}, // the loss is not told from its margin
        {evidence(3, 6, -0.5, -0.01, 0.01), EH_VERDICT_INCONCLUSIVE},
        {evidence(-1.5, 1.5, 1, 0, 0.01), EH_VERDICT_NO_EFFECT},
        {evidence(0.2, 1.5, 1, 0, 0.01), EH_VERDICT_NO_EFFECT},  // not 0, but surely below the margin
        {evidence(-2.1, 1.5, 1, 0, 0.01), EH_VERDICT_NO_EFFECT}, // two one-sided tests at 5 %: the 90 % interval counts
        {evidence(-6, -3, 1, 0, 0.01), EH_VERDICT_BACKFIRES},
        {evidence(-3, 3, 1, 0, 0.01), EH_VERDICT_INCONCLUSIVE},
        {evidence(NAN, NAN, 1, 0, 0.01), EH_VERDICT_INCONCLUSIVE},
    };
    const char *reason;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        assert_int_equal(eh_verdict_of(&cases[c].evidence, &reason), cases[c].verdict);
    eh_evidence without = evidence(3, 6, 1, 0, 0.01);
    without.has_excess = false;
    assert_int_equal(eh_verdict_of(&without, &reason), EH_VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(reason, "damage control"));
    without.has_loss = false;
    assert_int_equal(eh_verdict_of(&without, &reason), EH_VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(reason, "capability"));
}

int main(int argc, char **argv)
{
    kept = argc > 1 ? argv[1] : NULL;
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_becomes_tables_and_a_page),
        cmocka_unit_test(test_bias_types_have_their_best_null),
        cmocka_unit_test(test_runs_of_a_sweep_stand_beside_each_other),
        cmocka_unit_test(test_what_was_computed_is_kept),
        cmocka_unit_test(test_equal_digests_before_and_after_are_refused),
        cmocka_unit_test(test_a_run_without_scores_is_refused_in_words),
        cmocka_unit_test(test_the_verdict_follows_the_table),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
