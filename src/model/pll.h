// Pseudo-log-likelihood of masked models (Salazar et al. 2020): log P of a token with it alone masked.
#ifndef EH_MODEL_PLL_H
#define EH_MODEL_PLL_H

#include "model/model.h"

// log_probabilities[k] for every position k of the ragged list `positions` (positions of row r, counted in the row, are
// positions[position_offsets[r] .. position_offsets[r + 1])): the whole sentence, or the shared tokens only. Rows are
// ragged ids with their special tokens; type_ids may be NULL. Each masked copy of a row is one sequence; as many go
// together as eh_model_reserve has room for (at least one row's tokens, one sequence, one label). Nothing is allocated
// but one copy of a batch. EH_INPUT if the model is not a masked one.
EH_CHECKED eh_status eh_pseudo_log_likelihood(eh_model *model, int64_t row_count, const int32_t *ids,
                                              const int64_t *offsets, const uint8_t *type_ids, const int32_t *positions,
                                              const int64_t *position_offsets, int32_t mask_id,
                                              float *log_probabilities);

#endif
