// The choice of the next tokens from their logits: penalties and bans first, then the largest, or a draw.
#ifndef EH_MODEL_SAMPLE_H
#define EH_MODEL_SAMPLE_H

#include "model/generate.h"

typedef struct {
    eh_backend *backend;
    const eh_generation *settings;
    int64_t vocab_size, row_capacity, edit_capacity;
    int64_t row_count, edit_count; // of this round
    int32_t *host_edits;           // [edits, 3], as eh_sampling wants them
    double *host_draws;            // [rows]
    int32_t *host_index;           // [rows]
    int32_t *edit_of;  // [vocabulary] 1 + the edit of a token in the row at hand, if it is one of that row's
    eh_buffer *buffer; // edits, draws and index on the device
} eh_sampler;

// Names a draw: the same place, the same random number, whoever makes it.
typedef struct {
    int64_t item, sample, index; // index: of the new token in its text
} eh_sample_place;

// For rounds of up to `rows` texts of up to `length` tokens.
EH_CHECKED eh_status eh_sampler_init(eh_backend *backend, const eh_generation *settings, int64_t vocab_size,
                                     int64_t rows, int64_t length, eh_sampler *sampler);
void eh_sampler_deinit(eh_sampler *sampler);
void eh_sampler_begin(eh_sampler *sampler); // a round
// The next row of the round. `ids`: all tokens of its text so far, prompt included, of which `made` are new.
void eh_sampler_add(eh_sampler *sampler, const eh_sample_place *place, const int32_t *ids, int64_t count, int64_t made);
// A token for each row of logits [rows, vocabulary] fp32, which are changed; borrowed until the next round.
EH_CHECKED eh_status eh_sampler_end(eh_sampler *sampler, const eh_tensor *logits, const int32_t **tokens);

#endif
