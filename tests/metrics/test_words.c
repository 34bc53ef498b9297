// Words of a data set, counted as Python's collections.Counter over [a-z0-9 and beyond ASCII] runs would.
#include <math.h>
#include <string.h>

#include "metrics/words.h"
#include "support/close.h"
#include "support/cmocka.h"

static void add(eh_examples *examples, uint64_t row, const char *text)
{
    assert_int_equal(
        eh_examples_add(examples, &(eh_example){.source_row = row, .text = text, .text_size = strlen(text)}), EH_OK);
}

static void test_words_are_counted_once_a_row(void **state)
{
    (void)state;
    eh_examples examples = {0};
    eh_word_counts *counts = NULL;
    add(&examples, 0,
        "The dog's\x1f"
        "dog, THE end");
    add(&examples, 0,
        "The dog's\x1f"
        "dog, THE end"); // another example of the same row
    add(&examples, 1, "a caf\xC3\xA9; the");
    assert_int_equal(eh_word_counts_new(&examples, &counts), EH_OK);
    static const struct {
        const char *word;
        int64_t count;
    } known[] = {{"the", 3}, {"The", 3}, {"dog", 2}, {"s", 1}, {"end", 1}, {"caf\xC3\xA9", 1}, {"cat", 0}, {"do", 0}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        assert_int_equal(eh_word_count(counts, known[k].word, strlen(known[k].word)), known[k].count);
    assert_close(eh_word_frequency(counts, "The dog... cat!"), (log(4) + log(3) + 0) / 3, 1e-12);
    assert_true(isnan(eh_word_frequency(counts, " ?! ")));
    eh_word_counts_free(&counts);
    eh_examples_deinit(&examples);
    assert_int_equal(eh_word_counts_new(&examples, &counts), EH_OK); // no rows at all
    assert_int_equal(eh_word_count(counts, "the", 3), 0);
    eh_word_counts_free(&counts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words_are_counted_once_a_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
