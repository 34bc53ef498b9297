// Every tokenizer of the oracle: its 42 strings, plain, with special tokens and as pairs, and its decoded rows.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

#include "support/cmocka.h"
#include "support/folder.h"
#include "text/tokenizer.h"

// A ragged list: row i is values[offsets[i]] to values[offsets[i + 1]].
typedef struct {
    void *values;
    int64_t *offsets;
    int64_t count;
} ragged;

static void *read_all(hid_t file, const char *name, hid_t type, size_t bytes, int64_t *count)
{
    const hid_t data = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(data >= 0);
    const hid_t space = H5Dget_space(data);
    *count = H5Sget_simple_extent_npoints(space);
    void *values = calloc((size_t)*count + 1, bytes);
    assert_non_null(values);
    if (*count > 0)
        assert_true(H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Sclose(space);
    H5Dclose(data);
    return values;
}

static ragged read_ragged(hid_t file, const char *name, hid_t type, size_t bytes)
{
    char path[128];
    int64_t count = 0;
    ragged list = {0};
    snprintf(path, sizeof path, "tokenizer/%s/values", name);
    list.values = read_all(file, path, type, bytes, &count);
    snprintf(path, sizeof path, "tokenizer/%s/offsets", name);
    list.offsets = read_all(file, path, H5T_NATIVE_INT64, sizeof(int64_t), &list.count);
    list.count--;
    return list;
}

static ragged read_texts(hid_t file, const char *name)
{
    return read_ragged(file, name, H5T_NATIVE_UINT8, 1);
}

static ragged read_ids(hid_t file, const char *name)
{
    return read_ragged(file, name, H5T_NATIVE_INT32, sizeof(int32_t));
}

static void free_ragged(ragged *list)
{
    free(list->values);
    free(list->offsets);
}

static const char *text_at(const ragged *texts, int64_t i, size_t *size)
{
    *size = (size_t)(texts->offsets[i + 1] - texts->offsets[i]);
    return (const char *)texts->values + texts->offsets[i];
}

static void expect_ids(const ragged *expected, int64_t row, const int32_t *ids, int64_t count, const char *what)
{
    const int32_t *wanted = (const int32_t *)expected->values + expected->offsets[row];
    const int64_t wanted_count = expected->offsets[row + 1] - expected->offsets[row];
    if (count == wanted_count && (count == 0 || memcmp(ids, wanted, (size_t)count * sizeof *ids) == 0))
        return;
    fprintf(stderr, "%s, row %lld: found", what, (long long)row);
    for (int64_t i = 0; i < count; i++) fprintf(stderr, " %d", ids[i]);
    fprintf(stderr, "\nexpected");
    for (int64_t i = 0; i < wanted_count; i++) fprintf(stderr, " %d", wanted[i]);
    fprintf(stderr, "\n");
    fail();
}

static void check_encoding(const eh_tokenizer *tokenizer, hid_t file)
{
    ragged texts = read_texts(file, "texts"), ids = read_ids(file, "ids"), plain = read_ids(file, "ids_plain");
    assert_true(texts.count >= 42);
    eh_encoding encoding = {0};
    for (int64_t i = 0; i < texts.count; i++) {
        size_t size;
        const char *text = text_at(&texts, i, &size);
        assert_int_equal(eh_tokenizer_encode(tokenizer, text, size, EH_WITH_SPECIAL, &encoding), EH_OK);
        expect_ids(&ids, i, encoding.ids, encoding.count, "with special tokens");
        assert_int_equal(eh_tokenizer_encode(tokenizer, text, size, EH_WITHOUT_SPECIAL, &encoding), EH_OK);
        expect_ids(&plain, i, encoding.ids, encoding.count, "without special tokens");
    }
    eh_encoding_deinit(&encoding);
    free_ragged(&texts);
    free_ragged(&ids);
    free_ragged(&plain);
}

static void check_pairs(const eh_tokenizer *tokenizer, hid_t file)
{
    ragged texts = read_texts(file, "texts"), ids = read_ids(file, "pair_ids"), types = read_ids(file, "pair_types");
    int64_t count = 0;
    int32_t *pairs = read_all(file, "tokenizer/pairs", H5T_NATIVE_INT32, sizeof *pairs, &count);
    assert_true(count > 0);
    eh_encoding encoding = {0};
    for (int64_t i = 0; i < count / 2; i++) {
        size_t first_size, second_size;
        const char *first = text_at(&texts, pairs[2 * i], &first_size);
        const char *second = text_at(&texts, pairs[2 * i + 1], &second_size);
        assert_int_equal(eh_tokenizer_encode_pair(tokenizer, first, first_size, second, second_size, &encoding), EH_OK);
        expect_ids(&ids, i, encoding.ids, encoding.count, "pair");
        int32_t *found = calloc((size_t)encoding.count + 1, sizeof *found);
        for (int64_t t = 0; t < encoding.count; t++) found[t] = encoding.type_ids[t];
        expect_ids(&types, i, found, encoding.count, "types of a pair");
        free(found);
    }
    eh_encoding_deinit(&encoding);
    free(pairs);
    free_ragged(&texts);
    free_ragged(&ids);
    free_ragged(&types);
}

static void check_decoding(const eh_tokenizer *tokenizer, hid_t file)
{
    ragged ids = read_ids(file, "decode_ids");
    eh_string text = {0};
    for (int skip = 0; skip < 2; skip++) {
        ragged expected = read_texts(file, skip ? "decoded" : "decoded_with_special");
        for (int64_t i = 0; i < ids.count; i++) {
            size_t size;
            const char *wanted = text_at(&expected, i, &size);
            const int32_t *row = (const int32_t *)ids.values + ids.offsets[i];
            const int64_t count = ids.offsets[i + 1] - ids.offsets[i];
            assert_int_equal(eh_tokenizer_decode(tokenizer, row, count, skip, &text), EH_OK);
            if (text.size != size || (size > 0 && memcmp(text.bytes, wanted, size) != 0)) {
                fprintf(stderr, "decoded row %lld: found '%s', expected '%.*s'\n", (long long)i, text.bytes, (int)size,
                        wanted);
                fail();
            }
        }
        free_ragged(&expected);
    }
    eh_string_deinit(&text);
    free_ragged(&ids);
}

static void check_model(const char *name)
{
    char path[4096];
    eh_tokenizer *tokenizer = NULL;
    snprintf(path, sizeof path, "%s/oracle/fixtures/models/%s/tokenizer.json", eh_test_shared(), name);
    const eh_status status = eh_tokenizer_open(path, &tokenizer);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    assert_int_equal(status, EH_OK);
    snprintf(path, sizeof path, "%s/oracle/fixtures/expected/%s.h5", eh_test_shared(), name);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    check_encoding(tokenizer, file);
    check_pairs(tokenizer, file);
    check_decoding(tokenizer, file);
    H5Fclose(file);
    eh_tokenizer_close(&tokenizer);
    assert_null(tokenizer);
}

static void test_bloom_gives_the_oracles_ids(void **state)
{
    (void)state;
    check_model("bloom-a");
    check_model("bloom-b");
}

static void test_gpt2_gives_the_oracles_ids(void **state)
{
    (void)state;
    check_model("gpt2-a");
}

static void test_roberta_gives_the_oracles_ids(void **state)
{
    (void)state;
    check_model("roberta-mlm");
    check_model("roberta-toxic");
}

static void test_t5_gives_the_oracles_ids(void **state)
{
    (void)state;
    check_model("t5-a");
}

static void test_bert_gives_the_oracles_ids(void **state)
{
    (void)state;
    check_model("bert-mlm");
    check_model("bert-nsp");
    check_model("bert-regard");
}

int main(void)
{
    if (eh_test_shared() == NULL) {
        puts("SKIPPED TEST: the oracle's fixtures are not here");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bloom_gives_the_oracles_ids),   cmocka_unit_test(test_gpt2_gives_the_oracles_ids),
        cmocka_unit_test(test_roberta_gives_the_oracles_ids), cmocka_unit_test(test_t5_gives_the_oracles_ids),
        cmocka_unit_test(test_bert_gives_the_oracles_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
