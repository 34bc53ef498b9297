// What a masked model puts in a gap: the likeliest tokens at a mask.
#ifndef EH_METRICS_FILLS_INTERNAL_H
#define EH_METRICS_FILLS_INTERNAL_H

#include "metrics/batch_internal.h"
#include "text/tokenizer.h"

#define EH_FILLS_LOGITS_MOST (INT64_C(4) << 20) // logits at a time

// Answers all that was asked by eh_request_fills; the fills are the items' `texts`.
EH_CHECKED eh_status eh_fills_find(eh_batcher *batcher, const eh_tokenizer *tokenizer, eh_asked *const *asked,
                                   int64_t count);
// The ids of the `most` greatest of logits [vocabulary] that are words (`is_word` says so), the greatest first, of
// equal ones the lower id first: best [most]. Returns how many there are; 0 if a logit is NaN.
typedef bool (*eh_is_word)(const void *context, int32_t id);
int64_t eh_fills_best(const float *logits, int64_t vocabulary, eh_is_word is_word, const void *context, int64_t most,
                      int32_t *best);

#endif
