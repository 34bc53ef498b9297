#include "dataset/gap.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

#include "core/matcher.h"
#include "core/memory.h"

typedef struct {
    const char *bytes;
    int64_t begin, size; // in the sentence
    bool spaced;         // white space stands before it
} word;

typedef struct {
    word *words;
    int64_t count, capacity;
    int32_t *numbers; // equal words, equal numbers
} word_list;

static void free_words(word_list *list)
{
    eh_free(&list->words);
    eh_free(&list->numbers);
    *list = (word_list){0};
}

void eh_gap_deinit(eh_gap *gap)
{
    eh_string_deinit(&gap->blanked);
    eh_string_deinit(&gap->answer);
    eh_free(&gap->changed);
    *gap = (eh_gap){0};
}

// What Python's str.split() takes for white space.
static bool is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool is_punctuation(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return true;
    default:
        return false;
    }
}

static int64_t next_character(const char *text, size_t size, int64_t at, int32_t *character)
{
    const utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)size - (utf8proc_ssize_t)at, character);
    return used > 0 ? (int64_t)used : 1;
}

static eh_status add_word(word_list *list, const char *text, int64_t begin, int64_t end, bool spaced)
{
    const word fresh = {.bytes = text + begin, .begin = begin, .size = end - begin, .spaced = spaced};
    return EH_APPEND(&list->words, &list->count, &list->capacity, fresh);
}

// A word between white space: its leading and trailing punctuation marks become words of their own.
static eh_status add_apart(word_list *list, const char *text, int64_t begin, int64_t end, bool spaced)
{
    int64_t core = begin, core_end = begin;
    int32_t c = 0;
    while (core < end) {
        const int64_t used = next_character(text, (size_t)end, core, &c);
        if (!is_punctuation(c))
            break;
        EH_TRY(add_word(list, text, core, core + used, spaced));
        spaced = false;
        core += used;
    }
    for (int64_t at = core; at < end;) { // the core ends behind the last character that is no punctuation
        at += next_character(text, (size_t)end, at, &c);
        if (!is_punctuation(c))
            core_end = at;
    }
    if (core >= end)
        return EH_OK;
    EH_TRY(add_word(list, text, core, core_end, spaced));
    for (int64_t at = core_end; at < end;) {
        const int64_t used = next_character(text, (size_t)end, at, &c);
        EH_TRY(add_word(list, text, at, at + used, false));
        at += used;
    }
    return EH_OK;
}

static eh_status split(const char *text, size_t size, bool apart, word_list *list)
{
    int64_t begin = -1;
    for (int64_t at = 0; at <= (int64_t)size;) {
        int32_t c = ' ';
        const int64_t used = at < (int64_t)size ? next_character(text, size, at, &c) : 1;
        if (!is_space(c)) {
            if (begin < 0)
                begin = at;
        } else if (begin >= 0) {
            const bool spaced = list->count > 0;
            EH_TRY(apart ? add_apart(list, text, begin, at, spaced) : add_word(list, text, begin, at, spaced));
            begin = -1;
        }
        at += used;
    }
    return EH_OK;
}

static bool same_word(const word *a, const word *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, (size_t)a->size) == 0;
}

// A word's number is the place of its first occurrence in the two lists, one after another.
static eh_status number_words(word_list *a, word_list *b)
{
    EH_TRY(EH_ALLOC(a->count, &a->numbers));
    EH_TRY(EH_ALLOC(b->count, &b->numbers));
    for (int64_t i = 0; i < a->count + b->count; i++) {
        const word *mine = i < a->count ? &a->words[i] : &b->words[i - a->count];
        int64_t first = 0;
        while (first < i && !same_word(mine, first < a->count ? &a->words[first] : &b->words[first - a->count]))
            first++;
        if (i < a->count)
            a->numbers[i] = (int32_t)first;
        else
            b->numbers[i - a->count] = (int32_t)first;
    }
    return EH_OK;
}

static eh_status append_word(eh_string *to, const char *bytes, int64_t size, bool spaced)
{
    if (spaced && to->size > 0)
        EH_TRY(eh_string_append(to, " ", 1));
    return eh_string_append(to, bytes, (size_t)size);
}

static eh_status add_span(eh_gap *gap, int64_t begin, int64_t end)
{
    EH_TRY(eh_reserve(gap->span_count + 1, &gap->changed_capacity, sizeof *gap->changed, (void **)&gap->changed));
    gap->changed[gap->span_count][0] = begin;
    gap->changed[gap->span_count++][1] = end;
    return EH_OK;
}

