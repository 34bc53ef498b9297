// A straight line through points, for measured against planted bias.
#include <math.h>

#include "report/statistics.h"

eh_line eh_fit_line(const double *x, const double *y, int64_t count)
{
    eh_line line = {count, NAN, NAN, NAN, NAN, {NAN, NAN}};
    if (count < 2)
        return line;
    double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
    for (int64_t i = 0; i < count; i++) mean_x += x[i], mean_y += y[i];
    mean_x /= (double)count;
    mean_y /= (double)count;
    for (int64_t i = 0; i < count; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
        yy += (y[i] - mean_y) * (y[i] - mean_y);
    }
    if (!(xx > 0) || !isfinite(xx + yy))
        return line;
    line.slope = xy / xx;
    line.intercept = mean_y - line.slope * mean_x;
    line.r_squared = yy > 0 ? xy * xy / (xx * yy) : NAN;
    if (count < 3)
        return line;
    const double rest = fmax(0, yy - line.slope * xy), degrees = (double)(count - 2);
    line.slope_error = sqrt(rest / degrees / xx);
    const double half = eh_student_quantile(0.975, degrees) * line.slope_error;
    line.slope_interval = (eh_interval){line.slope - half, line.slope + half};
    return line;
}
