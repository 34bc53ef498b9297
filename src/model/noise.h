// Relative Gaussian noise on a model's weights: a model that is damaged and nothing else (PROTOCOL part 5, the control
// "damage"). w + strength x rms(parameter) x N(0, 1): each parameter loses the same share of its size, and the noise
// is a function of the seed, the draw, the parameter's name and the weight's place, so that a stronger noise is the
// same one, longer.
#ifndef EH_MODEL_NOISE_H
#define EH_MODEL_NOISE_H

#include "model/model.h"

// The weights as they were (4 bytes each, on the host), and the model that the noise is put on, which must be open
// EH_FOR_TRAINING.
typedef struct {
    eh_backend *backend; // borrowed, as is the model
    eh_model *model;
    float *weights; // [weight_count]
    float *scratch; // [of the largest parameter]
    uint64_t seed;
} eh_noise;

EH_CHECKED eh_status eh_noise_init(eh_backend *backend, eh_model *model, uint64_t seed, eh_noise *noise);
// Replaces the model's weights. draw 0, 1, ...: noises that are independent of each other. strength below 0: the same
// noise with the opposite sign; 0: the weights as they were, bit for bit. Not collective.
EH_CHECKED eh_status eh_noise_apply(eh_noise *noise, int64_t draw, double strength);
void eh_noise_deinit(eh_noise *noise);

#endif
