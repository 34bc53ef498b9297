// Dynamic loss scaling for training in fp16 (Micikevicius et al. 2018): gradients are computed times a power of two,
// which halves when they overflow, the step being skipped, and doubles after many steps without.
#ifndef EH_TRAIN_LOSS_SCALE_H
#define EH_TRAIN_LOSS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#define EH_LOSS_SCALE_PATIENCE 2000 // steps before it doubles

typedef struct {
    bool on;      // fp16; otherwise scale is 1 for good
    double scale; // what gradients are multiplied with
    int64_t good_steps, skipped_count;
} eh_loss_scale;

eh_loss_scale eh_loss_scale_begin(bool on, double first);
// After a step whose loss and gradient were finite, or not: then it is to be skipped. False: the scale has fallen below
// 1, so overflow is not the reason.
bool eh_loss_scale_take(eh_loss_scale *scale, bool finite);

#endif
