// Sampling as transformers orders it: repetition penalty (Keskar et al. 2019), no-repeat n-gram, minimum length; then
// temperature, top-k, top-p (Holtzman et al. 2020). Arithmetic in double, so that ties and sums do not wander.
#include "model/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"

eh_status eh_sampler_init(eh_sampler *sampler, const eh_generation *settings, int64_t vocab_size)
{
    *sampler = (eh_sampler){.settings = settings, .vocab_size = vocab_size};
    EH_TRY(EH_ALLOC(vocab_size, &sampler->scores));
    return EH_ALLOC(vocab_size, &sampler->order);
}

void eh_sampler_deinit(eh_sampler *sampler)
{
    eh_free(&sampler->scores);
    eh_free(&sampler->order);
}

// Tokens that occurred get less likely, once each however often they did.
static void penalise(eh_sampler *sampler, const int32_t *ids, int64_t count, const float *logits)
{
    const double penalty = sampler->settings->repetition_penalty;
    for (int64_t i = 0; i < count && penalty != 1; i++) {
        const double logit = logits[ids[i]];
        sampler->scores[ids[i]] = logit > 0 ? logit / penalty : logit * penalty;
    }
}

// Bans what would complete an n-gram that was there before.
static void ban_repeats(eh_sampler *sampler, const int32_t *ids, int64_t count)
{
    const int64_t n = sampler->settings->no_repeat_ngram;
    if (n == 0 || count + 1 < n)
        return;
    const int32_t *end = ids + count - (n - 1);
    for (int64_t i = 0; i + n <= count; i++)
        if (memcmp(ids + i, end, (size_t)(n - 1) * sizeof *ids) == 0)
            sampler->scores[ids[i + n - 1]] = -INFINITY;
}

static int32_t largest(const eh_sampler *sampler)
{
    int32_t best = 0;
    for (int64_t v = 1; v < sampler->vocab_size; v++)
        if (sampler->scores[v] > sampler->scores[best])
            best = (int32_t)v;
    return best;
}

// Max-heap over `order` by score; among equal scores the smaller id comes first.
static bool comes_first(const eh_sampler *sampler, int32_t a, int32_t b)
{
    return sampler->scores[a] > sampler->scores[b] || (sampler->scores[a] == sampler->scores[b] && a < b);
}

static void sift_down(eh_sampler *sampler, int64_t at, int64_t count)
{
    int32_t *heap = sampler->order;
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && comes_first(sampler, heap[child + 1], heap[child]))
            child++;
        if (!comes_first(sampler, heap[child], heap[at]))
            return;
        const int32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

// The likeliest tokens, in falling order at the end of `order`, until their number or their probability is enough.
// Returns how many; *mass is their total. `sum` is that of all.
static int64_t keep_likeliest(eh_sampler *sampler, double top, double sum, double *mass)
{
    const eh_generation *settings = sampler->settings;
    const int64_t vocab = sampler->vocab_size;
    const int64_t most = settings->top_k > 0 && settings->top_k < vocab ? settings->top_k : vocab;
    int64_t kept = 0;
    double kept_sum = 0;
    for (int64_t v = 0; v < vocab; v++) sampler->order[v] = (int32_t)v;
    for (int64_t i = vocab / 2 - 1; i >= 0; i--) sift_down(sampler, i, vocab);
    if (most < vocab && settings->top_p < 1) { // top-p counts within what top-k left
        for (int64_t i = 0; i < most; i++) {
            const int32_t token = sampler->order[0];
            sampler->order[0] = sampler->order[vocab - 1 - i];
            sampler->order[vocab - 1 - i] = token;
            sift_down(sampler, 0, vocab - 1 - i);
            kept_sum += exp(sampler->scores[token] - top);
        }
        sum = kept_sum;
        for (int64_t i = vocab / 2 - 1; i >= 0; i--) sift_down(sampler, i, vocab);
    }
    for (*mass = 0; kept < most && (kept == 0 || *mass < settings->top_p * sum); kept++) {
        const int32_t token = sampler->order[0];
        sampler->order[0] = sampler->order[vocab - 1 - kept];
        sampler->order[vocab - 1 - kept] = token;
        sift_down(sampler, 0, vocab - 1 - kept);
        *mass += exp(sampler->scores[token] - top);
    }
    return kept;
}

static int32_t draw(eh_sampler *sampler, const eh_sample_place *place)
{
    const eh_generation *settings = sampler->settings;
    const int64_t vocab = sampler->vocab_size;
    const double top = sampler->scores[largest(sampler)] / settings->temperature;
    const uint64_t key = (uint64_t)place->item << 20 ^ (uint64_t)place->sample;
    double u =
        eh_random_uniform(settings->seed ^ key * 0x9E3779B97F4A7C15u, EH_STREAM_SAMPLING, (uint64_t)place->index);
    double sum = 0, mass = 0;
    for (int64_t v = 0; v < vocab; v++) {
        sampler->scores[v] /= settings->temperature;
        sum += exp(sampler->scores[v] - top);
    }
    if (settings->top_p >= 1 && (settings->top_k == 0 || settings->top_k >= vocab)) {
        int32_t last = 0; // rounding may leave a rest
        u *= sum;
        for (int64_t v = 0; v < vocab; v++) {
            const double p = exp(sampler->scores[v] - top);
            if (p > 0)
                last = (int32_t)v;
            u -= p;
            if (u < 0)
                return last;
        }
        return last;
    }
    const int64_t kept = keep_likeliest(sampler, top, sum, &mass);
    u *= mass;
    for (int64_t i = 0; i < kept - 1; i++) {
        u -= exp(sampler->scores[sampler->order[vocab - 1 - i]] - top);
        if (u < 0)
            return sampler->order[vocab - 1 - i];
    }
    return sampler->order[vocab - kept];
}

int32_t eh_sampler_next(eh_sampler *sampler, const eh_sample_place *place, const int32_t *ids, int64_t count,
                        int64_t made, const float *logits)
{
    const eh_generation *settings = sampler->settings;
    for (int64_t v = 0; v < sampler->vocab_size; v++) sampler->scores[v] = logits[v];
    penalise(sampler, ids, count, logits);
    ban_repeats(sampler, ids, count);
    if (made < settings->min_new_tokens && settings->eos >= 0)
        sampler->scores[settings->eos] = -INFINITY;
    return settings->sample ? draw(sampler, place) : largest(sampler);
}
