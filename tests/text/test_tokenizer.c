// What a tokenizer does with broken files, malformed text, long words and short limits. Right ids are
// test_oracle_tokenizer's business.
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "support/cmocka.h"
#include "support/folder.h"

#define BPE_MODEL                                                                                           \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"ab\":3,\"aa\":4," \
    "\"aaaa\":5},\"merges\":[\"a b\",\"a a\",\"aa aa\"]}"
#define WORDPIECE                                                                                               \
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"           \
    "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]},"             \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2," \
    "\"a\":3,\"##b\":4,\"c\":5,\"d\":6,\"\xEF\xBF\xBD\":7}}"
#define UNIGRAM                                                                                                        \
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-1.5],[\"b\",-2],[\"ab\",-2.5],[\"aa\"," \
    "-2]]}"

typedef struct {
    char *folder;
    const char *path;
    eh_tokenizer *tokenizer;
    eh_encoding encoding;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->folder = eh_test_folder_new();
    f->path = eh_test_path(f->folder, "tokenizer.json");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    eh_tokenizer_close(&f->tokenizer);
    eh_encoding_deinit(&f->encoding);
    eh_test_folder_remove(&f->folder);
    free(f);
    return 0;
}

static void open_json(fixture *f, const char *members)
{
    eh_string json = {0};
    assert_int_equal(eh_string_printf(&json, "{%s}", members), EH_OK);
    eh_test_write(f->path, json.bytes, json.size);
    eh_string_deinit(&json);
    eh_tokenizer_close(&f->tokenizer);
    const eh_status status = eh_tokenizer_open(f->path, &f->tokenizer);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    assert_int_equal(status, EH_OK);
}

static void encode(fixture *f, const char *text, size_t size)
{
    assert_int_equal(eh_tokenizer_encode(f->tokenizer, text, size, EH_WITH_SPECIAL, &f->encoding), EH_OK);
}

static void expect_ids(const fixture *f, int64_t count, const int32_t *ids)
{
    assert_int_equal(f->encoding.count, count);
    assert_memory_equal(f->encoding.ids, ids, (size_t)count * sizeof *ids);
}
#define EXPECT_IDS(f, ...) expect_ids((f), sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

// --- Broken files ---

static void expect_refusal(fixture *f, const char *bytes, size_t size, const char *words)
{
    eh_test_write(f->path, bytes, size);
    eh_tokenizer *tokenizer = NULL;
    assert_int_equal(eh_tokenizer_open(f->path, &tokenizer), EH_INPUT);
    assert_null(tokenizer);
    if (strstr(eh_error_message(), words) == NULL || strstr(eh_error_message(), f->path) == NULL)
        fail_msg("'%s' names not '%s' or not the file", eh_error_message(), words);
}

static void test_refuses_broken_files_with_the_reason(void **state)
{
    static const struct {
        const char *members, *words;
    } broken[] = {
        {"\"model\":", "not JSON"},
        {"\n\n\"model\": nonsense", ".json:3: this is not JSON"},
        {"\"model\":{\"type\":\"BPE\",\n\"vocab\":{\"a\":0,\n\"b\":0}}",
         ".json:3: id 0 is given twice, to 'a' and to 'b'"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\n\"a\":1}}", ".json:2: token 'a' is given twice"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1.5}}", "expected a whole number"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}", "no index into a vocabulary"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000000}}", "no index into a vocabulary"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"x\"}}", "model.vocab must be"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}", "merge 0 is 'a', expected two tokens"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"b\",\"c\"]]}", "model.merges must be"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a zz\"]}",
         "right half 'zz' is not in the vocabulary"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}",
         "result 'aa' is not in the vocabulary"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}", "BPE needs"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"vocab\":{\"b\":0},\"merges\":[]}",
         "model.vocab is given twice"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"?\"}",
         "unk_token '?' is not in the"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}", "dropout is not supported"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}",
         "end_of_word_suffix"},
        {"\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}", "type 'WordLevel' is not supported"},
        {"\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",0]]}", "unk_id is 7, the vocabulary has 1"},
        {"\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e400]]}", "score that is out of range"},
        {"\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}", "model.vocab must be"},
        {"\"added_tokens\":[]", "there is no model"},
        {"\"normalizer\":{\"type\":\"ByteLevel\"}," BPE_MODEL, "normalizer: ByteLevel is not supported"},
        {"\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}," BPE_MODEL,
         "precompiled_charsmap"},
        {"\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," BPE_MODEL,
         "pre_tokenizer: UnicodeScripts is not supported"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(\"}}," BPE_MODEL,
         "'(' is no regular expression"},
        {"\"post_processor\":{\"type\":\"Magic\"}," BPE_MODEL, "post_processor: Magic is not supported"},
        {"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":"
         "0}}],"
         "\"pair\":[],\"special_tokens\":{}}," BPE_MODEL,
         "'x' is not among its special_tokens"},
        {"\"decoder\":{\"type\":\"CTC\"}," BPE_MODEL, "decoder: CTC is not supported"},
        {"\"added_tokens\":[{\"id\":1,\"content\":\"new\"}]," BPE_MODEL,
         "'new' has id 1, which is 'a' in the vocabulary"},
        {"\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]," BPE_MODEL, "'a' has id 9, but 1 in the vocabulary"},
        {"\"added_tokens\":[{\"id\":9,\"content\":\"x\"},{\"id\":9,\"content\":\"y\"}]," BPE_MODEL,
         "id 9 is given twice"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char json[1024];
        const int size = snprintf(json, sizeof json, "{%s}", broken[i].members);
        expect_refusal(f, json, (size_t)size, broken[i].words);
    }
    expect_refusal(f, "", 0, "is empty");
    expect_refusal(f, "[1]", 3, "is not a tokenizer");
    expect_refusal(f,
                   "\x7F"
                   "ELF\0\1\2\3",
                   8, "not JSON");
    expect_refusal(f, "{\"a\":\"\xFF\"}", 9, "not JSON"); // not UTF-8
    eh_tokenizer *tokenizer = NULL;
    assert_int_equal(eh_tokenizer_open("/no/such/tokenizer.json", &tokenizer), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "/no/such/tokenizer.json: cannot be read"));
}

