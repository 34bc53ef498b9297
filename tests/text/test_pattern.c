// The patterns matched by hand against Oniguruma, on random texts of characters that hurt and on every code point.
#include "text/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/philox.h"
#include "support/cmocka.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

static void expect_same(const eh_pattern *ours, const eh_pattern *theirs, const char *text, uint32_t size)
{
    eh_pieces found = {0}, wanted = {0};
    assert_int_equal(eh_pattern_split(ours, text, 0, size, EH_ISOLATED, false, &found), EH_OK);
    assert_int_equal(eh_pattern_split(theirs, text, 0, size, EH_ISOLATED, false, &wanted), EH_OK);
    bool same = found.count == wanted.count;
    for (int64_t i = 0; same && i < found.count; i++)
        same = found.pieces[i].begin == wanted.pieces[i].begin && found.pieces[i].end == wanted.pieces[i].end;
    if (!same) {
        fprintf(stderr, "'%.*s':", (int)size, text);
        for (int64_t i = 0; i < found.count; i++) fprintf(stderr, " %u", found.pieces[i].end);
        fprintf(stderr, ", expected");
        for (int64_t i = 0; i < wanted.count; i++) fprintf(stderr, " %u", wanted.pieces[i].end);
        fprintf(stderr, "\n");
        fail();
    }
    eh_free(&found.pieces);
    eh_free(&wanted.pieces);
}

static uint32_t matches(const eh_pattern *pattern, uint32_t code_point)
{
    char text[4];
    bool found = false;
    uint32_t begin, end;
    const uint32_t size = eh_utf8_write(code_point, text);
    assert_int_equal(eh_pattern_find(pattern, text, 0, size, 0, &found, &begin, &end), EH_OK);
    return found;
}

// The system's Oniguruma may know fewer letters than the reference's: what both see alike is compared.
static bool *comparable_code_points(void)
{
    eh_pattern *letter = NULL, *number = NULL, *space = NULL;
    bool *comparable = calloc(0x110000, 1);
    int64_t different = 0;
    assert_int_equal(eh_pattern_open_oniguruma("\\p{L}", &letter), EH_OK);
    assert_int_equal(eh_pattern_open_oniguruma("\\p{N}", &number), EH_OK);
    assert_int_equal(eh_pattern_open_oniguruma("\\s", &space), EH_OK);
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        comparable[c] = matches(letter, c) == eh_is_letter(c) && matches(number, c) == eh_is_number(c) &&
                        matches(space, c) == eh_is_space(c);
        different += !comparable[c];
    }
    printf("%lld code points are newer than the system's Oniguruma\n", (long long)different);
    assert_true(different < 12000);
    eh_pattern_close(&letter);
    eh_pattern_close(&number);
    eh_pattern_close(&space);
    return comparable;
}

static void compare_randomly(const char *expression, const bool *comparable)
{
    static const uint32_t picks[] = {'a',     'Z',    's',    't',    'r',    'e',   'v',   'l',    'd',   'm',
                                     '\'',    ' ',    ' ',    '\t',   '\n',   '\r',  '0',   '9',    '.',   ',',
                                     '!',     '?',    '(',    ')',    '|',    '[',   ']',   '-',    0x85,  0xA0,
                                     0xE9,    0x660,  0x2002, 0x3000, 0x2026, 0x964, 0x60C, 0x4E00, 0x301, 0xBD,
                                     0x1F600, 0xFF0C, 0x3001, 0x3002, 0x6D4,  0x200B};
    eh_pattern *ours = NULL, *theirs = NULL;
    assert_int_equal(eh_pattern_open(expression, &ours), EH_OK);
    assert_int_equal(eh_pattern_open_oniguruma(expression, &theirs), EH_OK);
    for (uint64_t run = 0; run < 60000; run++) {
        char text[80];
        uint32_t size = 0;
        const uint32_t length = 1 + eh_philox(5, EH_STREAM_TEST, run, 0).word[0] % 16;
        for (uint32_t i = 0; i < length; i++) {
            const eh_philox_block random = eh_philox(5, EH_STREAM_TEST, run, i + 1);
            uint32_t c = picks[random.word[0] % (sizeof picks / sizeof *picks)];
            if (random.word[1] % 4 == 0 && comparable[random.word[2] % 0x110000])
                c = random.word[2] % 0x110000;
            size += eh_utf8_write(c, text + size);
        }
        expect_same(ours, theirs, text, size);
    }
    for (uint32_t c = 0; c < 0x110000; c++) { // each between letters, and behind a space
        char text[16] = "a";
        if (!comparable[c])
            continue;
        uint32_t size = 1 + eh_utf8_write(c, text + 1);
        text[size++] = ' ';
        size += eh_utf8_write(c, text + size);
        text[size++] = 'b';
        expect_same(ours, theirs, text, size);
    }
    eh_pattern_close(&ours);
    eh_pattern_close(&theirs);
}

static void test_patterns_by_hand_cut_as_oniguruma_does(void **state)
{
    (void)state;
    bool *comparable = comparable_code_points();
    compare_randomly(EH_PATTERN_GPT2, comparable);
    compare_randomly(EH_PATTERN_BLOOM, comparable);
    free(comparable);
}

static void expect_pieces(const char *expression, eh_split_behavior behavior, bool invert, const char *text,
                          const char *joined)
{
    eh_pattern *pattern = NULL;
    eh_pieces pieces = {0};
    char found[128] = "";
    assert_int_equal(eh_pattern_open(expression, &pattern), EH_OK);
    assert_int_equal(eh_pattern_split(pattern, text, 0, (uint32_t)strlen(text), behavior, invert, &pieces), EH_OK);
    for (int64_t i = 0; i < pieces.count; i++) {
        strncat(found, text + pieces.pieces[i].begin, pieces.pieces[i].end - pieces.pieces[i].begin);
        strcat(found, "|");
    }
    assert_string_equal(found, joined);
    eh_free(&pieces.pieces);
    eh_pattern_close(&pattern);
}

// The examples in the reference's documentation of SplitDelimiterBehavior.
static void test_behaviors_are_the_references(void **state)
{
    (void)state;
    const char *text = "the-final--countdown";
    expect_pieces("-", EH_REMOVED, false, text, "the|final|countdown|");
    expect_pieces("-", EH_ISOLATED, false, text, "the|-|final|-|-|countdown|");
    expect_pieces("-", EH_MERGED_WITH_PREVIOUS, false, text, "the-|final-|-|countdown|");
    expect_pieces("-", EH_MERGED_WITH_NEXT, false, text, "the|-final|-|-countdown|");
    expect_pieces("-", EH_CONTIGUOUS, false, text, "the|-|final|--|countdown|");
    expect_pieces("[a-z]+", EH_REMOVED, true, text, "the|final|countdown|");
    expect_pieces("x*", EH_ISOLATED, false, "axb", "a|x|b|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns_by_hand_cut_as_oniguruma_does),
        cmocka_unit_test(test_behaviors_are_the_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
