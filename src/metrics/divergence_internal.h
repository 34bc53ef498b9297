// How far two models' predictions are apart, token by token.
#ifndef EH_METRICS_DIVERGENCE_INTERNAL_H
#define EH_METRICS_DIVERGENCE_INTERNAL_H

#include "metrics/batch_internal.h"

#define EH_DIVERGENCE_LOGITS_MOST (INT64_C(32) << 20) // logits of one model at a time

// divergences[i] of each asked label of an item: KL(base || model) in nats over the whole vocabulary, at the label's
// row. The two models must have one vocabulary (EH_INPUT). Reserves both models' memory.
EH_CHECKED eh_status eh_divergence_score(eh_model *base, eh_model *model, eh_asked *asked);

#endif
