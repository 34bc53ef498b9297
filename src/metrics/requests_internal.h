// The requests of one item, as flat growing arrays.
#ifndef EH_METRICS_REQUESTS_INTERNAL_H
#define EH_METRICS_REQUESTS_INTERNAL_H

#include "metrics/metric.h"

// One sequence to score. Its first `shared_count` ids are its context; sequences of an item whose contexts are equal
// have the same `context` number.
typedef struct {
    int64_t first, count; // ids (encoder-decoder: the source)
    int64_t shared_count; // 0: nothing to share
    int64_t context;      // number of the context among the item's, -1: none
    int64_t outer_count;  // above 0: so many ids of the context are context `outer`, which others begin with too
    int64_t outer;
    int64_t decoder_first, decoder_count;
    int32_t tag;
    int64_t label_first, label_count; // rows are relative to the sequence (decoder, if there is one)
    bool too_long;                    // for the model: its labels are NaN
    int64_t fills;                    // how many tokens for its one label's row are asked for; 0: it is not a fill
} eh_request_sequence;

struct eh_requests {
    eh_request_sequence *sequences;
    int64_t sequence_count, sequence_capacity;
    int32_t *ids; // sources, prompts and masked inputs, one after another
    int64_t id_count, id_capacity;
    uint8_t *types; // as ids
    int64_t type_count, type_capacity;
    int32_t *decoder_ids;
    int64_t decoder_count, decoder_capacity;
    int32_t *rows;
    int64_t row_count, row_capacity;
    int32_t *gold;
    int64_t gold_count, gold_capacity;
    int64_t context_count; // different contexts so far
    int64_t *prompts;      // [2 x prompt_count] first and count in ids
    int64_t prompt_count, prompt_capacity;
    int64_t *texts; // [2 x text_count] first and size in text
    int64_t text_count, text_capacity;
    eh_string text;
    int32_t decoder_start, tag;
    // What does not fit max_length (0: no bound) loses the oldest tokens of its context, but for `start`; what is too
    // long without any context can't be answered. Counted for the whole item.
    int64_t max_length;
    int32_t start;
    int64_t cut_tokens, too_long_count;
};

void eh_requests_clear(eh_requests *requests); // keeps the memory
void eh_requests_deinit(eh_requests *requests);

#endif
