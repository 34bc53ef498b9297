// Stop strings: found wherever they lie in the tokens, and what generation makes of them on random models, against the
// texts without them.
#include <stdio.h>
#include <string.h>

#include "backend/profile.h"
#include "model/generate.h"
#include "support/cmocka.h"
#include "support/folder.h"

enum { VOCABULARY = 13, PROMPTS = 6, SAMPLES = 2, MOST = 24 };
static const char *const bloom = "{\"model_type\":\"bloom\",\"vocab_size\":13,\"hidden_size\":20,\"n_head\":5,"
                                 "\"n_layer\":3,\"initializer_range\":0.5}";
static const char *const t5 = "{\"model_type\":\"t5\",\"vocab_size\":13,\"d_model\":20,\"d_kv\":6,\"d_ff\":24,"
                              "\"num_heads\":5,\"num_layers\":2,\"pad_token_id\":0,\"eos_token_id\":1}";
// The text of each token; the last two, not here, are halves of one character. Token 0 is special.
static const char *const pieces[VOCABULARY] = {"", " ", "a", "b", "c", "ab", "bc", "a\n", "\n", "d", "\nb"};
static const char tokenizer_json[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},\"post_processor\":null,\"decoder\":"
    "{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"<s>\":0,\"\xC4\xA0\":1,\"a\":2,\"b\":3,\"c\":4,"
    "\"ab\":5,\"bc\":6,\"a\xC4\x8A\":7,\"\xC4\x8A\":8,\"d\":9,\"\xC4\x8A"
    "b\":10,\"\xC3\x83\":11,\"\xC2\xA9\":12},"
    "\"merges\":[]}}";

typedef struct {
    char *folder;
    eh_tokenizer *tokenizer;
    eh_backend *backend;
    eh_model *model;
} opened;

static opened open_new(const char *config)
{
    opened own = {.folder = eh_test_folder_new()};
    eh_test_write(eh_test_path(own.folder, "tokenizer.json"), tokenizer_json, sizeof tokenizer_json - 1);
    if (eh_tokenizer_open(eh_test_path(own.folder, "tokenizer.json"), &own.tokenizer) != EH_OK ||
        eh_backend_open("cpu", 0, 1, &own.backend) != EH_OK ||
        eh_model_new(own.backend, config, 5, EH_F32, EH_FOR_INFERENCE, &own.model) != EH_OK)
        fail_msg("%s", eh_error_message());
    return own;
}

static void close_all(opened *own)
{
    eh_model_close(&own->model);
    eh_backend_close(&own->backend);
    eh_tokenizer_close(&own->tokenizer);
    eh_test_folder_remove(&own->folder);
}

