// The statistics of PROTOCOL part 5 as pure functions of numbers: nothing here knows what an item or a model is.
// Probabilities are 0..1. What has no answer (no items, a NaN in the data) is NaN, never a made-up 0 or 1.
#ifndef EH_REPORT_STATISTICS_H
#define EH_REPORT_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    double low, high;
} eh_interval;

// --- distributions.c ---
double eh_normal_cdf(double z);
double eh_normal_quantile(double p); // p in (0, 1), else NaN
double eh_student_cdf(double t, double degrees);
double eh_student_quantile(double p, double degrees);
// P(X <= k) of X ~ Binomial(n, 1/2), and P(X = k).
double eh_binomial_half_cdf(int64_t k, int64_t n);
double eh_binomial_half_probability(int64_t k, int64_t n);

// --- proportions.c ---
// Wilson (1927) score interval of `hits` of `count` at a level such as 0.95. NaN for count 0.
eh_interval eh_wilson(int64_t hits, int64_t count, double level);
// The normal quantile that a two-sided interval of this level uses: 1.96 for 0.95.
double eh_two_sided_z(double level);

// --- significance.c ---
// McNemar's test of the discordant counts b (only before) and c (only after).
typedef struct {
    double exact, mid; // two-sided p
} eh_mcnemar;
eh_mcnemar eh_mcnemar_test(int64_t b, int64_t c);

// Two-sided sign-flip permutation test that the mean of `differences` (one a term) is 0: all 2^n sign patterns up to
// EH_EXACT_FLIPS terms, otherwise `draws` random ones, p = (1 + as extreme) / (1 + draws). NaN for count 0.
#define EH_EXACT_FLIPS 14
double eh_sign_flip_test(const double *differences, int64_t count, int64_t draws, uint64_t seed);

// Adjusted p-values of a family, in the order given; NaN entries stay NaN and do not count as members. EH_MACHINE.
EH_CHECKED eh_status eh_adjust_holm(const double *p, int64_t count, double *adjusted);
EH_CHECKED eh_status eh_adjust_benjamini_hochberg(const double *p, int64_t count, double *adjusted);

// Two one-sided tests that |effect| < margin: the larger p of the two. degrees <= 0 means the normal distribution.
double eh_equivalence_test(double effect, double standard_error, double degrees, double margin);

// --- seeds.c ---
// How far trainings that differ only in their seed scatter, beside the scatter that the items alone explain.
typedef struct {
    int64_t seed_count;
    double mean;
    double between;       // variance of the estimates over seeds
    double within;        // mean of the estimates' own sampling variances (items)
    double total;         // between + within
    eh_interval interval; // of the mean over seeds, Student's t, 95 %
} eh_seed_spread;
// estimates[s] with its sampling variance variances[s]. between and interval are NaN below two seeds.
eh_seed_spread eh_seed_spread_of(const double *estimates, const double *variances, int64_t count);

// --- power.c ---
// The change of a paired percentage that a test at 5 % finds with 80 % power, in percentage points: `discordant` is the
// expected share of items whose outcome differs, `design_effect` how much clusters inflate the variance (1: none).
double eh_minimal_detectable_change(int64_t count, double discordant, double design_effect);

// --- regression.c ---
// Least squares y = intercept + slope x.
typedef struct {
    int64_t count;
    double slope, intercept, r_squared, slope_error;
    eh_interval slope_interval; // 95 %, Student's t
} eh_line;
eh_line eh_fit_line(const double *x, const double *y, int64_t count);

#endif
