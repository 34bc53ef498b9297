#include "train/loss_scale.h"

#include <math.h>

eh_loss_scale eh_loss_scale_begin(bool on, double first)
{
    int exponent;
    (void)frexp(first, &exponent); // a power of two rounds nothing
    return (eh_loss_scale){.on = on, .scale = on ? ldexp(1, exponent - 1) : 1};
}

bool eh_loss_scale_take(eh_loss_scale *scale, bool finite)
{
    if (!scale->on)
        return finite;
    if (!finite) {
        scale->good_steps = 0;
        scale->skipped_count++;
        scale->scale *= 0.5;
        return scale->scale >= 1;
    }
    if (++scale->good_steps == EH_LOSS_SCALE_PATIENCE) {
        scale->good_steps = 0;
        scale->scale *= 2;
    }
    return true;
}
