// The tokens of a model by id, and their ids by text.
#ifndef EH_TEXT_VOCABULARY_H
#define EH_TEXT_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

// All zero is an empty one. Ids may have gaps.
typedef struct {
    char *bytes; // all tokens, each with a NUL behind it
    int64_t byte_count, byte_capacity;
    uint32_t (*spans)[2]; // of id: first byte and byte count; EH_NO_TOKEN first where there is no such id
    int64_t size, span_capacity;
    int64_t count;                    // ids that exist
    struct eh_vocabulary_slot *slots; // open addressing
    int64_t slot_count;
    int64_t repeated; // tokens that were added when they were there already
} eh_vocabulary;

#define EH_NO_TOKEN UINT32_MAX

// Makes the table large enough for so many tokens: quicker than growing on the way.
EH_CHECKED eh_status eh_vocabulary_expect(eh_vocabulary *vocabulary, int64_t count);
// Adds a token under an id. A token that is there already is found under the later id from now on; an id that is taken
// is EH_INPUT, and so is one that lies absurdly far beyond the number of tokens.
EH_CHECKED eh_status eh_vocabulary_add(eh_vocabulary *vocabulary, const char *token, size_t size, int64_t id);
int32_t eh_vocabulary_find(const eh_vocabulary *vocabulary, const char *token, size_t size); // -1: none
// NULL if there is no such id; else NUL-terminated, borrowed.
const char *eh_vocabulary_token(const eh_vocabulary *vocabulary, int64_t id, size_t *size);
void eh_vocabulary_deinit(eh_vocabulary *vocabulary);

#endif
