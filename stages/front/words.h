// A command line that is being put together: owned words with a NULL behind them, as execv wants them.
#ifndef EH_STAGES_FRONT_WORDS_H
#define EH_STAGES_FRONT_WORDS_H

#include <stdint.h>

#include "core/status.h"

typedef struct {
    char **words; // [count + 1]
    int64_t count, capacity;
} eh_words;

EH_CHECKED eh_status eh_words_add(eh_words *words, const char *word);
EH_CHECKED eh_status eh_words_add_all(eh_words *words, const char *const *more); // NULL-terminated
void eh_words_free(eh_words *words);

#endif