// The span between two common blocks: words [a0, a1) of the text became words [b0, b1) of the answer.
static eh_status add_change(const word_list *a, int64_t a0, int64_t a1, const word_list *b, int64_t b0, int64_t b1,
                            eh_blank blank, eh_gap *gap)
{
    const int64_t begin = b0 < b->count ? b->words[b0].begin : 0;
    EH_TRY(add_span(gap, begin, b1 > b0 ? b->words[b1 - 1].begin + b->words[b1 - 1].size : begin));
    const bool wanted = blank == EH_BLANK_EACH || (a1 > a0 && gap->blank_count == 0);
    if (wanted) {
        const bool spaced = a1 > a0 ? a->words[a0].spaced : b->words[b0].spaced;
        EH_TRY(append_word(&gap->blanked, EH_BLANK_TEXT, strlen(EH_BLANK_TEXT), spaced || blank == EH_BLANK_FIRST));
        gap->blank_count++;
    }
    if (blank == EH_BLANK_EACH && gap->span_count > 1)
        EH_TRY(eh_string_append_text(&gap->answer, EH_ANSWER_SEPARATOR));
    for (int64_t j = b0; j < b1; j++) {
        const bool first_of_span = blank == EH_BLANK_EACH && j == b0;
        EH_TRY(append_word(&gap->answer, b->words[j].bytes, b->words[j].size,
                           !first_of_span && (b->words[j].spaced || blank == EH_BLANK_FIRST)));
    }
    return EH_OK;
}

// Appends the common words; behind an inserted blank the first of them keeps the distance that the answer has.
static eh_status add_common(const word_list *a, const word_list *b, const eh_match *match, eh_gap *gap)
{
    for (int64_t k = 0; k < match->count; k++) {
        const word *mine = &a->words[match->first_a + k];
        const bool spaced = mine->spaced || (k == 0 && b->words[match->first_b].spaced);
        EH_TRY(append_word(&gap->blanked, mine->bytes, mine->size, spaced));
    }
    return EH_OK;
}

static eh_status walk(const word_list *a, const word_list *b, const eh_match *matches, int64_t match_count,
                      eh_blank blank, eh_gap *gap)
{
    int64_t at_a = 0, at_b = 0;
    for (int64_t m = 0; m <= match_count; m++) {
        const eh_match match = m < match_count ? matches[m] : (eh_match){a->count, b->count, 0};
        if (match.first_a > at_a || match.first_b > at_b)
            EH_TRY(add_change(a, at_a, match.first_a, b, at_b, match.first_b, blank, gap));
        EH_TRY(add_common(a, b, &match, gap));
        at_a = match.first_a + match.count;
        at_b = match.first_b + match.count;
    }
    return EH_OK;
}

// The common beginning and end first, then difflib in between; adjacent blocks are merged by `walk`.
static eh_status match_middle(const word_list *a, const word_list *b, eh_match **matches, int64_t *count)
{
    const int64_t shorter = a->count < b->count ? a->count : b->count;
    int64_t prefix = 0, suffix = 0;
    while (prefix < shorter && a->numbers[prefix] == b->numbers[prefix]) prefix++;
    while (suffix < shorter - prefix && a->numbers[a->count - 1 - suffix] == b->numbers[b->count - 1 - suffix])
        suffix++;
    eh_match *middle = NULL;
    int64_t middle_count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_match_sequences(a->numbers + prefix, a->count - prefix - suffix, b->numbers + prefix,
                                       b->count - prefix - suffix, &middle, &middle_count));
    EH_TRY_OR(done, EH_ALLOC(middle_count + 2, matches));
    (*matches)[0] = (eh_match){0, 0, prefix};
    for (int64_t m = 0; m < middle_count; m++)
        (*matches)[m + 1] = (eh_match){middle[m].first_a + prefix, middle[m].first_b + prefix, middle[m].count};
    (*matches)[middle_count + 1] = (eh_match){a->count - suffix, b->count - suffix, suffix};
    *count = middle_count + 2;
done:
    eh_free(&middle);
    return status;
}

// An empty first or last answer leaves the separator's space at the end of the label: "; word", "word ;".
static void strip_ends(eh_string *text)
{
    size_t begin = 0, end = text->size;
    while (end > 0 && text->bytes[end - 1] == ' ') end--;
    while (begin < end && text->bytes[begin] == ' ') begin++;
    memmove(text->bytes, text->bytes + begin, end - begin);
    text->size = end - begin;
    text->bytes[text->size] = '\0';
}

eh_status eh_gap_find(const char *text, size_t text_size, const char *answer, size_t answer_size, eh_blank blank,
                      eh_gap *gap)
{
    word_list a = {0}, b = {0};
    eh_match *matches = NULL;
    int64_t match_count = 0;
    eh_status status = EH_OK;
    EH_TRY(eh_string_append(&gap->blanked, "", 0)); // so that empty results are texts too
    EH_TRY(eh_string_append(&gap->answer, "", 0));
    eh_string_clear(&gap->blanked);
    eh_string_clear(&gap->answer);
    gap->blank_count = gap->span_count = 0;
    EH_TRY_OR(done, split(text, text_size, blank == EH_BLANK_EACH, &a));
    EH_TRY_OR(done, split(answer, answer_size, blank == EH_BLANK_EACH, &b));
    EH_TRY_OR(done, number_words(&a, &b));
    if (blank == EH_BLANK_EACH)
        EH_TRY_OR(done, match_middle(&a, &b, &matches, &match_count));
    else
        EH_TRY_OR(done, eh_match_sequences(a.numbers, a.count, b.numbers, b.count, &matches, &match_count));
    EH_TRY_OR(done, walk(&a, &b, matches, match_count, blank, gap));
    strip_ends(&gap->answer);
done:
    eh_free(&matches);
    free_words(&a);
    free_words(&b);
    return status;
}
