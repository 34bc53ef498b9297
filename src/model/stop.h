// Stop strings: a generated text ends before the first of them that it has.
#ifndef EH_MODEL_STOP_H
#define EH_MODEL_STOP_H

#include <stdbool.h>

#include "text/tokenizer.h"

typedef struct {
    const eh_tokenizer *tokenizer; // not NULL where there are strings
    const char *const *strings;    // none of them empty
    int64_t count;
} eh_stops;

// Looks for them in the decoded text of `ids` (no special tokens), as a reader who goes through it byte by byte: the
// string that is complete first ends the text, of those that are complete together the one that begins first. So where
// a text ends does not depend on how it is cut into tokens. *found: *size is the bytes of text before it, and *count
// the fewest of the first ids that have them all in their text.
EH_CHECKED eh_status eh_stops_find(const eh_stops *stops, const int32_t *ids, int64_t *count, size_t *size,
                                   bool *found);

#endif
