// Decoders: tokens back to text. Each step takes a list of token texts and makes another; the text is the last list,
// joined.
#ifndef EH_TEXT_DECODER_H
#define EH_TEXT_DECODER_H

#include <stdbool.h>

#include <jansson.h>

#include "core/string.h"
#include "text/pattern.h"

typedef enum {
    EH_DECODE_BYTE_LEVEL,
    EH_DECODE_METASPACE,
    EH_DECODE_WORDPIECE,
    EH_DECODE_REPLACE,
    EH_DECODE_BYTE_FALLBACK,
    EH_DECODE_FUSE,
    EH_DECODE_STRIP,
} eh_decoder_kind;

typedef struct {
    eh_decoder_kind kind;
    char *text; // owned: METASPACE: the replacement; WORDPIECE: the prefix; REPLACE: the content; STRIP: the character
    size_t text_size;
    eh_pattern *pattern; // REPLACE, owned
    bool drop_first;     // METASPACE: the first token's replacements go, they stand for a space that was put before
    bool clean_up;       // WORDPIECE
    int64_t left, right; // STRIP: how many at most
} eh_decoder_step;

// Immutable; all zero joins tokens by spaces.
typedef struct {
    eh_decoder_step *steps;
    int64_t count, capacity;
} eh_decoder;

// Token texts, one behind the other.
typedef struct {
    eh_string bytes;
    uint32_t *ends; // of each
    int64_t count, capacity;
} eh_token_texts;

// Reads the file's "decoder" (null or NULL: none). EH_INPUT names what is not supported.
EH_CHECKED eh_status eh_decoder_init(const json_t *description, eh_decoder *decoder);
void eh_decoder_deinit(eh_decoder *decoder);

EH_CHECKED eh_status eh_token_texts_add(eh_token_texts *texts, const char *bytes, size_t size);
void eh_token_texts_deinit(eh_token_texts *texts);
// Replaces *text by the text of the tokens; `texts` is used up.
EH_CHECKED eh_status eh_decoder_run(const eh_decoder *decoder, eh_token_texts *texts, eh_string *text);

#endif
