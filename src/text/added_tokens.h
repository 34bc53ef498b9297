// Added tokens: cut out of the text before the model sees it, wherever they stand, the longest at each place.
#ifndef EH_TEXT_ADDED_TOKENS_H
#define EH_TEXT_ADDED_TOKENS_H

#include <stdbool.h>

#include <jansson.h>

#include "text/aligned.h"
#include "text/normalizer.h"
#include "text/trie.h"
#include "text/vocabulary.h"

typedef struct {
    char *content; // owned
    size_t size;
    char *matched; // owned: what stands for it in the text, normalized if `normalized`
    size_t matched_size;
    int32_t id;
    bool single_word, strip_left, strip_right, normalized, special;
} eh_added_token;

typedef struct {
    eh_added_token *tokens;
    int64_t count;
    int64_t new_count;                            // ids that the model's vocabulary lacks
    eh_trie raw, normalized;                      // values are indices into tokens; not built where there is none
    bool raw_starts[256], normalized_starts[256]; // bytes with which such a token begins
} eh_added_tokens;

// Reads the list "added_tokens" of the file (NULL: none).
EH_CHECKED eh_status eh_added_tokens_init(const json_t *list, const eh_vocabulary *vocabulary,
                                          const eh_normalizer *normalizer, eh_added_tokens *added);
void eh_added_tokens_deinit(eh_added_tokens *added);
// NULL if the id is none of theirs.
const eh_added_token *eh_added_tokens_by_id(const eh_added_tokens *added, int32_t id);

// Cuts bytes [begin, end) at the tokens to be found in raw or in normalized text, and appends the pieces.
EH_CHECKED eh_status eh_added_tokens_split(const eh_added_tokens *added, bool normalized, const char *bytes,
                                           uint32_t begin, uint32_t end, eh_pieces *pieces);

#endif
