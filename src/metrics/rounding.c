#include "metrics/rounding.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// glibc prints the exact decimal expansion, correctly rounded; it is asked only where the short way could err.
static double round_by_printing(double x, int decimals)
{
    char text[400];
    snprintf(text, sizeof text, "%.*f", decimals, x);
    return strtod(text, NULL);
}

double eh_round_decimals(double x, int decimals)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    if (!isfinite(x))
        return x;
    const double scaled = x * powers[decimals];
    if (fabs(scaled) > 1e9 || fabs(fabs(scaled - trunc(scaled)) - 0.5) < 1e-6)
        return round_by_printing(x, decimals);
    return nearbyint(scaled) / powers[decimals];
}
