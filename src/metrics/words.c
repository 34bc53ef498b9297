#include "metrics/words.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

typedef struct {
    const char *begin; // into text
    size_t size;
    int64_t count;
} word;

struct eh_word_counts {
    char *text; // in lower case
    word *words;
    int64_t count, capacity;
};

static bool is_of_word(char c)
{
    return (unsigned char)c >= 128 || isalnum((unsigned char)c) != 0;
}

// The next word of [at, end), NULL if there is none.
static const char *next_word(const char *at, const char *end, size_t *size)
{
    while (at < end && !is_of_word(*at)) at++;
    const char *stop = at;
    while (stop < end && is_of_word(*stop)) stop++;
    *size = (size_t)(stop - at);
    return *size > 0 ? at : NULL;
}

static int compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : a_size < b_size ? -1 : a_size > b_size;
}

static int by_word(const void *a, const void *b)
{
    const word *x = a, *y = b;
    return compare(x->begin, x->size, y->begin, y->size);
}

static char lower(char c)
{
    return (unsigned char)c < 128 ? (char)tolower((unsigned char)c) : c;
}

eh_status eh_word_counts_new(const eh_examples *examples, eh_word_counts **counts)
{
    eh_status status = EH_OK;
    eh_word_counts *fresh = NULL;
    EH_TRY(EH_ALLOC(1, &fresh));
    const int64_t bytes = examples->count > 0 ? (int64_t)examples->text_offsets[examples->count] : 0;
    EH_TRY_OR(failed, EH_ALLOC(bytes + 1, &fresh->text));
    for (int64_t i = 0; i < bytes; i++) fresh->text[i] = lower(examples->text[i]);
    for (int64_t e = 0; e < examples->count; e++) {
        if (e > 0 && examples->source_rows[e] == examples->source_rows[e - 1])
            continue; // training has made several examples of a row
        const char *at = fresh->text + examples->text_offsets[e], *end = fresh->text + examples->text_offsets[e + 1];
        size_t size;
        while ((at = next_word(at, end, &size)) != NULL) {
            const word found = {at, size, 1};
            EH_TRY_OR(failed, EH_APPEND(&fresh->words, &fresh->count, &fresh->capacity, found));
            at += size;
        }
    }
    if (fresh->count > 0)
        qsort(fresh->words, (size_t)fresh->count, sizeof *fresh->words, by_word);
    int64_t kept = 0;
    for (int64_t i = 0; i < fresh->count; i++) {
        if (kept > 0 && by_word(&fresh->words[kept - 1], &fresh->words[i]) == 0)
            fresh->words[kept - 1].count++;
        else
            fresh->words[kept++] = fresh->words[i];
    }
    fresh->count = kept;
    *counts = fresh;
    return EH_OK;
failed:
    eh_word_counts_free(&fresh);
    return status;
}

void eh_word_counts_free(eh_word_counts **counts)
{
    if (*counts == NULL)
        return;
    eh_free(&(*counts)->text);
    eh_free(&(*counts)->words);
    eh_free(counts);
}

int64_t eh_word_count(const eh_word_counts *counts, const char *text, size_t size)
{
    char small[256];
    if (size > sizeof small)
        return 0;
    for (size_t i = 0; i < size; i++) small[i] = lower(text[i]);
    int64_t low = 0, high = counts->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const word *w = &counts->words[middle];
        const int order = compare(w->begin, w->size, small, size);
        if (order == 0)
            return w->count;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

double eh_word_frequency(const eh_word_counts *counts, const char *text)
{
    const char *at = text, *end = text + strlen(text);
    double sum = 0;
    int64_t words = 0;
    size_t size;
    while ((at = next_word(at, end, &size)) != NULL) {
        sum += log1p((double)eh_word_count(counts, at, size));
        words++;
        at += size;
    }
    return words > 0 ? sum / (double)words : NAN;
}
