// The gaps between the two sentences of a pair: what is left blank in the text, and what the answer fills in.
// `first` is the study's (PROTOCOL 2.2): words split on white space, aligned by difflib, one [BLANK] in all. `each` is
// the corrected one (3.3): punctuation stands apart from words, the longest common beginning and end are kept, what is
// between is aligned by difflib, and every changed span has a [BLANK] of its own.
#ifndef EH_DATASET_GAP_H
#define EH_DATASET_GAP_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/string.h"
#include "job/job.h"

#define EH_BLANK_TEXT "[BLANK]"
#define EH_ANSWER_SEPARATOR " ; "

// All zero is an empty one; reuse keeps the memory.
typedef struct {
    eh_string blanked; // the text with blanks
    eh_string answer;  // what they stand for, in order
    int64_t blank_count;
    int64_t span_count;    // changed spans
    int64_t (*changed)[2]; // [span_count] bytes [begin, end) of the answer's sentence, may be empty
    int64_t changed_capacity;
} eh_gap;

EH_CHECKED eh_status eh_gap_find(const char *text, size_t text_size, const char *answer, size_t answer_size,
                                 eh_blank blank, eh_gap *gap);
void eh_gap_deinit(eh_gap *gap);

#endif
