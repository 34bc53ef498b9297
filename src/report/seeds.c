// Variance between and within seeds, the simple decomposition of PROTOCOL part 5.
#include <math.h>

#include "report/statistics.h"

eh_seed_spread eh_seed_spread_of(const double *estimates, const double *variances, int64_t count)
{
    eh_seed_spread spread = {count, NAN, NAN, NAN, NAN, {NAN, NAN}};
    if (count <= 0)
        return spread;
    double sum = 0, within = 0, squares = 0;
    for (int64_t s = 0; s < count; s++) sum += estimates[s], within += variances[s];
    spread.mean = sum / (double)count;
    spread.within = within / (double)count;
    if (count < 2)
        return spread;
    for (int64_t s = 0; s < count; s++) squares += (estimates[s] - spread.mean) * (estimates[s] - spread.mean);
    spread.between = squares / (double)(count - 1);
    spread.total = spread.between + spread.within;
    const double half = eh_student_quantile(0.975, (double)(count - 1)) * sqrt(spread.between / (double)count);
    spread.interval = (eh_interval){spread.mean - half, spread.mean + half};
    return spread;
}