static void test_refuses_deep_nesting(void **state)
{
    eh_string json = {0};
    for (int i = 0; i < 100000; i++) assert_int_equal(eh_string_append_text(&json, i == 0 ? "{\"a\":" : "["), EH_OK);
    expect_refusal(*state, json.bytes, json.size, "nested more than 64 deep");
    eh_string_deinit(&json);
}

static void test_every_cut_of_a_file_is_refused(void **state)
{
    const char *whole = "{" WORDPIECE ",\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\",\"special\":true}]}";
    for (size_t size = 1; size < strlen(whole); size++) expect_refusal(*state, whole, size, "");
}

// --- Malformed text ---

static void test_malformed_utf8_reads_as_replacement_characters(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        int64_t replaced;
        const char *same; // what Python's bytes.decode(errors="replace") gives
    } cases[] = {
        {"a\xFF"
         "b",
         3, 1,
         "a\xEF\xBF\xBD"
         "b"},
        {"\xC3", 1, 1, "\xEF\xBF\xBD"},
        {"\xE2\x82", 2, 1, "\xEF\xBF\xBD"}, // cut short: one
        {"\xE2\x82"
         "a",
         3, 1,
         "\xEF\xBF\xBD"
         "a"},
        {"\xED\xA0\x80", 3, 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, // a surrogate: three
        {"\xC0\xAF", 2, 2, "\xEF\xBF\xBD\xEF\xBF\xBD"},                 // overlong
        {"\xF5\x80\x80\x80", 4, 4, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF0\x9F\x98", 3, 1, "\xEF\xBF\xBD"},
        {"\x80\x80", 2, 2, "\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    fixture *f = *state;
    eh_encoding wanted = {0};
    open_json(f, UNIGRAM);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        encode(f, cases[i].text, cases[i].size);
        assert_int_equal(f->encoding.replaced, cases[i].replaced);
        assert_int_equal(
            eh_tokenizer_encode(f->tokenizer, cases[i].same, strlen(cases[i].same), EH_WITH_SPECIAL, &wanted), EH_OK);
        assert_int_equal(wanted.replaced, 0);
        expect_ids(f, wanted.count, wanted.ids);
    }
    eh_encoding_deinit(&wanted);
}

static void test_offsets_count_the_bytes_of_malformed_text_too(void **state)
{
    fixture *f = *state;
    open_json(f, UNIGRAM);
    encode(f,
           "\xE2\x82"
           "ab\xFF",
           5);
    EXPECT_IDS(f, 0, 3, 0);
    const uint32_t expected[3][2] = {{0, 2}, {2, 4}, {4, 5}};
    assert_memory_equal(f->encoding.offsets, expected, sizeof expected);
}

static void test_an_unknown_character_without_an_unknown_token_is_refused(void **state)
{
    fixture *f = *state;
    open_json(f, "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]]}");
    assert_int_equal(eh_tokenizer_encode(f->tokenizer, "ax", 2, EH_WITH_SPECIAL, &f->encoding), EH_INPUT);
    assert_int_equal(f->encoding.count, 0);
    assert_non_null(strstr(eh_error_message(), "'x' is not in the vocabulary"));
}

static void test_empty_text_has_only_the_added_tokens(void **state)
{
    fixture *f = *state;
    open_json(f, WORDPIECE);
    encode(f, "", 0);
    EXPECT_IDS(f, 1, 2);
    encode(f, " \t\n", 3);
    EXPECT_IDS(f, 1, 2);
    assert_int_equal(eh_tokenizer_encode(f->tokenizer, NULL, 0, EH_WITHOUT_SPECIAL, &f->encoding), EH_OK);
    assert_int_equal(f->encoding.count, 0);
}

// --- Long words ---

static void test_a_word_of_a_million_bytes_is_no_hang(void **state)
{
    fixture *f = *state;
    enum { BYTES = 1 << 20 };
    char *word = malloc(BYTES);
    memset(word, 'a', BYTES);
    static const char *const models[] = {BPE_MODEL, WORDPIECE, UNIGRAM};
    static const int64_t counts[] = {BYTES / 4, 3, BYTES / 2}; // aaaa; [CLS] [UNK] [SEP]; aa
    for (int i = 0; i < 3; i++) {
        open_json(f, models[i]);
        const double begin = eh_seconds();
        encode(f, word, BYTES);
        const double seconds = eh_seconds() - begin;
        assert_int_equal(f->encoding.count, counts[i]);
        if (getenv("EVENHAND_SANITIZED") == NULL && seconds > 2)
            fail_msg("%.1f seconds for a word of a million bytes", seconds);
    }
    free(word);
}

// The heap for long words and the search for short ones must agree: the same letters, as one word and cut at 64.
static void test_long_words_are_merged_like_short_ones(void **state)
{
    fixture *f = *state;
    char word[65];
    eh_encoding alone = {0};
    open_json(f, BPE_MODEL);
    for (unsigned bits = 1; bits < 4096; bits += 7) {
        for (unsigned i = 0; i < 64; i++) word[i] = (bits >> i % 12 & 1) || i == 0 ? 'a' : 'b';
        word[63] = word[64] = 'b'; // nothing merges with a leading b
        encode(f, word, 65);
        assert_int_equal(eh_tokenizer_encode(f->tokenizer, word, 64, EH_WITH_SPECIAL, &alone), EH_OK);
        assert_int_equal(f->encoding.count, alone.count + 1);
        assert_memory_equal(f->encoding.ids, alone.ids, (size_t)alone.count * sizeof *alone.ids);
    }
    eh_encoding_deinit(&alone);
}

// --- Truncation ---

static void test_truncation_keeps_the_added_tokens(void **state)
{
    fixture *f = *state;
    open_json(f, WORDPIECE);
    encode(f, "a c d ab", 8);
    EXPECT_IDS(f, 1, 3, 5, 6, 3, 4, 2);
    assert_int_equal(eh_encoding_truncate(&f->encoding, 7), EH_OK);
    assert_int_equal(f->encoding.cut, 0);
    assert_int_equal(eh_encoding_truncate(&f->encoding, 4), EH_OK);
    EXPECT_IDS(f, 1, 3, 5, 2);
    assert_int_equal(f->encoding.cut, 3);
    assert_int_equal(eh_encoding_truncate(&f->encoding, 2), EH_OK);
    EXPECT_IDS(f, 1, 2);
    assert_int_equal(eh_encoding_truncate(&f->encoding, 1), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "a maximum of 1 tokens leaves no room for the 2"));
}

// The reference's truncation="longest_first" on lengths (first, second), for a maximum of `budget` text tokens.
static void test_truncation_of_pairs_cuts_the_longer_first(void **state)
{
    static const int64_t cases[][5] = {
        // first, second, budget, first kept, second kept
        {5, 2, 6, 4, 2}, {2, 5, 6, 2, 4}, {5, 5, 6, 3, 3}, {5, 5, 7, 3, 4}, {6, 5, 7, 4, 3},
        {5, 6, 7, 3, 4}, {9, 1, 2, 1, 1}, {1, 9, 2, 1, 1}, {9, 3, 3, 2, 1}, {0, 4, 2, 0, 2},
        {4, 0, 2, 2, 0}, {3, 3, 1, 0, 1}, {5, 4, 0, 0, 0}, {8, 4, 3, 2, 1},
    };
    fixture *f = *state;
    open_json(f, WORDPIECE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char first[32], second[32];
        for (int k = 0; k < 16; k++) memcpy(first + 2 * k, "c ", 2), memcpy(second + 2 * k, "d ", 2);
        assert_int_equal(eh_tokenizer_encode_pair(f->tokenizer, first, (size_t)cases[i][0] * 2, second,
                                                  (size_t)cases[i][1] * 2, &f->encoding),
                         EH_OK);
        assert_int_equal(eh_encoding_truncate(&f->encoding, cases[i][2] + 3), EH_OK);
        int64_t kept[2] = {0, 0};
        for (int64_t t = 0; t < f->encoding.count; t++) {
            kept[0] += f->encoding.ids[t] == 5;
            kept[1] += f->encoding.ids[t] == 6;
        }
        assert_int_equal(kept[0], cases[i][3]);
        assert_int_equal(kept[1], cases[i][4]);
        assert_int_equal(f->encoding.cut, cases[i][0] + cases[i][1] - kept[0] - kept[1]);
    }
}

// --- Reuse ---

static void test_an_encoding_can_change_its_tokenizer(void **state)
{
    fixture *f = *state;
    open_json(f, BPE_MODEL);
    encode(f, "ab", 2);
    EXPECT_IDS(f, 3);
    open_json(f, WORDPIECE);
    encode(f, "ab", 2);
    EXPECT_IDS(f, 1, 3, 4, 2);
    open_json(f, UNIGRAM);
    encode(f, "ab", 2);
    EXPECT_IDS(f, 3);
}

static void test_encoding_the_same_again_allocates_nothing(void **state)
{
    fixture *f = *state;
    const char *text = "a c \xC3\xA9 ab, \xE4\xB8\x80 [CLS] \xFF end of the text";
    static const char *const models[] = {BPE_MODEL, WORDPIECE, UNIGRAM};
    for (int i = 0; i < 3; i++) {
        open_json(f, models[i]);
        encode(f, text, strlen(text));
        const int64_t before = eh_allocation_count();
        for (int k = 0; k < 100; k++) encode(f, text, strlen(text));
        assert_int_equal(eh_allocation_count(), before);
    }
}

static void test_tokens_and_ids_are_found(void **state)
{
    fixture *f = *state;
    open_json(
        f,
        "\"added_tokens\":[{\"id\":1,\"content\":\"a\",\"special\":true},{\"id\":8,\"content\":\"<x>\"}]," BPE_MODEL);
    assert_int_equal(eh_tokenizer_vocab_size(f->tokenizer), 7);
    assert_int_equal(eh_tokenizer_id(f->tokenizer, "aaaa"), 5);
    assert_int_equal(eh_tokenizer_id(f->tokenizer, "<x>"), 8);
    assert_int_equal(eh_tokenizer_id(f->tokenizer, "no"), -1);
    assert_string_equal(eh_tokenizer_token(f->tokenizer, 3), "ab");
    assert_string_equal(eh_tokenizer_token(f->tokenizer, 8), "<x>");
    assert_null(eh_tokenizer_token(f->tokenizer, 6));
    assert_null(eh_tokenizer_token(f->tokenizer, -1));
    assert_true(eh_tokenizer_is_special(f->tokenizer, 1));
    assert_false(eh_tokenizer_is_special(f->tokenizer, 8));
    assert_string_equal(eh_tokenizer_kind(f->tokenizer), "BPE");
    assert_int_equal(strlen(eh_tokenizer_sha256(f->tokenizer)), 64);
    const int32_t ids[] = {3, 77, -5, 8, 1};
    eh_string text = {0};
    assert_int_equal(eh_tokenizer_decode(f->tokenizer, ids, 5, true, &text), EH_OK);
    assert_string_equal(text.bytes, "ab <x>"); // no decoder: joined by spaces; unknown ids and special tokens go
    assert_int_equal(eh_tokenizer_decode(f->tokenizer, ids, 0, true, &text), EH_OK);
    assert_string_equal(text.bytes, "");
    eh_string_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refuses_broken_files_with_the_reason, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_deep_nesting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_cut_of_a_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed_utf8_reads_as_replacement_characters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_offsets_count_the_bytes_of_malformed_text_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_unknown_character_without_an_unknown_token_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_empty_text_has_only_the_added_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_word_of_a_million_bytes_is_no_hang, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_words_are_merged_like_short_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_keeps_the_added_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_of_pairs_cuts_the_longer_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_encoding_can_change_its_tokenizer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_encoding_the_same_again_allocates_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tokens_and_ids_are_found, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
