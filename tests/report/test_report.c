// The report of made-up scores: a planted world, "measured" by a formula with noise. MADE UP: nothing here is a result.
// The files of a run can be kept to be looked at: test_report FOLDER.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/philox.h"
#include "dataset/plant.h"
#include "io/scores.h"
#include "report/report.h"
#include "report/verdict.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static eh_comm *comm;
static const char *kept;

enum { ITEM, ID, GROUP, TASK, TARGET, REASON, FACTS };
static const char *const labels[] = {"stereotype", "anti_stereotype", "unrelated"};

// How a made-up model answers: bias and sense scale what was planted.
typedef struct {
    const char *phase, *digest;
    double bias, sense, noise, shift, bits; // shift: nats towards every stereotype
} made_model;

static void add_columns(eh_score_table *table, int64_t facts[FACTS], int64_t likelihoods[3], int64_t tokens[3],
                        int64_t bytes[3])
{
    static const char *const names[FACTS] = {"item", "id", "group", "task", "target", "reason"};
    char name[64];
    for (int f = 0; f < FACTS; f++)
        assert_int_equal(
            eh_score_table_add_column(table, names[f], f == ITEM ? EH_COLUMN_INTEGER : EH_COLUMN_TEXT, &facts[f]),
            EH_OK);
    for (int l = 0; l < 3; l++) {
        snprintf(name, sizeof name, "log_likelihood_%s", labels[l]);
        assert_int_equal(eh_score_table_add_column(table, name, EH_COLUMN_NUMBER, &likelihoods[l]), EH_OK);
        snprintf(name, sizeof name, "tokens_%s", labels[l]);
        assert_int_equal(eh_score_table_add_column(table, name, EH_COLUMN_INTEGER, &tokens[l]), EH_OK);
        snprintf(name, sizeof name, "bytes_%s", labels[l]);
        assert_int_equal(eh_score_table_add_column(table, name, EH_COLUMN_INTEGER, &bytes[l]), EH_OK);
    }
}

static void add_row(eh_score_table *table, const eh_planted_world *world, const made_model *model, int64_t people,
                    int64_t pair, int64_t n)
{
    int64_t facts[FACTS], likelihoods[3], tokens[3], bytes[3];
    add_columns(table, facts, likelihoods, tokens, bytes);
    const int64_t row = table->row_count;
    const uint64_t cell = (uint64_t)row;
    char id[96];
    assert_int_equal(eh_score_table_add_rows(table, 1), EH_OK);
    snprintf(id, sizeof id, "%s/%lld/%lld", world->peoples[people], (long long)pair, (long long)n);
    eh_score_set_integer(table, facts[ITEM], row, row);
    const char *const texts[FACTS] = {NULL,
                                      id,
                                      eh_plant_domain_name(world->pairs[pair].domain),
                                      n == 2 ? "intersentence" : "intrasentence",
                                      world->peoples[people],
                                      ""};
    for (int f = 1; f < FACTS; f++) assert_int_equal(eh_score_set_text(table, facts[f], row, texts[f]), EH_OK);
    const double sign = eh_planted_stereotype(world, people, pair) == 0 ? 1 : -1;
    const double margin = model->shift + model->bias * sign * eh_planted_log_odds(world, people, pair) +
                          model->noise * eh_random_normal(3, EH_STREAM_TEST, cell);
    const double sense = model->sense + eh_random_normal(4, EH_STREAM_TEST, cell);
    const double scores[3] = {-20 + margin / 2, -20 - margin / 2, -20 - sense};
    for (int l = 0; l < 3; l++) {
        eh_score_set_number(table, likelihoods[l], row, row == 5 ? NAN : scores[l]);
        eh_score_set_integer(table, tokens[l], row, 8);
        eh_score_set_integer(table, bytes[l], row, 30);
    }
}

// 150 held-out texts of `bits` bits a byte.
static void add_texts(eh_score_table *table, double bits)
{
    static const char *const integers[] = {"item", "tokens", "bytes", "words"};
    int64_t columns[4], nll, texts[3];
    static const char *const names[] = {"id", "group", "reason"};
    for (int c = 0; c < 4; c++)
        assert_int_equal(eh_score_table_add_column(table, integers[c], EH_COLUMN_INTEGER, &columns[c]), EH_OK);
    for (int c = 0; c < 3; c++)
        assert_int_equal(eh_score_table_add_column(table, names[c], EH_COLUMN_TEXT, &texts[c]), EH_OK);
    assert_int_equal(eh_score_table_add_column(table, "nll", EH_COLUMN_NUMBER, &nll), EH_OK);
    assert_int_equal(eh_score_table_add_rows(table, 150), EH_OK);
    for (int64_t row = 0; row < 150; row++) {
        const int64_t values[4] = {row, 12, 48, 8};
        for (int c = 0; c < 4; c++) eh_score_set_integer(table, columns[c], row, values[c]);
        eh_score_set_number(table, nll, row,
                            48 * 0.6931471805599453 * bits *
                                exp(0.1 * eh_random_normal(8, EH_STREAM_TEST, (uint64_t)row)));
        assert_int_equal(eh_score_set_text(table, texts[1], row, "neutral"), EH_OK);
    }
}

