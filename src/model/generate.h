// Text generation with key/value cache and continuous batching: a finished sequence's place is taken by the next
// prompt. A prompt's tokens depend on (seed, item, sample) and the model alone, never on its neighbours, batch or rank.
#ifndef EH_MODEL_GENERATE_H
#define EH_MODEL_GENERATE_H

#include "model/model.h"

typedef struct {
    int64_t max_new_tokens, min_new_tokens, samples; // samples per prompt (1 if greedy)
    bool sample;                                     // false: greedy
    double temperature, top_p;                       // top_p 1: off
    int64_t top_k;                                   // 0: off
    double repetition_penalty;                       // 1: off
    int64_t no_repeat_ngram;                         // 0: off
    int32_t eos;                                     // -1: never stops by token
    uint64_t seed;
    int64_t slots; // sequences worked on together; 0: a good number
    // Called after each token of a sequence: true ends it (stop strings). May be NULL.
    bool (*stop)(void *context, int64_t item, const int32_t *ids, int64_t count);
    void *stop_context;
} eh_generation;

// One finished text, new tokens only (an eos that ended it is not in it; ended_by_eos says so).
typedef struct {
    int64_t item, sample;
    const int32_t *ids; // borrowed
    int64_t count;
    bool ended_by_eos;
} eh_generated;
typedef eh_status (*eh_generated_sink)(void *context, const eh_generated *text);

// prompts: ragged ids (encoder-decoder: the sources). item_ids[i] names prompt i (for the seed and the sink). Texts
// reach `sink` as they finish, in any order.
EH_CHECKED eh_status eh_generate(eh_model *model, const eh_generation *settings, int64_t prompt_count,
                                 const int32_t *prompt_ids, const int64_t *prompt_offsets, const int64_t *item_ids,
                                 eh_generated_sink sink, void *sink_context);

#endif
