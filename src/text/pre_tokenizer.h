// Pre-tokenizers: how text is cut into words. Steps run one after another over the pieces that are no added tokens.
#ifndef EH_TEXT_PRE_TOKENIZER_H
#define EH_TEXT_PRE_TOKENIZER_H

#include <jansson.h>

#include "text/aligned.h"
#include "text/pattern.h"

typedef enum {
    EH_STEP_SPLIT,
    EH_STEP_BYTE_LEVEL, // only its prefix space: its splitting is a SPLIT, its alphabet is the BPE model's business
    EH_STEP_METASPACE,
    EH_STEP_SPACES, // WhitespaceSplit: white space goes
    EH_STEP_WORDS,  // Whitespace: runs of word characters, runs of others, white space goes
    EH_STEP_DIGITS,
} eh_step_kind;

typedef enum { EH_PREPEND_NEVER, EH_PREPEND_FIRST, EH_PREPEND_ALWAYS } eh_prepend;

typedef struct {
    eh_step_kind kind;
    eh_pattern *pattern; // SPLIT: owned
    eh_split_behavior behavior;
    bool invert;
    bool individual;     // DIGITS: each alone
    char replacement[8]; // METASPACE
    uint32_t replacement_size;
    eh_prepend prepend;
    bool cut;
} eh_pre_tokenizer_step;

// Immutable; all zero leaves the text whole.
typedef struct {
    eh_pre_tokenizer_step *steps;
    int64_t count, capacity;
    bool over_bytes; // a ByteLevel step is among them
} eh_pre_tokenizer;

// Kept from text to text; one for each thread. Buffers and lists are used in turn.
typedef struct {
    eh_aligned buffers[2];
    eh_pieces lists[2];
} eh_pre_tokenizer_work;

// Reads the file's "pre_tokenizer" (null or NULL: the text stays whole). EH_INPUT names what is not supported.
EH_CHECKED eh_status eh_pre_tokenizer_init(const json_t *description, eh_pre_tokenizer *pre_tokenizer);
void eh_pre_tokenizer_deinit(eh_pre_tokenizer *pre_tokenizer);

// Cuts *pieces of *source. Both are replaced by ones that lie in `work`, good until its next use, or left alone.
EH_CHECKED eh_status eh_pre_tokenizer_run(const eh_pre_tokenizer *pre_tokenizer, eh_pre_tokenizer_work *work,
                                          eh_source *source, const eh_pieces **pieces);
void eh_pre_tokenizer_work_deinit(eh_pre_tokenizer_work *work);

#endif