static void write_scores(const char *folder, const eh_planted_world *world, const made_model *model)
{
    eh_score_table tables[2];
    assert_int_equal(eh_score_table_init("stereoset/likelihood", &tables[0]), EH_OK);
    assert_int_equal(eh_score_table_init("perplexity/held-out", &tables[1]), EH_OK);
    add_texts(&tables[1], model->bits);
    for (int64_t g = 0; g < world->settings.people_count; g++)
        for (int64_t k = 0; k < world->settings.pair_count; k++)
            for (int64_t n = 0; n < 3; n++) add_row(&tables[0], world, model, g, k, n);
    char path[4096];
    snprintf(path, sizeof path, "%s/scores-%s.h5", folder, model->phase);
    const eh_scores_origin origin = {model->phase, "made/up", model->digest, "made up", 7};
    assert_int_equal(eh_scores_write(comm, path, &origin, tables, 2), EH_OK);
    eh_score_table_deinit(&tables[0]);
    eh_score_table_deinit(&tables[1]);
}

static void write_curve(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/metrics.csv", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "step,loss,heldout_loss\n");
    for (int step = 1; step <= 400; step++) {
        fprintf(file, "%d,%.4f,", step,
                1 + 3 * exp(-step / 80.0) + 0.1 * eh_random_normal(9, EH_STREAM_TEST, (uint64_t)step));
        fprintf(file, step % 100 == 0 ? "%.4f\n" : "\n", 1.1 + 3 * exp(-step / 80.0));
    }
    assert_int_equal(fclose(file), 0);
}

// A world of 12 peoples and 9 pairs in FOLDER/world.
static void plant(const char *folder, eh_planted_world *world)
{
    char path[4096];
    const eh_plant_settings settings = {
        .seed = 3, .people_count = 16, .pair_count = 12, .sentence_count = 100, .strength = 1.4};
    assert_int_equal(eh_planted_world_init(&settings, world), EH_OK);
    snprintf(path, sizeof path, "%s/world", folder);
    assert_int_equal(eh_plant_write(world, path), EH_OK);
}

static void read_job(const char *folder, eh_job *job)
{
    char yaml[8192];
    snprintf(yaml, sizeof yaml,
             "name: made up <b>&\noutput: %s\nseed: 11\nmodel: {path: made/up}\nreport: {replicates: 1000}\ndata:\n"
             "  - {name: pairs, format: crows-pairs, path: %s/world/pairs.csv, use: train, task: gap-fill}\n"
             "  - {name: tests, format: stereoset, path: %s/world/stereoset.json, use: evaluate}\n"
             "evaluate:\n  - {metric: stereoset, protocol: likelihood}\n",
             folder, folder, folder);
    const eh_status status = eh_job_parse("made-up.yaml", yaml, strlen(yaml), NULL, 0, job);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    assert_int_equal(status, EH_OK);
}

static void make_run(const char *folder, const char *after_digest, eh_job *job)
{
    const made_model models[] = {
        {"before", "aaaa", 0.8, 2, 0.6, 0.5, 1.50},         {"after", after_digest, 0.3, 1.7, 0.6, 0.1, 1.51},
        {"control-damage", "cccc", 0.6, 1, 1.2, 0.4, 1.53}, {"control-placebo", "dddd", 0.78, 1.9, 0.6, 0.48, 1.51},
        {"control-repeat", "aaaa", 0.8, 2, 0.6, 0.5, 1.50}, {"control-reversed", "eeee", 1.1, 1.9, 0.6, 0.7, 1.52}};
    eh_planted_world world;
    plant(folder, &world);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) write_scores(folder, &world, &models[m]);
    eh_planted_world_deinit(&world);
    write_curve(folder);
    read_job(folder, job);
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
    assert_int_equal(make_report(&job), EH_OK);
    static const char *const files[] = {"report.html",        "tables/table1.csv",       "tables/table1.md",
                                        "tables/table1.tex",  "tables/by-bias-type.csv", "tables/truth.csv",
                                        "tables/verdict.csv", "tables/figures.csv",      "tables/missing.csv"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        assert_true(eh_test_exists(eh_test_path(folder, files[f])));
    assert_holds(folder, "report.html", "made up <b>&", false);
    assert_holds(folder, "report.html", "made up &lt;b&gt;&amp;", true);
    assert_holds(folder, "report.html", "should not be used to train any machine learning models", true);
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
    assert_holds(sweep, "report.html", "Bias of each run", true);
    assert_holds(sweep, "tables/table1.csv", "small,intrasentence,before,", true);
    assert_holds(sweep, "tables/table1.csv", "large,intrasentence,before,", true);
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
    read_job(folder, &job);
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
        cmocka_unit_test(test_runs_of_a_sweep_stand_beside_each_other),
        cmocka_unit_test(test_equal_digests_before_and_after_are_refused),
        cmocka_unit_test(test_a_run_without_scores_is_refused_in_words),
        cmocka_unit_test(test_the_verdict_follows_the_table),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
