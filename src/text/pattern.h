// Cutting text by a pattern: the two regular expressions of the models that we know, matched by hand (30 times as fast
// as a regular expression engine; tests/text/test_pattern.c holds them against Oniguruma), any other one by Oniguruma.
#ifndef EH_TEXT_PATTERN_H
#define EH_TEXT_PATTERN_H

#include <stdbool.h>

#include "text/aligned.h"

// What becomes of a match: tokenizers' SplitDelimiterBehavior.
typedef enum { EH_REMOVED, EH_ISOLATED, EH_MERGED_WITH_PREVIOUS, EH_MERGED_WITH_NEXT, EH_CONTIGUOUS } eh_split_behavior;

#define EH_PATTERN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define EH_PATTERN_BLOOM \
    " ?[^(\\s|[.,!?\xE2\x80\xA6\xE3\x80\x82\xEF\xBC\x8C\xE3\x80\x81\xE0\xA5\xA4\xDB\x94\xD8\x8C])]+"

typedef struct eh_pattern eh_pattern; // immutable; several threads may use one

// EH_INPUT with the engine's words if the expression is malformed.
EH_CHECKED eh_status eh_pattern_open(const char *expression, eh_pattern **pattern);
// The same, always by Oniguruma (for tests).
EH_CHECKED eh_status eh_pattern_open_oniguruma(const char *expression, eh_pattern **pattern);
// A literal text.
EH_CHECKED eh_status eh_pattern_open_literal(const char *text, size_t size, eh_pattern **pattern);
// Each character of a class.
EH_CHECKED eh_status eh_pattern_open_class(bool (*holds)(uint32_t code_point), eh_pattern **pattern);
void eh_pattern_close(eh_pattern **pattern);

// Cuts bytes [begin, end) by the pattern and appends the pieces. invert: what lies between matches counts as the match.
EH_CHECKED eh_status eh_pattern_split(const eh_pattern *pattern, const char *bytes, uint32_t begin, uint32_t end,
                                      eh_split_behavior behavior, bool invert, eh_pieces *pieces);
// The first match in bytes [begin, end) at or after `from`; *found says whether there is one.
EH_CHECKED eh_status eh_pattern_find(const eh_pattern *pattern, const char *bytes, uint32_t begin, uint32_t end,
                                     uint32_t from, bool *found, uint32_t *match_begin, uint32_t *match_end);

#endif
