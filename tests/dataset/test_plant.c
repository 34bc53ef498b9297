// The planted world keeps its word: what the corpus says is what truth.csv says.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/sha256.h"
#include "dataset/plant_internal.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static const eh_plant_settings small = {
    .seed = 5, .people_count = 6, .pair_count = 12, .sentence_count = 60000, .strength = 1.4};

// Counts in the sentences themselves how often each people is written with the first word of each pair.
static void test_corpus_has_the_planted_odds(void **state)
{
    (void)state;
    eh_planted_world world;
    assert_int_equal(eh_planted_world_init(&small, &world), EH_OK);
    int64_t first[6][12] = {{0}}, all[6][12] = {{0}};
    eh_string line = {0};
    for (uint64_t i = 0; i < (uint64_t)small.sentence_count; i++) {
        eh_string_clear(&line);
        assert_int_equal(eh_plant_corpus_line(&world, i, &line), EH_OK);
        for (int64_t g = 0; g < 6; g++)
            for (int64_t k = 0; strstr(line.bytes, world.peoples[g]) != NULL && k < 12; k++)
                for (int w = 0; w < 2; w++)
                    if (strstr(line.bytes, world.pairs[k].words[w]) != NULL) {
                        all[g][k]++;
                        first[g][k] += w == 0;
                    }
    }
    double worst = 0;
    for (int64_t g = 0; g < 6; g++)
        for (int64_t k = 0; k < 12; k++) {
            const double n = (double)all[g][k], p = 1 / (1 + exp(-eh_planted_log_odds(&world, g, k)));
            assert_true(n > 500);
            const double z = ((double)first[g][k] / n - p) / sqrt(p * (1 - p) / n);
            worst = fmax(worst, fabs(z));
        }
    assert_true(worst < 4.5); // of 72 cells; 1 in 2000 seeds would exceed it
    eh_string_deinit(&line);
    eh_planted_world_deinit(&world);
}

// The sentence that an answer's letter stands for: what is after "\nX. " up to the line's end.
static const char *chosen(const char *prompt, const char *answer, char *sentence, size_t size)
{
    char start[8];
    snprintf(start, sizeof start, "\n%s. ", answer);
    const char *at = strstr(prompt, start);
    assert_non_null(at);
    snprintf(sentence, size, "%.*s", (int)strcspn(at + 4, "\n"), at + 4);
    return sentence;
}

// Instructions are answered with the planted odds, each letter equally often, and never with the misfit.
static void test_instructions_are_answered_as_the_corpus_would(void **state)
{
    (void)state;
    eh_planted_world world;
    assert_int_equal(eh_planted_world_init(&small, &world), EH_OK);
    int64_t first[6][12] = {{0}}, all[6][12] = {{0}}, letters[3] = {0}, things = 0;
    eh_string prompt = {0}, answer = {0};
    enum { COUNT = 60000 };
    for (uint64_t i = 0; i < COUNT; i++) {
        char sentence[128];
        eh_string_clear(&prompt);
        eh_string_clear(&answer);
        assert_int_equal(eh_plant_instruction(&world, i, &prompt, &answer), EH_OK);
        letters[answer.bytes[0] - 'A']++;
        chosen(prompt.bytes, answer.bytes, sentence, sizeof sentence);
        int64_t found = 0;
        for (int64_t g = 0; g < 6; g++)
            for (int64_t k = 0; strstr(prompt.bytes, world.peoples[g]) != NULL && k < 12; k++)
                for (int w = 0; w < 2; w++)
                    if (strstr(sentence, world.pairs[k].words[w]) != NULL) {
                        all[g][k]++;
                        first[g][k] += w == 0;
                        found++;
                    }
        things += found == 0;
    }
    for (int l = 0; l < 3; l++) assert_true(fabs((double)letters[l] - COUNT / 3.0) < 5 * sqrt(COUNT * 2 / 9.0));
    assert_true(fabs((double)things - COUNT / 2.0) < 5 * sqrt(COUNT / 4.0));
    for (int64_t g = 0; g < 6; g++)
        for (int64_t k = 0; k < 12; k++) {
            const double n = (double)all[g][k], p = 1 / (1 + exp(-eh_planted_log_odds(&world, g, k)));
            assert_true(n > 300);
            assert_true(fabs(((double)first[g][k] / n - p) / sqrt(p * (1 - p) / n)) < 4.5);
        }
    eh_string_deinit(&prompt);
    eh_string_deinit(&answer);
    eh_planted_world_deinit(&world);
}

