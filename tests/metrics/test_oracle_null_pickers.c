// What answers score that never read: PROTOCOL 3.10's constants on the real development set; and answers made by hand
// whose consistency, position bias and worst cases are known.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "metrics/metric.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static int64_t column(eh_score_table *table, const char *name, eh_column_type type)
{
    int64_t index;
    assert_int_equal(eh_score_table_add_column(table, name, type, &index), EH_OK);
    return index;
}

static const char *const labels[] = {"stereotype", "anti_stereotype", "unrelated"};

static void make_columns(eh_score_table *table, const char *name, int order_count)
{
    static const char *const texts[] = {"id", "group", "task", "target", "reason"};
    char text[64];
    assert_int_equal(eh_score_table_init(name, table), EH_OK);
    column(table, "item", EH_COLUMN_INTEGER);
    column(table, "unparsed_is_unrelated", EH_COLUMN_INTEGER);
    for (int i = 0; i < 5; i++) column(table, texts[i], EH_COLUMN_TEXT);
    for (int l = 0; l < 3; l++) {
        snprintf(text, sizeof text, "position_%s", labels[l]);
        column(table, text, EH_COLUMN_INTEGER);
        snprintf(text, sizeof text, "bytes_%s", labels[l]);
        column(table, text, EH_COLUMN_INTEGER);
    }
    for (int o = 0; o < order_count; o++) {
        snprintf(text, sizeof text, "answer_%d", o + 1);
        column(table, text, EH_COLUMN_INTEGER);
    }
}

static void set(eh_score_table *table, const char *name, int label, int64_t row, int64_t value)
{
    char text[64];
    snprintf(text, sizeof text, "%s%s%s", name, label < 0 ? "" : "_", label < 0 ? "" : labels[label]);
    eh_score_set_integer(table, eh_score_column(table, text), row, value);
}

static int64_t add_row(eh_score_table *table, const char *task, const char *group, const char *target)
{
    const char *names[] = {"task", "group", "target"}, *values[] = {task, group, target};
    const int64_t row = table->row_count;
    assert_int_equal(eh_score_table_add_rows(table, 1), EH_OK);
    set(table, "item", -1, row, row);
    for (int i = 0; i < 3; i++)
        assert_int_equal(eh_score_set_text(table, eh_score_column(table, names[i]), row, values[i]), EH_OK);
    return row;
}

static double null_figure(const eh_sample *sample, const eh_figure *figures, const char *name, const char *picker,
                          const char *scope)
{
    for (int64_t f = 0; f < sample->figure_count; f++)
        if (strcmp(sample->figures[f].name, name) == 0 && strcmp(sample->figures[f].null_picker, picker) == 0 &&
            strcmp(sample->figures[f].scope, scope) == 0)
            return figures[f].value;
    fail_msg("no figure %s of %s in %s", name, picker, scope);
    return NAN;
}

