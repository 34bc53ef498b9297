// The parts of a tokenizer.json: its vocabulary and merges, read straight into tables as they stream by (a file of
// 250,000 tokens has 15 MB), and everything else as a small JSON document.
#ifndef EH_TEXT_TOKENIZER_FILE_H
#define EH_TEXT_TOKENIZER_FILE_H

#include <jansson.h>

#include "core/sha256.h"
#include "text/vocabulary.h"

// All zero is an empty one.
typedef struct {
    json_t *root;             // without model.vocab and model.merges
    eh_vocabulary vocabulary; // model.vocab
    double *scores;           // by id, if model.vocab is a list of [token, score]; else NULL
    int64_t score_capacity;
    char *merge_bytes; // model.merges: the texts of both halves of each, one behind the other
    int64_t merge_byte_count, merge_byte_capacity;
    uint32_t (*merges)[2]; // byte counts of the halves
    int64_t merge_count, merge_capacity;
    bool has_vocabulary, has_merges;
    char sha256[EH_SHA256_TEXT];
} eh_tokenizer_file;

// EH_INPUT with file and line for what is not JSON, or not the shape of a tokenizer's vocabulary.
EH_CHECKED eh_status eh_tokenizer_file_read(const char *path, eh_tokenizer_file *file);
// The same from bytes; `path` is for messages.
EH_CHECKED eh_status eh_tokenizer_file_parse(const char *path, const char *bytes, size_t size, eh_tokenizer_file *file);
void eh_tokenizer_file_deinit(eh_tokenizer_file *file);

#endif
