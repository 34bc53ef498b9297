// The choice of the next token from its logits: penalties and bans first, then the largest, or a draw.
#ifndef EH_MODEL_SAMPLE_H
#define EH_MODEL_SAMPLE_H

#include "model/generate.h"

typedef struct {
    const eh_generation *settings;
    int64_t vocab_size;
    double *scores; // [vocabulary]
    int32_t *order; // [vocabulary]
} eh_sampler;

// Names a draw: the same place, the same random number, whoever makes it.
typedef struct {
    int64_t item, sample, index; // index: of the new token in its text
} eh_sample_place;

EH_CHECKED eh_status eh_sampler_init(eh_sampler *sampler, const eh_generation *settings, int64_t vocab_size);
void eh_sampler_deinit(eh_sampler *sampler);
// `ids`: all tokens so far, prompt included, of which `made` are new.
int32_t eh_sampler_next(eh_sampler *sampler, const eh_sample_place *place, const int32_t *ids, int64_t count,
                        int64_t made, const float *logits);

#endif
