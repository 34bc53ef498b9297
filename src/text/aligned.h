// Text on its way through a tokenizer: the current bytes, where each comes from in the original, and the pieces it has
// been cut into so far.
#ifndef EH_TEXT_ALIGNED_H
#define EH_TEXT_ALIGNED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/memory.h"

// Where something comes from in the original text: bytes [begin, end).
typedef struct {
    uint32_t begin, end;
} eh_origin;

// All zero is an empty one.
typedef struct {
    char *bytes;
    int64_t size, capacity;
    eh_origin *origins; // of each byte
    int64_t origin_capacity;
} eh_aligned;

// A range of the current bytes; `token` is the id of an added token that was found there, or -1 for text.
typedef struct {
    uint32_t begin, end;
    int32_t token;
} eh_piece;

typedef struct {
    eh_piece *pieces;
    int64_t count, capacity;
} eh_pieces;

// What steps read: bytes that they don't own. Without `origins` the bytes are the original's, each character its own
// origin.
typedef struct {
    const char *bytes;
    const eh_origin *origins;
} eh_source;

// Makes room for `more` bytes.
static inline eh_status eh_aligned_reserve(eh_aligned *text, int64_t more)
{
    if (text->size + more <= text->capacity && text->size + more <= text->origin_capacity)
        return EH_OK;
    if (text->size + more >= INT32_MAX)
        return eh_error(EH_INPUT, "a text grows beyond 2 GiB when it is normalized: split it into lines");
    EH_TRY(eh_reserve(text->size + more, &text->capacity, 1, (void **)&text->bytes));
    return eh_reserve(text->size + more, &text->origin_capacity, sizeof *text->origins, (void **)&text->origins);
}

// Appends bytes that all come from the same place. Room must have been made.
static inline void eh_aligned_put(eh_aligned *text, const char *bytes, uint32_t size, eh_origin origin)
{
    for (uint32_t i = 0; i < size; i++) {
        text->bytes[text->size] = bytes[i];
        text->origins[text->size++] = origin;
    }
}

static inline void eh_aligned_deinit(eh_aligned *text)
{
    eh_free(&text->bytes);
    eh_free(&text->origins);
    *text = (eh_aligned){0};
}

static inline eh_status eh_pieces_add(eh_pieces *pieces, uint32_t begin, uint32_t end, int32_t token)
{
    if (begin == end) // empty pieces vanish everywhere
        return EH_OK;
    if (pieces->count == pieces->capacity)
        EH_TRY(eh_reserve(pieces->count + 1, &pieces->capacity, sizeof *pieces->pieces, (void **)&pieces->pieces));
    pieces->pieces[pieces->count++] = (eh_piece){begin, end, token};
    return EH_OK;
}

// The origin of the character that the byte at `at` belongs to.
static inline eh_origin eh_origin_at(eh_source source, uint32_t at)
{
    if (source.origins != NULL)
        return source.origins[at];
    uint32_t begin = at, end = at + 1;
    const uint8_t *bytes = (const uint8_t *)source.bytes;
    if (bytes[at] < 0x80)
        return (eh_origin){begin, end};
    while ((bytes[begin] & 0xC0) == 0x80) begin--;
    end = begin + (bytes[begin] < 0xE0 ? 2 : bytes[begin] < 0xF0 ? 3 : 4);
    return (eh_origin){begin, end};
}

#endif
