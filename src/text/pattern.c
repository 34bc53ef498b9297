#define _GNU_SOURCE
#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>

#include <oniguruma.h>

#include "text/unicode_classes.h"
#include "text/utf8.h"

typedef enum { GPT2, BLOOM, LITERAL, CLASS, EXPRESSION } pattern_kind;

struct eh_pattern {
    pattern_kind kind;
    char *text; // of a literal
    size_t text_size;
    bool (*holds)(uint32_t code_point); // of a class
    regex_t *regex;
};

// --- Opening ---

eh_status eh_pattern_open_oniguruma(const char *expression, eh_pattern **pattern)
{
    eh_pattern *fresh = NULL;
    EH_TRY(EH_ALLOC(1, &fresh));
    fresh->kind = EXPRESSION;
    OnigErrorInfo info;
    const OnigUChar *begin = (const OnigUChar *)expression;
    OnigEncoding encoding = ONIG_ENCODING_UTF8;
    onig_initialize(&encoding, 1);
    const int code = onig_new(&fresh->regex, begin, begin + strlen(expression), ONIG_OPTION_NONE, ONIG_ENCODING_UTF8,
                              ONIG_SYNTAX_DEFAULT, &info);
    if (code != ONIG_NORMAL) {
        OnigUChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
        onig_error_code_to_str(why, code, &info);
        eh_free(&fresh);
        return eh_error(EH_INPUT, "the pattern '%.200s' is no regular expression: %s", expression, (char *)why);
    }
    *pattern = fresh;
    return EH_OK;
}

eh_status eh_pattern_open(const char *expression, eh_pattern **pattern)
{
    const bool gpt2 = strcmp(expression, EH_PATTERN_GPT2) == 0, bloom = strcmp(expression, EH_PATTERN_BLOOM) == 0;
    if (!gpt2 && !bloom)
        return eh_pattern_open_oniguruma(expression, pattern);
    EH_TRY(EH_ALLOC(1, pattern));
    (*pattern)->kind = gpt2 ? GPT2 : BLOOM;
    return EH_OK;
}

eh_status eh_pattern_open_class(bool (*holds)(uint32_t code_point), eh_pattern **pattern)
{
    EH_TRY(EH_ALLOC(1, pattern));
    (*pattern)->kind = CLASS;
    (*pattern)->holds = holds;
    return EH_OK;
}

eh_status eh_pattern_open_literal(const char *text, size_t size, eh_pattern **pattern)
{
    if (size == 0)
        return eh_error(EH_INPUT, "an empty pattern matches nothing that could be split");
    eh_pattern *fresh = NULL;
    EH_TRY(EH_ALLOC(1, &fresh));
    fresh->kind = LITERAL;
    fresh->text_size = size;
    const eh_status status = eh_copy_bytes(text, size, &fresh->text);
    if (status != EH_OK)
        eh_free(&fresh);
    else
        *pattern = fresh;
    return status;
}

void eh_pattern_close(eh_pattern **pattern)
{
    if (*pattern == NULL)
        return;
    if ((*pattern)->regex != NULL)
        onig_free((*pattern)->regex);
    eh_free(&(*pattern)->text);
    eh_free(pattern);
}

// --- Matching by hand ---

static inline uint32_t skip_letters(const char *bytes, uint32_t at, uint32_t end)
{
    while (at < end) {
        const uint8_t byte = (uint8_t)bytes[at];
        if (byte < 0x80) {
            if (!(eh_ascii_classes[byte] & EH_ASCII_LETTER))
                break;
            at++;
            continue;
        }
        uint32_t size;
        if (!eh_is_letter(eh_utf8_read(bytes + at, &size)))
            break;
        at += size;
    }
    return at;
}

static inline uint32_t skip_numbers(const char *bytes, uint32_t at, uint32_t end)
{
    while (at < end) {
        uint32_t size;
        if (!eh_is_number(eh_utf8_read(bytes + at, &size)))
            break;
        at += size;
    }
    return at;
}

static inline uint32_t skip_others(const char *bytes, uint32_t at, uint32_t end)
{
    while (at < end) {
        const uint8_t byte = (uint8_t)bytes[at];
        if (byte < 0x80) {
            if (eh_ascii_classes[byte] & (EH_ASCII_LETTER | EH_ASCII_NUMBER | EH_ASCII_SPACE))
                break;
            at++;
            continue;
        }
        uint32_t size;
        const uint32_t code_point = eh_utf8_read(bytes + at, &size);
        if (eh_is_space(code_point) || eh_is_letter(code_point) || eh_is_number(code_point))
            break;
        at += size;
    }
    return at;
}

