// Distribution functions that C's library lacks: the normal quantile by Newton's method on erfc, Student's t through
// the regularised incomplete beta function (continued fraction, Lentz's method), and the fair coin's binomial.
#include <math.h>

#include "report/statistics.h"

#define SQRT_HALF 0.70710678118654752440
#define SQRT_TWO_PI 2.50662827463100050242

double eh_normal_cdf(double z)
{
    return 0.5 * erfc(-z * SQRT_HALF);
}

double eh_normal_quantile(double p)
{
    if (!(p > 0 && p < 1))
        return NAN;
    const bool upper = p > 0.5;
    const double tail = upper ? 1 - p : p;
    // Abramowitz and Stegun 26.2.23 (error below 4.5e-4) as the start; each Newton step squares the error.
    const double t = sqrt(-2 * log(tail));
    double z = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))));
    for (int step = 0; step < 4; step++) z -= (eh_normal_cdf(z) - tail) * SQRT_TWO_PI * exp(0.5 * z * z);
    return upper ? -z : z;
}

// I_x(a, b), for x < (a + 1) / (a + b + 2), where the continued fraction converges fast.
static double incomplete_beta_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double h = d;
    for (int m = 1; m < 1000; m++) {
        const double twice = 2.0 * m;
        const double terms[2] = {m * (b - m) * x / ((a + twice - 1) * (a + twice)),
                                 -(a + m) * (a + b + m) * x / ((a + twice) * (a + twice + 1))};
        double change = 1;
        for (int i = 0; i < 2; i++) {
            d = 1 + terms[i] * d;
            c = 1 + terms[i] / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            change = d * c;
            h *= change;
        }
        if (fabs(change - 1) < 1e-15)
            break;
    }
    return exp(a * log(x) + b * log1p(-x) - (lgamma(a) + lgamma(b) - lgamma(a + b))) * h / a;
}

static double incomplete_beta(double x, double a, double b)
{
    if (x <= 0)
        return 0;
    if (x >= 1)
        return 1;
    return x < (a + 1) / (a + b + 2) ? incomplete_beta_fraction(x, a, b) : 1 - incomplete_beta_fraction(1 - x, b, a);
}

double eh_student_cdf(double t, double degrees)
{
    if (isnan(t) || !(degrees > 0))
        return NAN;
    const double tail = 0.5 * incomplete_beta(degrees / (degrees + t * t), 0.5 * degrees, 0.5);
    return t > 0 ? 1 - tail : tail;
}

double eh_student_quantile(double p, double degrees)
{
    if (!(p > 0 && p < 1) || !(degrees > 0))
        return NAN;
    if (p < 0.5)
        return -eh_student_quantile(1 - p, degrees);
    double low = 0, high = 1;
    while (eh_student_cdf(high, degrees) < p && high < 1e300) high *= 2;
    for (int step = 0; step < 200 && high - low > 1e-14 * high; step++) {
        const double middle = 0.5 * (low + high);
        *(eh_student_cdf(middle, degrees) < p ? &low : &high) = middle;
    }
    return 0.5 * (low + high);
}

double eh_binomial_half_probability(int64_t k, int64_t n)
{
    if (k < 0 || k > n)
        return 0;
    return exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) - (double)n * log(2));
}

double eh_binomial_half_cdf(int64_t k, int64_t n)
{
    if (k >= n)
        return 1;
    double sum = 0;
    for (int64_t i = 0; i <= k; i++) sum += eh_binomial_half_probability(i, n);
    return sum < 1 ? sum : 1;
}
