// What tokenizing must know of a model: its family, its special tokens, its length. Read from config.json alone, so
// that tokenize needs no weights.
#ifndef EH_DATASET_TEXT_MODEL_H
#define EH_DATASET_TEXT_MODEL_H

#include <stdint.h>

#include "core/status.h"
#include "job/job.h"
#include "text/tokenizer.h"

typedef enum { EH_FAMILY_DECODER, EH_FAMILY_ENCODER_DECODER, EH_FAMILY_MASKED } eh_family;

#define EH_DEFAULT_LENGTH 1024 // where the model has no bound (ALiBi, relative positions)

typedef struct {
    eh_family family;
    int32_t start, end, mask; // start: BOS, or EOS where there is none; end: EOS; -1: none
    int64_t max_length;
    eh_tokenizer *tokenizer; // owned
} eh_text_model;

// EH_INPUT with the file for an unknown model_type or a missing token. Not collective.
EH_CHECKED eh_status eh_text_model_open(const eh_job_model *settings, eh_text_model *model);
void eh_text_model_close(eh_text_model *model);

#endif