// 's 't 're 've 'm 'll 'd: the bytes of the contraction at `at`, or 0.
static inline uint32_t contraction(const char *bytes, uint32_t at, uint32_t end)
{
    if (bytes[at] != '\'' || end - at < 2)
        return 0;
    const char next = bytes[at + 1];
    if (next == 's' || next == 't' || next == 'm' || next == 'd')
        return 2;
    if (end - at < 3)
        return 0;
    const char last = bytes[at + 2];
    const bool three = (next == 'r' && last == 'e') || (next == 'v' && last == 'e') || (next == 'l' && last == 'l');
    return three ? 3 : 0;
}

// Where a run of white space is cut: the last character is left for the next word if there is one.
static uint32_t skip_spaces(const char *bytes, uint32_t at, uint32_t end)
{
    uint32_t last = at, count = 0;
    while (at < end) {
        uint32_t size;
        if (!eh_is_space(eh_utf8_read(bytes + at, &size)))
            return count > 1 ? last : at;
        last = at;
        at += size;
        count++;
    }
    return at;
}

// The end of the piece that begins at `at`; GPT-2's pattern leaves nothing unmatched.
static inline uint32_t gpt2_piece(const char *bytes, uint32_t at, uint32_t end)
{
    const uint32_t size = contraction(bytes, at, end);
    if (size > 0)
        return at + size;
    const uint32_t word = at + (bytes[at] == ' ');
    if (word < end) {
        uint32_t stop = skip_letters(bytes, word, end);
        if (stop == word)
            stop = skip_numbers(bytes, word, end);
        if (stop == word)
            stop = skip_others(bytes, word, end);
        if (stop > word)
            return stop;
    }
    return skip_spaces(bytes, at, end);
}

static eh_status split_gpt2(const char *bytes, uint32_t begin, uint32_t end, eh_pieces *pieces)
{
    for (uint32_t at = begin; at < end;) {
        const uint32_t stop = gpt2_piece(bytes, at, end);
        EH_TRY(eh_pieces_add(pieces, at, stop, -1));
        at = stop;
    }
    return EH_OK;
}

static inline bool is_bloom_break_at(const char *bytes, uint32_t at, uint32_t *size)
{
    const uint8_t byte = (uint8_t)bytes[at];
    if (byte < 0x80) {
        *size = 1;
        return (eh_ascii_classes[byte] & EH_ASCII_BLOOM_BREAK) != 0;
    }
    return eh_is_bloom_break(eh_utf8_read(bytes + at, size));
}

// The end of the match at `at`, which is `at` itself if the pattern does not match there.
static inline uint32_t bloom_match(const char *bytes, uint32_t at, uint32_t end)
{
    const uint32_t word = at + (bytes[at] == ' ');
    uint32_t stop = word, size;
    while (stop < end && !is_bloom_break_at(bytes, stop, &size)) stop += size;
    return stop > word ? stop : at;
}

static eh_status split_bloom(const char *bytes, uint32_t begin, uint32_t end, eh_pieces *pieces)
{
    for (uint32_t at = begin; at < end;) {
        uint32_t stop = bloom_match(bytes, at, end), size;
        if (stop == at) { // what no match covers is a piece of its own, up to the next match
            do {
                (void)is_bloom_break_at(bytes, stop, &size);
                stop += size;
            } while (stop < end && bloom_match(bytes, stop, stop + 5 < end ? stop + 5 : end) == stop);
        }
        EH_TRY(eh_pieces_add(pieces, at, stop, -1));
        at = stop;
    }
    return EH_OK;
}

// --- Matching in general ---

// The end of the match that begins at `at`; `at` itself if there is none.
static uint32_t match_at(const eh_pattern *pattern, const char *bytes, uint32_t at, uint32_t end)
{
    if (pattern->kind == GPT2)
        return gpt2_piece(bytes, at, end);
    if (pattern->kind == BLOOM)
        return bloom_match(bytes, at, end);
    uint32_t size = 1;
    return pattern->holds(eh_utf8_read(bytes + at, &size)) ? at + size : at;
}

