// Text generation with key/value cache and continuous batching: a finished sequence's place is taken by the next
// prompt. A prompt's tokens depend on (seed, item, sample) and the model alone, never on its neighbours, batch or rank.
#ifndef EH_MODEL_GENERATE_H
#define EH_MODEL_GENERATE_H

#include "model/model.h"
#include "model/stop.h"

typedef struct {
    int64_t max_new_tokens, min_new_tokens, samples; // samples per prompt (1 if greedy)
    bool sample;                                     // false: greedy
    double temperature, top_p;                       // top_p 1: off
    int64_t top_k;                                   // 0: off
    double repetition_penalty;                       // 1: off
    int64_t no_repeat_ngram;                         // 0: off
    int32_t eos;                                     // -1: never stops by token
    uint64_t seed;
    int64_t slots;  // sequences worked on together; 0: a good number
    eh_stops stops; // none: count 0
} eh_generation;

// One finished text, new tokens only. What ended it is not in it: neither an eos, nor a stop string and the tokens that
// begin in it. A token that holds text before the stop string and the beginning of it is the last one of `ids`; the
// text is `text_size` bytes of the ids' decoded text then.
typedef struct {
    int64_t item, sample;
    const int32_t *ids; // borrowed
    int64_t count;
    bool ended_by_eos, ended_by_stop;
    bool is_broken;   // the model's output became NaN after these ids
    size_t text_size; // ended_by_stop only
} eh_generated;
typedef eh_status (*eh_generated_sink)(void *context, const eh_generated *text);

// Whether each token is plainly the likeliest, which the backend finds: no logits come to the host.
bool eh_generation_is_greedy(const eh_generation *settings);
// The texts that it works on together; `wanted` 0: its own choice.
int64_t eh_generation_slots(int64_t texts, int64_t wanted);
// prompts: ragged ids (encoder-decoder: the sources). item_ids[i] names prompt i (for the seed and the sink). Texts
// reach `sink` as they finish, in any order.
EH_CHECKED eh_status eh_generate(eh_model *model, const eh_generation *settings, int64_t prompt_count,
                                 const int32_t *prompt_ids, const int64_t *prompt_offsets, const int64_t *item_ids,
                                 eh_generated_sink sink, void *sink_context);

#endif