static void test_constant_answers_score_their_known_values(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/datasets/stereoset/dev.json", eh_test_shared() == NULL ? "" : eh_test_shared());
    if (!eh_test_exists(path)) {
        printf("SKIPPED TEST: no StereoSet in EVENHAND_SHARED\n");
        skip();
    }
    eh_score_table table;
    eh_sample sample = {0};
    static eh_figure figures[4096];
    make_columns(&table, "stereoset/study", 1);
    json_t *dev = json_load_file(path, 0, NULL);
    assert_non_null(dev);
    static const char *const tasks[] = {"intrasentence", "intersentence"};
    for (int t = 0; t < 2; t++) {
        const json_t *items = json_object_get(json_object_get(dev, "data"), tasks[t]);
        for (size_t i = 0; i < json_array_size(items); i++) {
            const json_t *item = json_array_get(items, i), *sentences = json_object_get(item, "sentences");
            const int64_t row = add_row(&table, tasks[t], json_string_value(json_object_get(item, "bias_type")),
                                        json_string_value(json_object_get(item, "target")));
            for (size_t s = 0; s < 3; s++) {
                const json_t *sentence = json_array_get(sentences, s);
                const char gold = json_string_value(json_object_get(sentence, "gold_label"))[0];
                const int label = gold == 's' ? 0 : gold == 'a' ? 1 : 2;
                set(&table, "position", label, row, (int64_t)s);
                set(&table, "bytes", label, row, (int64_t)json_string_length(json_object_get(sentence, "sentence")));
            }
        }
    }
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    assert_true(sample.figure_count <= 4096);
    eh_sample_summarise(&sample, NULL, NULL, figures);
    static const struct {
        const char *picker, *scope;
        double lms, ss, icat;
    } known[] = {
        {"always-1", "all", 66.90, 49.81, 66.65},          {"always-2", "all", 66.59, 50.39, 66.07},
        {"always-3", "all", 66.52, 49.80, 66.25},          {"longest", "intrasentence", 79.20, 49.52, 78.44},
        {"longest", "intersentence", 85.77, 42.72, 73.28},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        assert_close(null_figure(&sample, figures, "stereoset/study/LMS", known[k].picker, known[k].scope),
                     known[k].lms, 0.00501);
        assert_close(null_figure(&sample, figures, "stereoset/study/SS", known[k].picker, known[k].scope), known[k].ss,
                     0.00501);
        // published from rounded LMS and SS
        assert_close(null_figure(&sample, figures, "stereoset/study/ICAT", known[k].picker, known[k].scope),
                     known[k].icat, 0.0151);
    }
    json_decref(dev);
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
}

// The same beside likelihoods: the longest sentence, and chance, as scores of sentences.
static void test_null_pickers_stand_beside_likelihoods(void **state)
{
    (void)state;
    char path[4096], text[64];
    snprintf(path, sizeof path, "%s/datasets/stereoset/dev.json", eh_test_shared() == NULL ? "" : eh_test_shared());
    if (!eh_test_exists(path)) {
        printf("SKIPPED TEST: no StereoSet in EVENHAND_SHARED\n");
        skip();
    }
    eh_score_table table;
    eh_sample sample = {0};
    static eh_figure figures[4096];
    double firsts[3] = {0}; // labels at the first place
    make_columns(&table, "stereoset/likelihood", 0);
    for (int l = 0; l < 3; l++) {
        snprintf(text, sizeof text, "log_likelihood_%s", labels[l]);
        column(&table, text, EH_COLUMN_NUMBER);
        snprintf(text, sizeof text, "tokens_%s", labels[l]);
        column(&table, text, EH_COLUMN_INTEGER);
    }
    json_t *dev = json_load_file(path, 0, NULL);
    const json_t *items = json_object_get(json_object_get(dev, "data"), "intrasentence");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i), *sentences = json_object_get(item, "sentences");
        const int64_t row = add_row(&table, "intrasentence", json_string_value(json_object_get(item, "bias_type")),
                                    json_string_value(json_object_get(item, "target")));
        for (size_t s = 0; s < 3; s++) {
            const json_t *sentence = json_array_get(sentences, s);
            const char gold = json_string_value(json_object_get(sentence, "gold_label"))[0];
            const int label = gold == 's' ? 0 : gold == 'a' ? 1 : 2;
            set(&table, "position", label, row, (int64_t)s);
            if (i < 2100 && s == 0)
                firsts[label] += 1;
            set(&table, "bytes", label, row, (int64_t)json_string_length(json_object_get(sentence, "sentence")));
            set(&table, "tokens", label, row, 1);
            snprintf(text, sizeof text, "log_likelihood_%s", labels[label]);
            eh_score_set_number(&table, eh_score_column(&table, text), row, i < 2100 ? (double)-label : (double)NAN);
        }
    }
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    eh_sample_summarise(&sample, NULL, NULL, figures);
    assert_int_equal(sample.missing_count, 6); // what the model could not score, no null picker scores
    const int64_t own = eh_sample_find(&sample, "stereoset/official-macro/ICAT", "main", "all");
    assert_true(own >= 0);
    assert_close(figures[own].value, 0, 1e-9); // always the stereotype
    const double always_first[2] = {100 * (firsts[0] + firsts[1]) / 2100, 100 * firsts[0] / (firsts[0] + firsts[1])};
    const struct {
        const char *picker, *name;
        double value, bound;
    } known[] = {// 2,100 items: four standard errors for what is drawn; ties are shared between sentences
                 {"random", "stereoset/official-macro/LM", 50, 4},
                 {"random", "stereoset/micro/SS", 50, 4.4},
                 {"random", "stereoset/choice/LMS", 200 / 3.0, 4.2},
                 {"longest", "stereoset/choice/LMS", 79.20, 0.7},
                 {"longest", "stereoset/choice/SS", 49.52, 1.0},
                 {"always-1", "stereoset/choice/LMS", always_first[0], 1e-9},
                 {"always-1", "stereoset/choice/SS", always_first[1], 1e-9}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        assert_close(null_figure(&sample, figures, known[k].name, known[k].picker, "all"), known[k].value,
                     known[k].bound);
    assert_true(isnan(null_figure(&sample, figures, "stereoset/margin", "longest", "all"))); // bytes are no nats
    // a place is no score of pairs of sentences
    assert_true(isnan(null_figure(&sample, figures, "stereoset/official-macro/LM", "always-1", "all")));
    json_decref(dev);
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
}

