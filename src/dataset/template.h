// Prompt templates: text with {text} {answer} {more} {less} {context}. A template is checked once, then expanded for
// each record; what comes before {answer} is the input, the rest is the target.
#ifndef EH_DATASET_TEMPLATE_H
#define EH_DATASET_TEMPLATE_H

#include <stdint.h>

#include "core/status.h"
#include "core/string.h"
#include "dataset/dataset.h"

typedef struct {
    eh_text text, answer, more, less, context;
} eh_template_values;

// The result of an expansion. All zero is an empty one; reuse keeps the memory.
typedef struct {
    eh_string input, target;
    int64_t field_begin, field_end; // bytes of the input that came from the data: only these may be cut
} eh_expansion;

// EH_INPUT with the known names for an unknown {name}.
EH_CHECKED eh_status eh_template_check(const char *text);
// A template without {answer} has it behind one space. White space before the answer belongs to the target.
EH_CHECKED eh_status eh_template_expand(const char *text, const eh_template_values *values, eh_expansion *expansion);
void eh_expansion_deinit(eh_expansion *expansion);

#endif
