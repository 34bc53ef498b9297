// The alignment of two sequences that Python's difflib.SequenceMatcher finds (Ratcliff & Obershelp 1988), its "popular
// element" rule included: published bias scores and the study's blanks rest on it, so it must be the same.
#ifndef EH_CORE_MATCHER_H
#define EH_CORE_MATCHER_H

#include <stdint.h>

#include "core/status.h"

// a[first_a .. first_a + count) equals b[first_b .. first_b + count).
typedef struct {
    int64_t first_a, first_b, count;
} eh_match;

// The matching blocks in ascending order, adjacent ones merged; none is empty. *matches: eh_free. Elements are compared
// by value: give equal words equal numbers.
EH_CHECKED eh_status eh_match_sequences(const int32_t *a, int64_t a_count, const int32_t *b, int64_t b_count,
                                        eh_match **matches, int64_t *count);

#endif
