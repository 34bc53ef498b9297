// Any HDF5 file of evenhand for a person: its header, its counts, an example as text and tokens, or a table's rows.
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

// Prints to `out`. EH_INPUT if it is no file of evenhand, or has no such row. Not collective.
EH_CHECKED eh_status eh_inspect_file(const char *path, const eh_inspect_options *options, FILE *out);

#endif
