// The three models that cut a word into tokens. A word is a piece of text that the pre-tokenizer made.
#ifndef EH_TEXT_MODEL_H
#define EH_TEXT_MODEL_H

#include <stdbool.h>

#include "text/aligned.h"
#include "text/tokenizer_file.h"
#include "text/trie.h"

typedef enum { EH_MODEL_BPE, EH_MODEL_UNIGRAM, EH_MODEL_WORDPIECE } eh_model_kind;

// A token and where it ends in its word.
typedef struct {
    int32_t id;
    uint32_t end;
} eh_word_token;

// What cutting a word needs, kept from word to word; one for each thread. All zero is an empty one.
typedef struct {
    eh_word_token *tokens; // of the last word
    int64_t count, capacity;
    bool uncacheable; // the tokens' ends are not where their bytes end (byte fall-back): don't cache the word
    void *memory;     // scratch
    int64_t memory_bytes;
} eh_word_work;

typedef struct {
    int32_t rank, id;
} eh_merge;

typedef struct {
    eh_model_kind kind;
    eh_vocabulary vocabulary; // owned
    int32_t unknown;          // id, or -1
    bool byte_fallback;
    int32_t byte_ids[256]; // BPE over bytes: each byte's token; otherwise the tokens <0x00> to <0xFF>; -1: none

    // BPE
    bool over_bytes; // a ByteLevel pre-tokenizer runs: tokens are written in its alphabet, words are raw bytes
    bool fuse_unknown, ignore_merges;
    struct eh_merge_slot *merge_slots; // open addressing by pair
    uint64_t merge_mask;

    // Unigram and WordPiece
    eh_trie trie;
    double *scores; // by id
    double unknown_score;
    uint32_t continuing;  // WordPiece: the node behind the prefix of continuing pieces ("##")
    int64_t longest_word; // WordPiece: characters
} eh_model;

// Takes the vocabulary out of `file`. EH_INPUT names what is missing, contradicts itself or is not supported.
EH_CHECKED eh_status eh_model_init(eh_tokenizer_file *file, bool over_bytes, eh_model *model);
void eh_model_deinit(eh_model *model);
const char *eh_model_kind_name(eh_model_kind kind);

// Cuts a word of at least one byte; the tokens are in work->tokens.
EH_CHECKED eh_status eh_model_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size);
void eh_word_work_deinit(eh_word_work *work);

// --- For the models ---
EH_CHECKED eh_status eh_bpe_init(const eh_tokenizer_file *file, const json_t *description, eh_model *model);
EH_CHECKED eh_status eh_bpe_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size);
EH_CHECKED eh_status eh_unigram_init(eh_tokenizer_file *file, const json_t *description, eh_model *model);
EH_CHECKED eh_status eh_unigram_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size);
EH_CHECKED eh_status eh_wordpiece_init(const json_t *description, eh_model *model);
EH_CHECKED eh_status eh_wordpiece_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size);
// A trie of the vocabulary.
EH_CHECKED eh_status eh_model_build_trie(eh_model *model);
// Ids of the tokens <0x00> to <0xFF>.
void eh_model_find_byte_tokens(eh_model *model);
// The unknown token's id from the description's key, a token; -1 if null or absent. EH_INPUT if it is not in the
// vocabulary.
EH_CHECKED eh_status eh_model_find_unknown(const json_t *description, eh_model *model);

static inline eh_status eh_word_add(eh_word_work *work, int32_t id, uint32_t end)
{
    if (work->count == work->capacity)
        EH_TRY(eh_reserve(work->count + 1, &work->capacity, sizeof *work->tokens, (void **)&work->tokens));
    work->tokens[work->count++] = (eh_word_token){id, end};
    return EH_OK;
}

// Scratch memory of at least `bytes`; what it held is lost.
EH_CHECKED eh_status eh_word_memory(eh_word_work *work, size_t bytes);

#endif
