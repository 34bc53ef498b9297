// Pull towards the starting weights (train.l2): the loss gets l2 / 2 sum_i F_i (w_i - w0_i)^2 over all trained weights.
// F is 1 (L2-SP, Li et al. 2018), or with train.fisher the diagonal of the empirical Fisher matrix on general text, the
// mean over examples of the squared gradient of log P(example) (EWC, Kirkpatrick et al. 2017, eq. 3).
#ifndef EH_TRAIN_ANCHOR_H
#define EH_TRAIN_ANCHOR_H

#include "model/model.h"

// All zero: no pull.
typedef struct {
    eh_backend *backend; // borrowed
    float strength;
    int64_t first, count; // the stretch of the block that holds all trained weights
    eh_buffer *start_buffer, *importance_buffer;
    eh_tensor start, importance; // fp32 [count]; importance may be missing
} eh_anchor;

// Remembers the weights as they are now. EH_MACHINE if there is no memory.
EH_CHECKED eh_status eh_anchor_init(eh_backend *backend, const eh_model *model, double strength, eh_anchor *anchor);
// Gives the weights their importance; `importance` is on the host and laid out as the whole block.
EH_CHECKED eh_status eh_anchor_weigh(eh_backend *backend, const float *importance, eh_anchor *anchor);
void eh_anchor_deinit(eh_anchor *anchor);
// Adds the penalty's gradient, times `scale`, to a gradient block. Does nothing without a pull.
EH_CHECKED eh_status eh_anchor_pull(const eh_anchor *anchor, const eh_model *model, float scale,
                                    const eh_tensor *gradient);

#endif
