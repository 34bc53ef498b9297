// Pull towards the starting weights (train.l2): the loss gets l2 / 2 sum_i F_i (w_i - w0_i)^2 over all trained weights.
// F is 1 (L2-SP, Li et al. 2018), or with train.fisher the diagonal of the empirical Fisher matrix on general text, the
// mean over examples of the squared gradient of log P(example) (EWC, Kirkpatrick et al. 2017, eq. 3). It is added to
// the sum of all gradients, so a rank remembers the part of the weights whose sum it holds.
#ifndef EH_TRAIN_ANCHOR_H
#define EH_TRAIN_ANCHOR_H

#include "model/model.h"

// Neighbouring elements: where they begin in the weights that are held, in the gradient's sum that is held, in the
// whole block of gradients, and in what is remembered (eh_anchor_init sets that).
typedef struct {
    int64_t weights, sum, block, count, at;
} eh_anchor_stretch;

// All zero: no pull.
typedef struct {
    eh_backend *backend; // borrowed
    float strength;
    eh_anchor_stretch *stretches; // owned
    int64_t stretch_count, count; // elements of all
    eh_buffer *start_buffer, *importance_buffer;
    eh_tensor start, importance; // fp32 [count]; importance may be missing
    eh_buffer *pulled_buffer;
    eh_tensor pulled; // a piece of the gradient, as the sum is a view that the backend may not write to
} eh_anchor;

// Remembers the weights as they are now. Takes over `stretches`. EH_MACHINE if there is no memory.
EH_CHECKED eh_status eh_anchor_init(eh_backend *backend, const eh_model *model, double strength,
                                    eh_anchor_stretch *stretches, int64_t stretch_count, eh_anchor *anchor);
// Gives the weights their importance; `importance` is on the host and laid out as the block of gradients.
EH_CHECKED eh_status eh_anchor_weigh(eh_backend *backend, const float *importance, eh_anchor *anchor);
void eh_anchor_deinit(eh_anchor *anchor);
// Adds the penalty's gradient, times `scale`, to the gradient's sum. Does nothing without a pull.
EH_CHECKED eh_status eh_anchor_pull(const eh_anchor *anchor, const eh_model *model, float scale, const eh_tensor *sum);

#endif