eh_status eh_pattern_find(const eh_pattern *pattern, const char *bytes, uint32_t begin, uint32_t end, uint32_t from,
                          bool *found, uint32_t *match_begin, uint32_t *match_end)
{
    *found = false;
    if (pattern->kind == LITERAL) {
        const char *at = memmem(bytes + from, end - from, pattern->text, pattern->text_size);
        *found = at != NULL;
        *match_begin = *found ? (uint32_t)(at - bytes) : end;
        *match_end = *match_begin + (uint32_t)pattern->text_size;
        return EH_OK;
    }
    if (pattern->kind != EXPRESSION) {
        for (uint32_t at = from, size = 0; at < end; at += size) {
            const uint32_t stop = match_at(pattern, bytes, at, end);
            if (stop > at) {
                *found = true;
                *match_begin = at;
                *match_end = stop;
                return EH_OK;
            }
            (void)eh_utf8_read(bytes + at, &size);
        }
        return EH_OK;
    }
    OnigRegion region;
    onig_region_init(&region);
    const OnigUChar *text = (const OnigUChar *)bytes;
    const int at =
        onig_search(pattern->regex, text + begin, text + end, text + from, text + end, &region, ONIG_OPTION_NONE);
    if (at >= 0) {
        *found = true;
        *match_begin = begin + (uint32_t)region.beg[0];
        *match_end = begin + (uint32_t)region.end[0];
    }
    onig_region_free(&region, 0);
    if (at < 0 && at != ONIG_MISMATCH) {
        OnigUChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
        onig_error_code_to_str(why, at);
        return eh_error(EH_INPUT, "the tokenizer's regular expression gave up on a text: %s", (char *)why);
    }
    return EH_OK;
}

// Alternating pieces, matches and what lies between them, become pieces by the behavior.
typedef struct {
    eh_split_behavior behavior;
    eh_pieces *pieces;
    int64_t first; // pieces before this one belong to others
    bool previous_match;
} piece_joiner;

static eh_status join(piece_joiner *joiner, uint32_t begin, uint32_t end, bool match)
{
    if (begin == end)
        return EH_OK;
    const bool previous = joiner->previous_match, any = joiner->pieces->count > joiner->first;
    joiner->previous_match = match;
    bool extend = false;
    switch (joiner->behavior) {
    case EH_REMOVED:
        return match ? EH_OK : eh_pieces_add(joiner->pieces, begin, end, -1);
    case EH_ISOLATED:
        break;
    case EH_CONTIGUOUS:
        extend = any && match == previous;
        break;
    case EH_MERGED_WITH_PREVIOUS:
        extend = any && match && !previous;
        break;
    case EH_MERGED_WITH_NEXT: // a match waits at the end of the list for the text behind it
        extend = any && !match && previous;
        break;
    }
    if (!extend)
        return eh_pieces_add(joiner->pieces, begin, end, -1);
    joiner->pieces->pieces[joiner->pieces->count - 1].end = end;
    return EH_OK;
}

eh_status eh_pattern_split(const eh_pattern *pattern, const char *bytes, uint32_t begin, uint32_t end,
                           eh_split_behavior behavior, bool invert, eh_pieces *pieces)
{
    if (behavior == EH_ISOLATED && pattern->kind == GPT2)
        return split_gpt2(bytes, begin, end, pieces);
    if (behavior == EH_ISOLATED && pattern->kind == BLOOM)
        return split_bloom(bytes, begin, end, pieces);
    piece_joiner joiner = {.behavior = behavior, .pieces = pieces, .first = pieces->count};
    uint32_t done = begin, from = begin;
    while (from < end) {
        bool found = false;
        uint32_t match_begin = end, match_end = end;
        EH_TRY(eh_pattern_find(pattern, bytes, begin, end, from, &found, &match_begin, &match_end));
        if (!found)
            break;
        EH_TRY(join(&joiner, done, match_begin, invert));
        EH_TRY(join(&joiner, match_begin, match_end, !invert));
        done = match_end;
        from = match_end;
        if (match_begin == match_end && from < end) { // an empty match: look on behind the next character
            uint32_t size;
            (void)eh_utf8_read(bytes + from, &size);
            from += size;
        }
    }
    return join(&joiner, done, end, invert);
}