// --- Where they lie -----------------------------------------------------------------------------------------------
static void test_a_stop_string_is_found_wherever_it_lies(void **state)
{
    (void)state;
    static const struct {
        int32_t ids[6];
        int64_t count;
        const char *strings[3];
        int64_t wanted_count, wanted_size; // size -1: not there
    } cases[] = {
        {{2, 3, 4}, 3, {"bc"}, 1, 1},             // of two tokens
        {{5, 6}, 2, {"bb"}, 1, 1},                // begins inside one and ends inside another
        {{9, 5, 6, 3}, 4, {"bbc"}, 2, 2},         // "dab" "bc"
        {{2, 7}, 2, {"\n"}, 2, 2},                // ends the token that it begins in
        {{2, 10, 2}, 3, {"\n"}, 1, 1},            // begins a token
        {{2, 3}, 2, {"ab"}, 0, 0},                // nothing is left
        {{2, 3, 4}, 3, {"c", "b"}, 1, 1},         // the first of several, whatever their order
        {{2, 3, 4}, 3, {"d", "b", "c"}, 1, 1},    //
        {{5, 4}, 2, {"abc", "b"}, 1, 1},          // "b" is complete before "abc" is
        {{2, 3, 4}, 3, {"c", "abc", "bc"}, 0, 0}, // complete together: the one that begins first
        {{2, 3, 2, 3}, 4, {"ab"}, 0, 0},          // twice
        {{2, 2, 2, 3}, 4, {"aab"}, 1, 1},         // behind its own beginning
        {{2, 11, 12}, 3, {"\xC3\xA9"}, 1, 1},     // one character of two tokens
        {{0, 2, 0, 3}, 4, {"ab"}, 0, 0},          // special tokens have no text
        {{0, 2, 0, 3, 4}, 5, {"bc"}, 2, 1},       //
        {{2, 11}, 2, {"\xC3\xA9"}, 2, -1},        // half of it
        {{2, 3, 4}, 3, {"ba", "cb", "<s>"}, 3, -1},
    };
    opened own = open_new(bloom);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        eh_stops stops = {own.tokenizer, cases[c].strings, 0};
        while (stops.count < 3 && cases[c].strings[stops.count] != NULL) stops.count++;
        int64_t count = cases[c].count;
        size_t size = 0;
        bool found = false;
        assert_int_equal(eh_stops_find(&stops, cases[c].ids, &count, &size, &found), EH_OK);
        if (found != (cases[c].wanted_size >= 0) || count != cases[c].wanted_count ||
            (found && size != (size_t)cases[c].wanted_size))
            fail_msg("case %zu: found %d, %lld ids, %zu bytes", c, found, (long long)count, size);
    }
    close_all(&own);
}

// --- What generation makes of them --------------------------------------------------------------------------------
typedef struct {
    int32_t ids[PROMPTS][SAMPLES][MOST];
    int64_t counts[PROMPTS][SAMPLES], texts;
    bool by_stop[PROMPTS][SAMPLES], by_eos[PROMPTS][SAMPLES];
    size_t sizes[PROMPTS][SAMPLES];
} texts;

static eh_status keep(void *context, const eh_generated *text)
{
    texts *own = context;
    own->texts++;
    own->counts[text->item][text->sample] = text->count;
    own->by_stop[text->item][text->sample] = text->ended_by_stop;
    own->by_eos[text->item][text->sample] = text->ended_by_eos;
    own->sizes[text->item][text->sample] = text->text_size;
    memcpy(own->ids[text->item][text->sample], text->ids, (size_t)text->count * sizeof *text->ids);
    return EH_OK;
}

static const int64_t offsets[PROMPTS + 1] = {0, 1, 4, 34, 36, 43, 47}, items[PROMPTS] = {0, 1, 2, 3, 4, 5};

static void generate(opened *own, const eh_generation *settings, texts *found)
{
    int32_t ids[47];
    for (int i = 0; i < 47; i++) ids[i] = 2 + i * 7 % 11;
    if (eh_generate(own->model, settings, PROMPTS, ids, offsets, items, keep, found) != EH_OK)
        fail_msg("%s", eh_error_message());
    assert_int_equal(found->texts, PROMPTS * SAMPLES);
}

typedef struct {
    int64_t made, count; // tokens that the model had to make; those that are left
    size_t size;
    bool stopped;
} outcome;

// The text of the first ids; a half of a character by itself is U+FFFD.
static void text_of(const int32_t *ids, int64_t count, char text[4 * MOST])
{
    text[0] = '\0';
    for (int64_t i = 0; i < count; i++) {
        const bool whole = ids[i] == 11 && i + 1 < count && ids[i + 1] == 12;
        strcat(text, whole ? "\xC3\xA9" : ids[i] >= 11 ? "\xEF\xBF\xBD" : pieces[ids[i]]);
        i += whole;
    }
}

