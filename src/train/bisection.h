// The strength at which a function that grows with it (capability lost to noise) reaches a target: a bracket is
// widened, then narrowed. A step at a time, so that whoever measures may be interrupted and go on from what is known.
#ifndef EH_TRAIN_BISECTION_H
#define EH_TRAIN_BISECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    double base, target, tolerance; // value at strength 0, value that is wanted, relative tolerance
    double low, low_value;          // the strongest that is too weak
    double high, high_value;        // the weakest that is too strong; high 0: none is known yet, NaN value: broken
    double next;                    // to be measured, where it is not done
    int64_t trials;
    bool done; // `next` is the answer
} eh_bisection;

// Done at once with strength 0 if the target is not above the base by more than the tolerance.
eh_bisection eh_bisection_begin(double base, double target, double tolerance);
// The value measured at `next` (NaN: the model is broken there, which is too strong). EH_INPUT if no strength is found.
EH_CHECKED eh_status eh_bisection_add(eh_bisection *search, double value);

#endif
