// The published StereoSet scores from the published prediction files, the study's table from its counts, and what a
// constant answer scores: none of these numbers was made by this program.
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/metric.h"
#include "metrics/stereoset_internal.h"
#include "metrics/stereoset_predictions.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static const char *const models[] = {
    "predictions_EnsembleModel_.json",
    "predictions_SentimentModel.json",
    "predictions_bert-base-cased_BertNextSentence_BertLM.json",
    "predictions_bert-large-cased_BertNextSentence_BertLM.json",
    "predictions_gpt2_ModelNSP_GPT2LM.json",
    "predictions_gpt2-medium_ModelNSP_GPT2LM.json",
    "predictions_gpt2-large_ModelNSP_GPT2LM.json",
    "predictions_roberta-base_ModelNSP_RoBERTaLM.json",
    "predictions_roberta-large_ModelNSP_RoBERTaLM.json",
    "predictions_xlnet-base-cased_ModelNSP_XLNetLM.json",
    "predictions_xlnet-large-cased_ModelNSP_XLNetLM.json",
};

static const char *shared_path(const char *format, const char *name, char path[4096])
{
    char relative[512];
    snprintf(relative, sizeof relative, format, name);
    snprintf(path, 4096, "%s/datasets/stereoset/%s", eh_test_shared(), relative);
    return path;
}

static bool has_shared(void)
{
    char path[4096];
    if (eh_test_shared() != NULL && eh_test_exists(shared_path("%s", "dev.json", path)))
        return true;
    printf("SKIPPED TEST: no StereoSet in EVENHAND_SHARED\n");
    return false;
}

static eh_figure figure(const eh_sample *sample, const eh_figure *figures, const char *name, const char *scope)
{
    const int64_t f = eh_sample_find(sample, name, "official", scope);
    if (f < 0)
        fail_msg("no figure %s of %s", name, scope);
    return figures[f];
}

static void compare(const eh_sample *sample, const eh_figure *figures, const char *scope, const json_t *expected)
{
    static const char *const names[][2] = {{"LM Score", "stereoset/official-macro/LM"},
                                           {"SS Score", "stereoset/official-macro/SS"},
                                           {"ICAT Score", "stereoset/official-macro/ICAT"}};
    for (int i = 0; i < 3; i++) {
        const json_t *value = json_object_get(expected, names[i][0]);
        assert_true(json_is_number(value));
        assert_close(figure(sample, figures, names[i][1], scope).value, json_number_value(value), 1e-10);
    }
}

// The authors' own evaluation of each file: 11 groups x 3 scores x 11 models.
static void test_scores_of_all_published_files_are_the_authors(void **state)
{
    (void)state;
    if (!has_shared())
        skip();
    char dev[4096], path[4096];
    json_t *authors = json_load_file(shared_path("%s", "predictions.json", path), 0, NULL);
    assert_non_null(authors);
    shared_path("%s", "dev.json", dev);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        eh_score_table table;
        eh_sample sample;
        eh_figure figures[1024];
        assert_int_equal(eh_stereoset_predictions(dev, shared_path("predictions/%s", models[m], path), &table), EH_OK);
        assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
        assert_true(sample.figure_count <= 1024 && sample.cluster_count == 79 && sample.item_count == 4229);
        eh_sample_summarise(&sample, NULL, NULL, figures);
        const char *key;
        const json_t *value, *mine = NULL;
        char stem[128];
        snprintf(stem, sizeof stem, "%s", models[m] + strlen("predictions_"));
        stem[strcspn(stem, "_.")] = '\0';
        json_object_foreach(authors, key, value) if (strncmp(key, stem, strlen(stem)) == 0 &&
                                                     strchr("_.", key[strlen(stem)]) != NULL) mine = value;
        assert_non_null(mine);
        static const char *const tasks[] = {"intrasentence", "intersentence"};
        static const char *const domains[] = {"gender", "profession", "race", "religion"};
        for (int t = 0; t < 2; t++) {
            const json_t *task = json_object_get(mine, tasks[t]);
            compare(&sample, figures, tasks[t], json_object_get(task, "overall"));
            for (int d = 0; d < 4; d++) {
                char scope[64];
                snprintf(scope, sizeof scope, "%s/%s", tasks[t], domains[d]);
                compare(&sample, figures, scope, json_object_get(task, domains[d]));
            }
        }
        compare(&sample, figures, "all", json_object_get(mine, "overall"));
        eh_sample_deinit(&sample);
        eh_score_table_deinit(&table);
    }
    json_decref(authors);
}

static void test_micro_score_and_ties_of_published_files(void **state)
{
    (void)state;
    if (!has_shared())
        skip();
    char dev[4096], path[4096];
    eh_score_table table;
    eh_sample sample;
    eh_figure figures[1024];
    shared_path("%s", "dev.json", dev);
    assert_int_equal(eh_stereoset_predictions(dev, shared_path("predictions/%s", models[4], path), &table), EH_OK);
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    eh_sample_summarise(&sample, NULL, NULL, figures);
    assert_close(figure(&sample, figures, "stereoset/micro/SS", "intrasentence").value, 61.9658, 5e-5);
    assert_int_equal(figure(&sample, figures, "stereoset/micro/SS", "intrasentence").n, 2106);
    assert_close(figure(&sample, figures, "stereoset/micro/ICAT", "all").value, 72.0571, 5e-5);
    assert_close(figure(&sample, figures, "stereoset/macro-ties-hit/SS", "all").value,
                 figure(&sample, figures, "stereoset/official-macro/SS", "all").value, 0); // no tie in this file
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
    // bert-large-cased has 8 items in which stereotype and anti-stereotype are exactly equal.
    assert_int_equal(eh_stereoset_predictions(dev, shared_path("predictions/%s", models[3], path), &table), EH_OK);
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    eh_sample_summarise(&sample, NULL, NULL, figures);
    const int64_t strict = sample.figures[eh_sample_find(&sample, "stereoset/micro/SS", "official", "all")].item_value;
    const int64_t tied =
        sample.figures[eh_sample_find(&sample, "stereoset/macro-ties-hit/SS", "official", "all")].item_value;
    double ties = 0;
    for (int64_t i = 0; i < sample.item_count; i++)
        ties += sample.values[i * sample.value_count + tied] - sample.values[i * sample.value_count + strict];
    assert_close(ties, 8, 0);
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
}

