// How often words occur in a data set: what the null picker "frequent-words" goes by.
#ifndef EH_METRICS_WORDS_H
#define EH_METRICS_WORDS_H

#include <stdint.h>

#include "core/status.h"
#include "io/shard.h"

typedef struct eh_word_counts eh_word_counts;

// Of all fields of all rows of the data set, each row once. A word is a run of ASCII letters and digits or other
// characters beyond ASCII, in lower case. Borrows nothing.
EH_CHECKED eh_status eh_word_counts_new(const eh_examples *examples, eh_word_counts **counts);
void eh_word_counts_free(eh_word_counts **counts);
int64_t eh_word_count(const eh_word_counts *counts, const char *word, size_t size);
// The mean over the text's words of log(1 + count); NaN if it has no word.
double eh_word_frequency(const eh_word_counts *counts, const char *text);

#endif