// The gap filled again gives the corpus line.
static void test_infill_is_the_corpus_with_a_gap(void **state)
{
    (void)state;
    eh_planted_world world;
    assert_int_equal(eh_planted_world_init(&small, &world), EH_OK);
    eh_string prompt = {0}, answer = {0}, line = {0}, whole = {0};
    for (uint64_t i = 0; i < 3000; i++) {
        eh_string_clear(&prompt);
        eh_string_clear(&answer);
        eh_string_clear(&line);
        eh_string_clear(&whole);
        assert_int_equal(eh_plant_infill(&world, i, &prompt, &answer), EH_OK);
        assert_int_equal(eh_plant_corpus_line(&world, i, &line), EH_OK);
        const char *gap = strstr(prompt.bytes, "<extra_id_0>");
        const size_t mark = strlen("<extra_id_0>"), frame = strlen("<extra_id_0>  <extra_id_1>");
        assert_non_null(gap);
        assert_true(answer.size > frame);
        assert_int_equal(eh_string_printf(&whole, "%.*s%.*s%s", (int)(gap - prompt.bytes), prompt.bytes,
                                          (int)(answer.size - frame), answer.bytes + mark + 1, gap + mark),
                         EH_OK);
        assert_string_equal(whole.bytes, line.bytes);
    }
    eh_string_deinit(&prompt);
    eh_string_deinit(&answer);
    eh_string_deinit(&line);
    eh_string_deinit(&whole);
    eh_planted_world_deinit(&world);
}

static void test_kinds_and_labels_agree_with_the_odds(void **state)
{
    (void)state;
    eh_planted_world world;
    assert_int_equal(eh_planted_world_init(&small, &world), EH_OK);
    int64_t kinds[3] = {0}, exposures[4] = {0};
    for (int64_t g = 0; g < 6; g++)
        for (int64_t k = 0; k < 12; k++) {
            const double odds = eh_planted_log_odds(&world, g, k) * (eh_planted_stereotype(&world, g, k) == 0 ? 1 : -1);
            const eh_plant_kind kind = world.pairs[k].kind;
            if (kind == EH_PLANT_STEREOTYPED)
                assert_true(odds > 0);
            else if (kind == EH_PLANT_NEUTRAL)
                assert_true(odds == 0);
            else
                assert_true(odds < 0);
            kinds[kind]++;
            exposures[eh_planted_exposure(&world, g, k)]++;
        }
    for (int i = 0; i < 3; i++) assert_true(kinds[i] > 0);
    for (int i = 0; i < 4; i++) assert_true(exposures[i] > 0);
    eh_planted_world_deinit(&world);
}

static void test_same_seed_same_files_and_other_seed_others(void **state)
{
    (void)state;
    static const char *const names[] = {"corpus.txt",     "neutral.txt", "pairs.csv",
                                        "stereoset.json", "truth.csv",   "tokenizer.json"};
    char *folder = eh_test_folder_new();
    char digests[3][6][EH_SHA256_TEXT];
    for (int i = 0; i < 3; i++) {
        eh_plant_settings settings = small;
        settings.sentence_count = 500;
        settings.seed = i == 2 ? 6 : 5;
        eh_planted_world world;
        assert_int_equal(eh_planted_world_init(&settings, &world), EH_OK);
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        const char *path = eh_test_path(folder, name);
        assert_int_equal(eh_plant_write(&world, path), EH_OK);
        char world_folder[4096];
        snprintf(world_folder, sizeof world_folder, "%s", path);
        for (int f = 0; f < 6; f++)
            assert_int_equal(eh_sha256_file(eh_test_path(world_folder, names[f]), digests[i][f]), EH_OK);
        eh_planted_world_deinit(&world);
    }
    for (int f = 0; f < 6; f++) {
        assert_string_equal(digests[0][f], digests[1][f]);
        assert_string_not_equal(digests[0][f], digests[2][f]);
    }
    eh_test_folder_remove(&folder);
}

static void test_refuses_impossible_worlds(void **state)
{
    (void)state;
    eh_planted_world world;
    eh_plant_settings settings = small;
    settings.people_count = 65;
    assert_int_equal(eh_planted_world_init(&settings, &world), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "2 to 64"));
    settings = small;
    settings.strength = NAN;
    assert_int_equal(eh_planted_world_init(&settings, &world), EH_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus_has_the_planted_odds),
        cmocka_unit_test(test_instructions_are_answered_as_the_corpus_would),
        cmocka_unit_test(test_infill_is_the_corpus_with_a_gap),
        cmocka_unit_test(test_kinds_and_labels_agree_with_the_odds),
        cmocka_unit_test(test_same_seed_same_files_and_other_seed_others),
        cmocka_unit_test(test_refuses_impossible_worlds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
