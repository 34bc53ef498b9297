// Text to token ids and back, exactly as Hugging Face's `tokenizers` library does it, driven by a model's
// tokenizer.json: normalizer, pre-tokenizer, model (byte-level BPE, Unigram, WordPiece), post-processor, decoder, added
// tokens.
#ifndef EH_TEXT_TOKENIZER_H
#define EH_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/string.h"

// Immutable once open: several threads may use one, each with an eh_encoding of its own.
typedef struct eh_tokenizer eh_tokenizer;

// Whether the post-processor adds its tokens ([CLS], </s>, ...). Added tokens inside the text are found either way.
typedef enum { EH_WITHOUT_SPECIAL = 0, EH_WITH_SPECIAL = 1 } eh_special;

#define EH_TOKEN_ADDED 255 // in eh_encoding.sources: put there by the post-processor

// The tokens of a text or of a pair. All zero is an empty one; reuse it: it keeps its memory and a cache of words.
typedef struct {
    int32_t *ids;
    uint32_t (*offsets)[2]; // bytes [begin, end) of the text that the token comes from; 0, 0 for EH_TOKEN_ADDED
    uint8_t *type_ids;
    uint8_t *sources; // 0: first text, 1: second text, or EH_TOKEN_ADDED
    int64_t count;
    int64_t capacity;
    int64_t replaced; // malformed UTF-8 sequences in the input that were read as U+FFFD
    int64_t cut;      // tokens that eh_encoding_truncate has taken away
    struct eh_encoding_work *work;
} eh_encoding;

void eh_encoding_deinit(eh_encoding *encoding);

// Reads a tokenizer.json (as published, or as transformers 5 saves it). EH_INPUT, with file and line or with the name
// of the element, for what is malformed, contradicts itself or is not supported. Not collective.
EH_CHECKED eh_status eh_tokenizer_open(const char *path, eh_tokenizer **tokenizer);
void eh_tokenizer_close(eh_tokenizer **tokenizer);

// Replaces what `encoding` held. `text` is UTF-8 and may hold NUL bytes; each maximal malformed sequence counts as one
// U+FFFD (as Python's errors="replace") and is counted in `replaced`. EH_INPUT if a text has 2 GiB or more, or if it
// holds what the vocabulary cannot express and there is no unknown token.
EH_CHECKED eh_status eh_tokenizer_encode(const eh_tokenizer *tokenizer, const char *text, size_t size,
                                         eh_special special, eh_encoding *encoding);
// Two texts, joined by the post-processor's template for pairs.
EH_CHECKED eh_status eh_tokenizer_encode_pair(const eh_tokenizer *tokenizer, const char *first, size_t first_size,
                                              const char *second, size_t second_size, eh_encoding *encoding);
// Shortens to at most `max_length` tokens by the reference's rule ("longest_first", right side): the last tokens of the
// text go, of a pair those of the longer text first; what the post-processor added stays. How many went is in `cut`.
// EH_INPUT if the post-processor's tokens alone are more than max_length.
EH_CHECKED eh_status eh_encoding_truncate(eh_encoding *encoding, int64_t max_length);

// Replaces *text by the text of the ids. skip_special leaves out tokens marked special in the file. Ids that are not in
// the vocabulary are left out, as the reference does; broken UTF-8 comes out as U+FFFD.
EH_CHECKED eh_status eh_tokenizer_decode(const eh_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                                         bool skip_special, eh_string *text);

int64_t eh_tokenizer_vocab_size(const eh_tokenizer *tokenizer);            // with added tokens
int32_t eh_tokenizer_id(const eh_tokenizer *tokenizer, const char *token); // -1 if there is none
int32_t eh_tokenizer_mask(const eh_tokenizer *tokenizer); // of "[MASK]" or "<mask>", -1 if there is neither
const char *eh_tokenizer_token(const eh_tokenizer *tokenizer,
                               int32_t id);                              // NULL if there is none; as long as it is open
bool eh_tokenizer_is_special(const eh_tokenizer *tokenizer, int32_t id); // an added token marked special
const char *eh_tokenizer_sha256(const eh_tokenizer *tokenizer);          // of the file, 64 hexadecimal digits
const char *eh_tokenizer_kind(const eh_tokenizer *tokenizer);            // "BPE", "Unigram" or "WordPiece"

#endif
