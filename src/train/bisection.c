#include "train/bisection.h"

#include <math.h>

enum { MOST_TRIALS = 60 };
#define FIRST_STRENGTH 0.05
#define MOST_STRENGTH 64.0

eh_bisection eh_bisection_begin(double base, double target, double tolerance)
{
    eh_bisection search = {.base = base, .target = target, .tolerance = tolerance, .low_value = base};
    search.done = target <= base + tolerance * target;
    search.next = search.done ? 0 : FIRST_STRENGTH;
    return search;
}

// A small noise costs in proportion to its square: where the target lies between (or beyond) the two points by that
// law.
static double guess(double low, double low_value, double high, double high_value, double target)
{
    return sqrt(low * low + (high * high - low * low) * (target - low_value) / (high_value - low_value));
}

static double clamp(double value, double least, double most)
{
    return !(value >= least) ? least : value > most ? most : value;
}

static void choose_next(eh_bisection *search)
{
    const double low = search->low, high = search->high, width = high - low;
    if (high <= 0) // nothing too strong yet
        search->next = clamp(guess(0, search->base, low, search->low_value, search->target), 2 * low, 8 * low);
    else if (search->trials < 12 && isfinite(search->high_value))
        search->next = clamp(guess(low, search->low_value, high, search->high_value, search->target), low + 0.1 * width,
                             high - 0.1 * width);
    else // the law does not hold here: halve
        search->next = low + 0.5 * width;
}

eh_status eh_bisection_add(eh_bisection *search, double value)
{
    const double strength = search->next;
    search->trials++;
    if (fabs(value - search->target) <= search->tolerance * search->target) {
        search->done = true;
        return EH_OK;
    }
    if (value < search->target) {
        search->low = strength;
        search->low_value = value;
    } else {
        search->high = strength;
        search->high_value = value;
    }
    choose_next(search);
    const bool narrow = search->high > 0 && search->high - search->low < 1e-9 * search->high;
    if (search->next > MOST_STRENGTH || narrow || search->trials >= MOST_TRIALS)
        return eh_error(
            EH_INPUT,
            "after %lld trials, no strength of noise was found that gives %.6g (within %g %%): %.6g at %.9g, "
            "%.6g at %.9g; a wider evaluate.tolerance may help",
            (long long)search->trials, search->target, 100 * search->tolerance, search->low_value, search->low,
            search->high_value, search->high);
    return EH_OK;
}
