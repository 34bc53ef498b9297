// What a run of this size can show at all.
#include <math.h>

#include "report/statistics.h"

double eh_minimal_detectable_change(int64_t count, double discordant, double design_effect)
{
    if (count <= 0 || !(discordant >= 0) || !(design_effect > 0))
        return NAN;
    // 2.8 = z(0.975) + z(0.8): a 5 % two-sided test and 80 % power.
    return 2.8 * 100 * sqrt(discordant / (double)count) * sqrt(design_effect);
}
