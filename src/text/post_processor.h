// Post-processors: the tokens that are put around a text or a pair, type ids, and offsets without white space.
#ifndef EH_TEXT_POST_PROCESSOR_H
#define EH_TEXT_POST_PROCESSOR_H

#include <stdbool.h>

#include <jansson.h>

#include "text/vocabulary.h"

// An element of a template: one of the texts, or a token.
typedef struct {
    int source; // 0: first text, 1: second text, EH_TOKEN_ADDED: the token
    int32_t id;
    uint8_t type_id;
} eh_template_item;

typedef struct {
    eh_template_item *items;
    int64_t count, capacity;
} eh_template;

// Immutable.
typedef struct {
    eh_template single, pair;
    bool trim_offsets; // leave white space out of offsets,
    bool prefix_space; // but for a space that was put before the text
} eh_post_processor;

// Reads the file's "post_processor" (null or NULL: texts are put one behind the other). EH_INPUT names what is not
// supported.
EH_CHECKED eh_status eh_post_processor_init(const json_t *description, eh_post_processor *processor);
void eh_post_processor_deinit(eh_post_processor *processor);

#endif
