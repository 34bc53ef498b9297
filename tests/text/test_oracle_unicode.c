// Every code point against what the reference's pre-tokenizers and normalizers make of it (expected/unicode.h5).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

#include "support/cmocka.h"
#include "support/folder.h"
#include "text/normalizer.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

enum { CODE_POINTS = 0x110000 };

static void *read_all(const char *name, hid_t type, size_t bytes, int64_t *count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/oracle/fixtures/expected/unicode.h5", eh_test_shared());
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    const hid_t data = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(data >= 0);
    const hid_t space = H5Dget_space(data);
    *count = H5Sget_simple_extent_npoints(space);
    void *values = calloc((size_t)*count, bytes);
    assert_non_null(values);
    assert_true(H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Sclose(space);
    H5Dclose(data);
    H5Fclose(file);
    return values;
}

static bool is_bert_space(uint32_t c)
{
    return eh_is_space(c) && !eh_is_bert_control(c);
}

static bool is_bert_dropped(uint32_t c)
{
    return eh_is_bert_control(c) || c == EH_REPLACEMENT;
}

static void test_every_code_point_has_the_references_classes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t flag;
        bool (*is)(uint32_t);
    } classes[] = {
        {"letter", 1, eh_is_letter},
        {"number", 2, eh_is_number},
        {"space", 4, eh_is_space},
        {"bloom break", 8, eh_is_bloom_break},
        {"split space", 16, eh_is_space},
        {"bert space", 32, is_bert_space},
        {"bert dropped", 64, is_bert_dropped},
        {"bert punctuation", 128, eh_is_bert_punctuation},
        {"bert chinese", 256, eh_is_bert_chinese},
    };
    int64_t count = 0;
    int wrong = 0;
    uint16_t *flags = read_all("flags", H5T_NATIVE_UINT16, sizeof *flags, &count);
    assert_int_equal(count, CODE_POINTS);
    for (uint32_t c = 0; c < CODE_POINTS; c++)
        for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
            if ((c >= 0xD800 && c < 0xE000) || classes[i].is(c) == ((flags[c] & classes[i].flag) != 0))
                continue;
            if (wrong++ < 20)
                fprintf(stderr, "U+%04X: %s is %d\n", c, classes[i].name, classes[i].is(c));
        }
    assert_int_equal(wrong, 0);
    free(flags);
}

static void test_ascii_has_the_same_classes_in_its_table(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 128; c++) {
        const uint8_t classes = eh_ascii_classes[c];
        assert_int_equal((classes & EH_ASCII_LETTER) != 0, eh_is_letter(c));
        assert_int_equal((classes & EH_ASCII_NUMBER) != 0, eh_is_number(c));
        assert_int_equal((classes & EH_ASCII_SPACE) != 0, eh_is_space(c));
        assert_int_equal((classes & EH_ASCII_BLOOM_BREAK) != 0, eh_is_bloom_break(c));
        assert_int_equal((classes & EH_ASCII_PUNCTUATION) != 0, eh_is_bert_punctuation(c));
    }
}

// What BERT's normalizer must make of a code point alone, by its flags, unless a change is listed.
static size_t expected_text(uint32_t c, uint16_t flags, char text[8])
{
    if (flags & 64)
        return 0;
    const uint32_t kept = flags & 32 ? ' ' : c;
    size_t size = 0;
    if (flags & 256)
        text[size++] = ' ';
    size += eh_utf8_write(kept, text + size);
    if (flags & 256)
        text[size++] = ' ';
    return size;
}

static void test_bert_normalizes_every_code_point_as_the_reference(void **state)
{
    (void)state;
    int64_t flag_count, change_count, text_bytes, offset_count, next = 0;
    uint16_t *flags = read_all("flags", H5T_NATIVE_UINT16, sizeof *flags, &flag_count);
    int32_t *changed = read_all("bert_changes/codepoints", H5T_NATIVE_INT32, sizeof *changed, &change_count);
    char *texts = read_all("bert_changes/texts/values", H5T_NATIVE_UINT8, 1, &text_bytes);
    int64_t *offsets = read_all("bert_changes/texts/offsets", H5T_NATIVE_INT64, sizeof *offsets, &offset_count);
    json_t *description = json_pack("{s:s}", "type", "BertNormalizer");
    eh_normalizer normalizer = {0};
    eh_normalizer_work work = {0};
    eh_aligned text = {0};
    int wrong = 0;
    assert_int_equal(eh_normalizer_init(description, &normalizer), EH_OK);
    for (uint32_t c = 0; c < CODE_POINTS; c++) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        char input[4], wanted[8];
        const uint32_t size = eh_utf8_write(c, input);
        const char *expected = wanted;
        size_t expected_size = expected_text(c, flags[c], wanted);
        if (next < change_count && (uint32_t)changed[next] == c) {
            expected = texts + offsets[next];
            expected_size = (size_t)(offsets[next + 1] - offsets[next]);
            next++;
        }
        text.size = 0;
        assert_int_equal(eh_normalizer_run(&normalizer, &work, (eh_source){input, NULL}, 0, size, &text), EH_OK);
        if ((size_t)text.size == expected_size &&
            (expected_size == 0 || memcmp(text.bytes, expected, expected_size) == 0))
            continue;
        if (wrong++ < 20)
            fprintf(stderr, "U+%04X becomes '%.*s', expected '%.*s'\n", c, (int)text.size, text.bytes,
                    (int)expected_size, expected);
    }
    assert_int_equal(next, change_count);
    assert_int_equal(wrong, 0);
    eh_aligned_deinit(&text);
    eh_normalizer_work_deinit(&work);
    eh_normalizer_deinit(&normalizer);
    json_decref(description);
    free(flags);
    free(changed);
    free(texts);
    free(offsets);
}

int main(void)
{
    if (eh_test_shared() == NULL) {
        puts("SKIPPED TEST: the oracle's fixtures are not here");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point_has_the_references_classes),
        cmocka_unit_test(test_ascii_has_the_same_classes_in_its_table),
        cmocka_unit_test(test_bert_normalizes_every_code_point_as_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
