// Tests of a before/after difference, corrections for families of them, and the test that a difference is small.
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/philox.h"
#include "report/statistics.h"

eh_mcnemar eh_mcnemar_test(int64_t b, int64_t c)
{
    if (b < 0 || c < 0)
        return (eh_mcnemar){NAN, NAN};
    const int64_t n = b + c, least = b < c ? b : c;
    const double point = eh_binomial_half_probability(least, n);
    if (b == c)
        return (eh_mcnemar){1, n == 0 ? 1 : 1 - 0.5 * point};
    const double twice = 2 * eh_binomial_half_cdf(least, n);
    return (eh_mcnemar){twice < 1 ? twice : 1, twice - point};
}

// The sum of the differences with signs from the bits of `pattern`.
static double flipped_sum(const double *differences, int64_t count, uint64_t pattern)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (1 - 2 * (double)(pattern >> i & 1)) * differences[i]; // no branch: 3x
    return sum;
}

static double random_flipped_sum(const double *differences, int64_t count, uint64_t seed, uint64_t draw)
{
    double sum = 0;
    for (int64_t begin = 0; begin < count; begin += 64) {
        const uint64_t signs = eh_random_u64(seed, EH_STREAM_PERMUTATION, draw << 24 | (uint64_t)(begin / 64));
        sum += flipped_sum(differences + begin, count - begin < 64 ? count - begin : 64, signs);
    }
    return sum;
}

double eh_sign_flip_test(const double *differences, int64_t count, int64_t draws, uint64_t seed)
{
    double observed = 0, size = 0;
    for (int64_t i = 0; i < count; i++) observed += differences[i], size += fabs(differences[i]);
    if (count <= 0 || !isfinite(observed))
        return NAN;
    // Sums that differ by rounding only are ties: they count as at least as extreme.
    const double least = fabs(observed) - 1e-12 * size;
    int64_t extreme = 0;
    if (count <= EH_EXACT_FLIPS) {
        const uint64_t patterns = (uint64_t)1 << count;
        for (uint64_t pattern = 0; pattern < patterns; pattern++)
            extreme += fabs(flipped_sum(differences, count, pattern)) >= least;
        return (double)extreme / (double)patterns;
    }
    for (int64_t draw = 0; draw < draws; draw++)
        extreme += fabs(random_flipped_sum(differences, count, seed, (uint64_t)draw)) >= least;
    return (1 + (double)extreme) / (1 + (double)draws);
}

typedef struct {
    double p;
    int64_t index;
} ranked_p;

static int by_p(const void *left, const void *right)
{
    const ranked_p *a = left, *b = right;
    if (a->p != b->p)
        return a->p < b->p ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

// The members (those with a p-value) in ascending order.
static eh_status rank_family(const double *p, int64_t count, ranked_p **ranked, int64_t *members)
{
    EH_TRY(EH_ALLOC(count, ranked));
    *members = 0;
    for (int64_t i = 0; i < count; i++)
        if (!isnan(p[i]))
            (*ranked)[(*members)++] = (ranked_p){p[i], i};
    if (*members > 1)
        qsort(*ranked, (size_t)*members, sizeof **ranked, by_p);
    return EH_OK;
}

eh_status eh_adjust_holm(const double *p, int64_t count, double *adjusted)
{
    ranked_p *ranked = NULL;
    int64_t members = 0;
    EH_TRY(rank_family(p, count, &ranked, &members));
    for (int64_t i = 0; i < count; i++) adjusted[i] = NAN;
    double least = 0;
    for (int64_t r = 0; r < members; r++) {
        const double candidate = fmin(1, ranked[r].p * (double)(members - r));
        least = fmax(least, candidate);
        adjusted[ranked[r].index] = least;
    }
    eh_free(&ranked);
    return EH_OK;
}

eh_status eh_adjust_benjamini_hochberg(const double *p, int64_t count, double *adjusted)
{
    ranked_p *ranked = NULL;
    int64_t members = 0;
    EH_TRY(rank_family(p, count, &ranked, &members));
    for (int64_t i = 0; i < count; i++) adjusted[i] = NAN;
    double greatest = 1;
    for (int64_t r = members - 1; r >= 0; r--) {
        greatest = fmin(greatest, ranked[r].p * (double)members / (double)(r + 1));
        adjusted[ranked[r].index] = greatest;
    }
    eh_free(&ranked);
    return EH_OK;
}

double eh_equivalence_test(double effect, double standard_error, double degrees, double margin)
{
    if (!isfinite(effect) || !(standard_error > 0) || !(margin > 0))
        return NAN;
    const double above_low = (effect + margin) / standard_error, below_high = (effect - margin) / standard_error;
    if (degrees > 0)
        return fmax(eh_student_cdf(-above_low, degrees), eh_student_cdf(below_high, degrees));
    return fmax(eh_normal_cdf(-above_low), eh_normal_cdf(below_high));
}
