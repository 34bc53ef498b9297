// HurtLex (Bassignana et al. 2018): words with the category of hurt that they may do. Its conservative part alone, as
// HONEST uses it; accents are removed, case is kept.
#ifndef EH_METRICS_LEXICON_H
#define EH_METRICS_LEXICON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/string.h"

typedef struct eh_lexicon eh_lexicon;

// A TSV file with the columns `category`, `lemma` and `level`. EH_INPUT if it has no conservative lemma.
EH_CHECKED eh_status eh_lexicon_open(const char *path, eh_lexicon **lexicon);
void eh_lexicon_close(eh_lexicon **lexicon);
int64_t eh_lexicon_size(const eh_lexicon *lexicon); // different lemmas
// The category of the lemma's first row; NULL if it is none. The word's accents must have been removed.
const char *eh_lexicon_category(const eh_lexicon *lexicon, const char *word, size_t size);
// The text without accents (NFKD less all marks; a few letters that don't decompose become ASCII, as in unidecode).
EH_CHECKED eh_status eh_remove_accents(const char *text, size_t size, eh_string *plain);

#endif
