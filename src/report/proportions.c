// Intervals of proportions.
#include <math.h>

#include "report/statistics.h"

double eh_two_sided_z(double level)
{
    return eh_normal_quantile(0.5 + 0.5 * level);
}

eh_interval eh_wilson(int64_t hits, int64_t count, double level)
{
    if (count <= 0 || hits < 0 || hits > count)
        return (eh_interval){NAN, NAN};
    const double n = (double)count, p = (double)hits / n, z = eh_two_sided_z(level), shrink = 1 + z * z / n;
    const double centre = (p + z * z / (2 * n)) / shrink;
    const double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink;
    return (eh_interval){hits == 0 ? 0 : centre - half, hits == count ? 1 : centre + half};
}
