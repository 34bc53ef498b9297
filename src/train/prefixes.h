// What examples of a micro-batch begin with alike, such as a prompt's template: a decoder without dropout computes the
// same keys and values for it in each of them, so it is read once and the rest of each example attends to it. A
// function of the examples, never of ranks.
#ifndef EH_TRAIN_PREFIXES_H
#define EH_TRAIN_PREFIXES_H

#include "train/training_set.h"

typedef struct {
    int64_t count;   // of prefixes found
    int64_t *first;  // [count] an example that begins with it, by its place in the list
    int64_t *length; // [count] tokens of it
    int32_t *of;     // [examples] number of the prefix that an example leaves out, -1: it is whole
    // Scratch of the search.
    int64_t *order, *common, *saved, *cut;
} eh_prefixes;

// Room for lists of up to so many examples.
EH_CHECKED eh_status eh_prefixes_init(int64_t examples, eh_prefixes *prefixes);
void eh_prefixes_deinit(eh_prefixes *prefixes);
// Chooses the prefixes that save most tokens. None is shorter than 4 tokens or has a label at one of its rows, and
// every example that leaves it out keeps a token at least. Allocates nothing.
void eh_prefixes_find(eh_prefixes *prefixes, const eh_training_set *set, const int64_t *examples, int64_t count);
// The most prefixes that so many examples have: each is of two at least.
static inline int64_t eh_prefixes_most(int64_t examples)
{
    return examples / 2;
}

#endif