// The text grows by tokens; the first byte with which one of the strings is complete ends it.
static outcome expected_outcome(const int32_t *ids, int64_t count, const eh_stops *stops)
{
    char text[4 * MOST], part[4 * MOST];
    for (int64_t k = 1; k <= count; k++) {
        text_of(ids, k, text);
        for (size_t end = 1; end <= strlen(text); end++) {
            size_t begin = end;
            for (int64_t s = 0; s < stops->count; s++) {
                const size_t size = strlen(stops->strings[s]);
                if (size <= end && memcmp(text + end - size, stops->strings[s], size) == 0 && end - size < begin)
                    begin = end - size;
            }
            if (begin == end)
                continue;
            outcome found = {.made = k, .size = begin, .stopped = true};
            for (text_of(ids, 0, part); strncmp(part, text, begin) != 0; text_of(ids, found.count, part)) found.count++;
            return found;
        }
    }
    return (outcome){.made = count, .count = count};
}

static int64_t calls(opened *own, const char *operation)
{
    const eh_profile_row *rows;
    int64_t count, found = 0;
    assert_int_equal(eh_backend_profile_report(own->backend, &rows, &count), EH_OK);
    for (int64_t r = 0; r < count; r++) found += strcmp(rows[r].operation, operation) == 0 ? rows[r].calls : 0;
    return found;
}

// Rounds that so many slots need for texts of these lengths, if a place is taken again in the round that frees it.
static int64_t expected_rounds(const int64_t *lengths, int64_t count, int64_t slots)
{
    int64_t busy[8] = {0}, last = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t first = 0;
        for (int64_t s = 1; s < slots; s++) first = busy[s] < busy[first] ? s : first;
        busy[first] += lengths[i];
        last = busy[first] > last ? busy[first] : last;
    }
    return last;
}

static void expect_stops(const char *config, const char *const *strings, int64_t string_count, bool count_rounds)
{
    opened own = open_new(config);
    texts whole = {.texts = 0};
    int64_t stopped = 0, lengths[PROMPTS * SAMPLES];
    eh_generation settings = {.max_new_tokens = MOST,
                              .samples = SAMPLES,
                              .sample = true,
                              .temperature = 3,
                              .top_p = 1,
                              .repetition_penalty = 1,
                              .eos = 9,
                              .seed = 11};
    generate(&own, &settings, &whole);
    settings.stops = (eh_stops){own.tokenizer, strings, string_count};
    for (settings.slots = 1; settings.slots <= 6; settings.slots += settings.slots == 1 ? 1 : 4) {
        texts found = {.texts = 0};
        assert_int_equal(eh_backend_profile_begin(own.backend, NULL), EH_OK);
        generate(&own, &settings, &found);
        for (int p = 0; p < PROMPTS; p++)
            for (int s = 0; s < SAMPLES; s++) {
                const outcome wanted = expected_outcome(whole.ids[p][s], whole.counts[p][s], &settings.stops);
                assert_int_equal(found.by_stop[p][s], wanted.stopped);
                assert_int_equal(found.by_eos[p][s], !wanted.stopped && whole.by_eos[p][s]);
                assert_int_equal(found.counts[p][s], wanted.count);
                assert_int_equal(found.sizes[p][s], wanted.size);
                assert_memory_equal(found.ids[p][s], whole.ids[p][s], (size_t)wanted.count * sizeof(int32_t));
                stopped += wanted.stopped;
                lengths[p * SAMPLES + s] = wanted.made + found.by_eos[p][s];
            }
        if (count_rounds)
            assert_int_equal(calls(&own, "attention_forward"),
                             3 * expected_rounds(lengths, PROMPTS * SAMPLES, settings.slots));
        assert_int_equal(eh_backend_profile_end(own.backend), EH_OK);
    }
    assert_true(stopped > 3 && stopped < 3 * PROMPTS * SAMPLES); // some texts were, some were not
    close_all(&own);
}

static void test_a_text_ends_before_its_stop_string_and_frees_its_place(void **state)
{
    (void)state;
    const char *const one[] = {"bb"}, *const several[] = {"a\n", "bca", "\xC3\xA9"};
    expect_stops(bloom, one, 1, true);
    expect_stops(bloom, several, 3, true);
    expect_stops(t5, one, 1, false);
    expect_stops(t5, several, 3, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stop_string_is_found_wherever_it_lies),
        cmocka_unit_test(test_a_text_ends_before_its_stop_string_and_frees_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
