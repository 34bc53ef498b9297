#include "words.h"

#include "core/memory.h"

eh_status eh_words_add(eh_words *words, const char *word)
{
    char *copy = NULL;
    EH_TRY(eh_copy_string(word, &copy));
    EH_TRY(EH_APPEND(&words->words, &words->count, &words->capacity, copy));
    EH_TRY(eh_reserve(words->count + 1, &words->capacity, sizeof *words->words, (void **)&words->words));
    words->words[words->count] = NULL;
    return EH_OK;
}

eh_status eh_words_add_all(eh_words *words, const char *const *more)
{
    for (; *more != NULL; more++) EH_TRY(eh_words_add(words, *more));
    return EH_OK;
}

void eh_words_free(eh_words *words)
{
    for (int64_t i = 0; i < words->count; i++) eh_free(&words->words[i]);
    eh_free(&words->words);
    *words = (eh_words){0};
}