// PROTOCOL 6.2, and what `evenhand conform --stereoset` prints.
static void test_conform_prints_the_choice_metric(void **state)
{
    (void)state;
    if (!has_shared())
        skip();
    static const struct {
        int model;
        const char *intra, *inter;
    } expected[] = {
        {4, "LMS 96.39  SS 62.07  ICAT 73.12", "LMS 84.93  SS 51.64  ICAT 82.15"},
        {2, "LMS 89.27  SS 58.3  ICAT 74.45", "LMS 94.58  SS 60.06  ICAT 75.55"},
        {7, "LMS 83.52  SS 55.83  ICAT 73.79", "LMS 79.09  SS 44.67  ICAT 70.65"},
    };
    char dev[4096], path[4096];
    shared_path("%s", "dev.json", dev);
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        const char *const file = shared_path("predictions/%s", models[expected[e].model], path);
        eh_string text = {0};
        assert_int_equal(eh_stereoset_conform(dev, &file, 1, &text), EH_OK);
        const char *study = strstr(text.bytes, "stereoset/choice");
        assert_non_null(study);
        assert_non_null(strstr(study, expected[e].intra));
        assert_non_null(strstr(study, expected[e].inter));
        eh_string_deinit(&text);
    }
}

static void test_a_file_without_a_sentence_is_refused(void **state)
{
    (void)state;
    if (!has_shared())
        skip();
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "predictions.json");
    char dev[4096];
    eh_score_table table;
    eh_test_write_text(path, "{\"intrasentence\": [{\"id\": \"a\", \"score\": 1}], \"intersentence\": []}");
    assert_int_equal(eh_stereoset_predictions(shared_path("%s", "dev.json", dev), path, &table), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "no score for sentence"));
    eh_test_folder_remove(&folder);
}

// PROTOCOL 2.6: counts of the study's notebooks and the scores that it published.
static void test_the_studys_table_follows_from_its_counts(void **state)
{
    (void)state;
    static const struct {
        int64_t s, a, u;
        double lms, ss, icat;
    } rows[] = {
        {336 + 132 + 406 + 27, 317 + 77 + 344 + 29, 157 + 46 + 212 + 23, 79.2, 54.02, 72.83},
        {295 + 107 + 359 + 35, 326 + 77 + 436 + 34, 206 + 58 + 181 + 9, 78.62, 47.69, 74.99},
        {430 + 127 + 567 + 46, 291 + 97 + 264 + 20, 89 + 31 + 131 + 13, 87.46, 63.52, 63.81},
        {432 + 145 + 443 + 34, 360 + 91 + 491 + 40, 35 + 6 + 42 + 4, 95.9, 51.77, 92.51},
        {211 + 60 + 231 + 21, 200 + 59 + 209 + 14, 399 + 136 + 522 + 44, 47.72, 52.04, 45.77},
        {246 + 90 + 284 + 30, 275 + 74 + 338 + 28, 306 + 78 + 354 + 20, 64.3, 47.62, 61.24},
        {8 + 2 + 1 + 1, 7 + 1 + 5 + 0, 795 + 252 + 956 + 78, 1.19, 48.0, 1.14},
        {10 + 2 + 22 + 0, 4 + 0 + 23 + 4, 813 + 240 + 931 + 74, 3.06, 52.31, 2.92},
        {3 + 0 + 0 + 1, 1 + 1 + 0 + 0, 806 + 254 + 962 + 78, 0.28, 66.67, 0.19},
        {0 + 0 + 2 + 0, 1 + 1 + 1 + 0, 826 + 241 + 973 + 78, 0.24, 40.0, 0.19},
        {0, 0, 2106, 0, 0, 0},
        {901 + 796, 767 + 873, 438 + 454, 78.91, 50.85, 77.57},
        {1170 + 1054, 672 + 982, 264 + 87, 91.7, 57.35, 78.22},
        {523 + 650, 482 + 715, 1101 + 758, 56.04, 49.49, 55.47},
        {12 + 34, 13 + 31, 2081 + 2058, 2.13, 51.11, 2.08},
        {4 + 2, 2 + 3, 2100 + 2118, 0.26, 54.55, 0.24},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const eh_study_scores s = eh_stereoset_study_scores(rows[r].s, rows[r].a, rows[r].u);
        assert_close(s.lms, rows[r].lms, 0);
        assert_close(s.ss, rows[r].ss, 0);
        assert_close(s.icat, rows[r].icat, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_of_all_published_files_are_the_authors),
        cmocka_unit_test(test_micro_score_and_ties_of_published_files),
        cmocka_unit_test(test_conform_prints_the_choice_metric),
        cmocka_unit_test(test_a_file_without_a_sentence_is_refused),
        cmocka_unit_test(test_the_studys_table_follows_from_its_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
