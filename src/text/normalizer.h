// Normalizers: what happens to the text before it is cut into words. Steps run one after another; each keeps track of
// where its characters come from, as the reference does, so that tokens have offsets in the original.
#ifndef EH_TEXT_NORMALIZER_H
#define EH_TEXT_NORMALIZER_H

#include <stdbool.h>

#include <jansson.h>

#include "text/aligned.h"

typedef struct eh_normalizer_step eh_normalizer_step;

// Immutable; all zero does nothing.
typedef struct {
    eh_normalizer_step *steps;
    int64_t count, capacity;
} eh_normalizer;

// Two buffers that steps use in turn, kept from text to text; one for each thread.
typedef struct {
    eh_aligned buffers[2];
    void *characters; // of the step at work
    int64_t character_capacity;
    void *moved; // of unicode_forms.c
    int64_t moved_capacity;
    eh_origin *origins;
    int64_t origin_capacity;
} eh_normalizer_work;

// Reads the file's "normalizer" (null or NULL: nothing is done). EH_INPUT names what is not supported.
EH_CHECKED eh_status eh_normalizer_init(const json_t *description, eh_normalizer *normalizer);
void eh_normalizer_deinit(eh_normalizer *normalizer);

// Normalizes bytes [begin, end) and appends the result to `text`. There must be at least one step.
EH_CHECKED eh_status eh_normalizer_run(const eh_normalizer *normalizer, eh_normalizer_work *work, eh_source source,
                                       uint32_t begin, uint32_t end, eh_aligned *text);
void eh_normalizer_work_deinit(eh_normalizer_work *work);

#endif