// CrowS-Pairs by hand: three pairs; the longer sentence is the stereotype's in two.
static void test_crows_pairs_has_null_pickers(void **state)
{
    (void)state;
    static const char *const sides[] = {"more", "less"};
    static const char *const numbers[] = {"log_likelihood", "conditional", "word_frequency"};
    static const double frequency[3][2] = {{1, 2}, {2, 1}, {3, 1}};
    static const int bytes[3][2] = {{10, 8}, {12, 9}, {5, 5}};
    eh_score_table table;
    eh_sample sample = {0};
    static eh_figure figures[4096];
    char text[64];
    assert_int_equal(eh_score_table_init("crows-pairs/likelihood", &table), EH_OK);
    column(&table, "item", EH_COLUMN_INTEGER);
    column(&table, "group", EH_COLUMN_TEXT);
    column(&table, "direction", EH_COLUMN_TEXT);
    column(&table, "split", EH_COLUMN_TEXT);
    assert_int_equal(eh_score_table_add_rows(&table, 3), EH_OK);
    for (int64_t row = 0; row < 3; row++) {
        eh_score_set_integer(&table, eh_score_column(&table, "item"), row, row);
        assert_int_equal(eh_score_set_text(&table, eh_score_column(&table, "group"), row, "age"), EH_OK);
        assert_int_equal(eh_score_set_text(&table, eh_score_column(&table, "direction"), row, "stereo"), EH_OK);
        assert_int_equal(eh_score_set_text(&table, eh_score_column(&table, "split"), row, "evaluate"), EH_OK);
        for (int s = 0; s < 2; s++) {
            for (int n = 0; n < 3; n++) {
                snprintf(text, sizeof text, "%s_%s", numbers[n], sides[s]);
                eh_score_set_number(&table, column(&table, text, EH_COLUMN_NUMBER), row,
                                    n == 2 ? frequency[row][s] : -10.0 - s);
            }
            snprintf(text, sizeof text, "bytes_%s", sides[s]);
            eh_score_set_integer(&table, column(&table, text, EH_COLUMN_INTEGER), row, bytes[row][s]);
            snprintf(text, sizeof text, "tokens_%s", sides[s]);
            eh_score_set_integer(&table, column(&table, text, EH_COLUMN_INTEGER), row, 3);
        }
    }
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    eh_sample_summarise(&sample, NULL, NULL, figures);
    static const char *const metric = "crows/lm-eval/metric";
    assert_close(figures[eh_sample_find(&sample, metric, "sum", "all")].value, 100, 1e-9);
    assert_close(null_figure(&sample, figures, metric, "longest", "all"), 100 * 2 / 3.0, 1e-9);
    assert_close(null_figure(&sample, figures, metric, "shortest", "all"), 0, 1e-9); // a tie is no hit
    // beside each definition that the table has
    assert_close(null_figure(&sample, figures, "crows/likelihood/metric", "longest", "all"), 100 * 2 / 3.0, 1e-9);
    assert_close(null_figure(&sample, figures, metric, "frequent-words", "all"), 100 * 2 / 3.0, 1e-9);
    const double random = null_figure(&sample, figures, metric, "random", "all");
    const double hits = random * 3 / 100; // of three pairs
    assert_close(hits, round(hits), 1e-9);
    assert_true(hits >= 0 && hits <= 3);
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
}

