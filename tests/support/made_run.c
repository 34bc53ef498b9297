#include "support/made_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/philox.h"
#include "dataset/plant.h"
#include "io/atomic.h"
#include "io/scores.h"
#include "support/cmocka.h"

enum { ITEM, ID, GROUP, TASK, TARGET, REASON, FACTS };
static const char *const labels[] = {"stereotype", "anti_stereotype", "unrelated"};

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

static void add_row(eh_score_table *table, const eh_planted_world *world, const eh_made_model *model, int64_t people,
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

static void write_scores(eh_comm *comm, const char *folder, const eh_planted_world *world, const eh_made_model *model)
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
    const eh_scores_origin origin = {.phase = model->phase,
                                     .model_path = "made/up",
                                     .model_sha256 = model->digest,
                                     .job = "made up",
                                     .seed = 7,
                                     .parameter_count = model->parameters,
                                     .architecture = "bloom"};
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

// A world of 16 peoples and 12 pairs in FOLDER/world.
static void plant(const char *folder, eh_planted_world *world)
{
    char path[4096];
    const eh_plant_settings settings = {
        .seed = 3, .people_count = 16, .pair_count = 12, .sentence_count = 100, .strength = 1.4};
    assert_int_equal(eh_planted_world_init(&settings, world), EH_OK);
    snprintf(path, sizeof path, "%s/world", folder);
    assert_int_equal(eh_plant_write(world, path), EH_OK);
}

void eh_made_run(eh_comm *comm, const char *folder, const char *name, const eh_made_model *models, int64_t count,
                 int replicates, eh_job *job)
{
    char yaml[8192];
    eh_planted_world world;
    assert_int_equal(eh_make_folders(folder), EH_OK);
    plant(folder, &world);
    for (int64_t m = 0; m < count; m++) write_scores(comm, folder, &world, &models[m]);
    eh_planted_world_deinit(&world);
    write_curve(folder);
    snprintf(yaml, sizeof yaml,
             "name: %s\noutput: %s\nseed: 11\nmodel: {path: made/up}\nreport: {replicates: %d}\ndata:\n"
             "  - {name: pairs, format: crows-pairs, path: %s/world/pairs.csv, use: train, task: gap-fill}\n"
             "  - {name: tests, format: stereoset, path: %s/world/stereoset.json, use: evaluate}\n"
             "evaluate:\n  - {metric: stereoset, protocol: likelihood}\n",
             name, folder, replicates, folder, folder);
    const eh_status status = eh_job_parse("made-up.yaml", yaml, strlen(yaml), NULL, 0, job);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    assert_int_equal(status, EH_OK);
}
