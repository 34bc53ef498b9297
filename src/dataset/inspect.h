// One example of a shard, as text and tokens, or one row of every table of a score file, for a person.
#ifndef EH_DATASET_INSPECT_H
#define EH_DATASET_INSPECT_H

#include <stdint.h>
#include <stdio.h>

#include "core/status.h"
#include "text/tokenizer.h"

typedef struct {
    int64_t row;                   // which example or row is shown
    const eh_tokenizer *tokenizer; // shows tokens as text beside their ids; NULL: ids only
} eh_inspect_options;

// Prints to `out`. EH_INPUT if it is neither, or has no such row. Not collective.
EH_CHECKED eh_status eh_inspect_example(const char *path, const eh_inspect_options *options, FILE *out);

#endif