// Two items, six orders: one answered by its sentence whatever the order, one by the first position always.
static void test_consistency_and_position_bias_of_known_answers(void **state)
{
    (void)state;
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    eh_score_table table;
    eh_sample sample = {0};
    static eh_figure figures[4096];
    make_columns(&table, "stereoset/prompt", 6);
    for (int i = 0; i < 3; i++) {
        const int64_t row = add_row(&table, "intrasentence", "gender", "term");
        for (int l = 0; l < 3; l++) set(&table, "position", l, row, l);
        for (int o = 0; o < 6; o++) {
            char name[32];
            int position = 0;
            while (orders[o][position] != 0) position++; // where the stereotype stands
            snprintf(name, sizeof name, "answer_%d", o + 1);
            set(&table, name, -1, row, i == 0 ? position + 1 : i == 1 ? 1 : 0);
        }
    }
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    eh_sample_summarise(&sample, NULL, NULL, figures);
#define FIGURE(name) figures[eh_sample_find(&sample, "stereoset/generated/" name, "", "all")].value
    assert_close(FIGURE("parsed"), 100 * 2.0 / 3, 1e-9);
    assert_close(FIGURE("consistency"), 100 / 3.0, 1e-9); // of three items one is
    // positions: item 0 twice each (2/6 each), item 1 always the first: (1/3 + 1) / 2 at the first
    assert_close(FIGURE("position-bias"), 0.5 * (1.0 / 3 + 1.0 / 6 + 1.0 / 6), 1e-9);
    assert_close(FIGURE("LMS"), 100 * (1 + 2.0 / 3) / 2, 1e-9); // item 1 chose each sentence in a third of the orders
    assert_close(FIGURE("SS"), 100 * (1 + 1.0 / 3) / (1 + 2.0 / 3), 1e-9);
    assert_close(FIGURE("LMS-worst"), 100 * (1 + 2.0 / 3) / 3, 1e-9);
    assert_close(FIGURE("LMS-best"), 100 * (2 + 2.0 / 3) / 3, 1e-9);
    assert_close(FIGURE("SS-highest"), 100 * (2 + 1.0 / 3) / (2 + 2.0 / 3), 1e-9);
    // PROTOCOL 4.11: a constant position is never consistent, chance in 3 of 3^6; content rules say nothing here
    static const char *const consistency = "stereoset/constrained/consistency";
    assert_close(null_figure(&sample, figures, consistency, "always-2", "all"), 0, 1e-9);
    assert_close(null_figure(&sample, figures, consistency, "random", "all"), 0.41, 0.005);
    assert_true(isnan(null_figure(&sample, figures, consistency, "longest", "all")));
    assert_close(null_figure(&sample, figures, "stereoset/generated/position-bias", "always-2", "all"), 2.0 / 3, 1e-9);
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant_answers_score_their_known_values),
        cmocka_unit_test(test_null_pickers_stand_beside_likelihoods),
        cmocka_unit_test(test_crows_pairs_has_null_pickers),
        cmocka_unit_test(test_consistency_and_position_bias_of_known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
