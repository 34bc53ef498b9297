// Drawing tokens on the host, for the backends whose memory it is. Arithmetic in double, so that ties and sums do not
// wander.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host.h"
#include "core/memory.h"

typedef struct {
    int64_t vocab;
    double *scores; // [vocab] of one row
    int32_t *order; // [vocab]
} work;

static int32_t largest(const work *w)
{
    int32_t best = 0;
    for (int64_t v = 1; v < w->vocab; v++)
        if (w->scores[v] > w->scores[best])
            best = (int32_t)v;
    return best;
}

// Max-heap over `order` by score; among equal scores the smaller id comes first.
static bool comes_first(const work *w, int32_t a, int32_t b)
{
    return w->scores[a] > w->scores[b] || (w->scores[a] == w->scores[b] && a < b);
}

static void sift_down(work *w, int64_t at, int64_t count)
{
    int32_t *heap = w->order;
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && comes_first(w, heap[child + 1], heap[child]))
            child++;
        if (!comes_first(w, heap[child], heap[at]))
            return;
        const int32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

// Takes the likeliest token from the heap of `count`; it stays at the heap's end.
static int32_t pop(work *w, int64_t count)
{
    const int32_t token = w->order[0];
    w->order[0] = w->order[count - 1];
    w->order[count - 1] = token;
    sift_down(w, 0, count - 1);
    return token;
}

// The likeliest tokens, in falling order at the end of `order`, until their number or their probability is enough.
// Returns how many; *mass is their total. `sum` is that of all.
static int64_t keep_likeliest(work *w, const eh_sampling *sampling, double top, double sum, double *mass)
{
    const int64_t vocab = w->vocab;
    const int64_t most = sampling->top_k > 0 && sampling->top_k < vocab ? sampling->top_k : vocab;
    int64_t kept = 0;
    double kept_sum = 0;
    for (int64_t v = 0; v < vocab; v++) w->order[v] = (int32_t)v;
    for (int64_t i = vocab / 2 - 1; i >= 0; i--) sift_down(w, i, vocab);
    if (most < vocab && sampling->top_p < 1) { // top-p counts within what top-k left
        for (int64_t i = 0; i < most; i++) kept_sum += exp(w->scores[pop(w, vocab - i)] - top);
        sum = kept_sum;
        for (int64_t i = vocab / 2 - 1; i >= 0; i--) sift_down(w, i, vocab);
    }
    for (*mass = 0; kept < most && (kept == 0 || *mass < sampling->top_p * sum); kept++)
        *mass += exp(w->scores[pop(w, vocab - kept)] - top);
    return kept;
}

static int32_t draw(work *w, const eh_sampling *sampling, double u)
{
    const int64_t vocab = w->vocab;
    const double top = w->scores[largest(w)] / sampling->temperature;
    double sum = 0, mass = 0;
    for (int64_t v = 0; v < vocab; v++) {
        w->scores[v] /= sampling->temperature;
        sum += exp(w->scores[v] - top);
    }
    if (sampling->top_p >= 1 && (sampling->top_k == 0 || sampling->top_k >= vocab)) {
        int32_t last = 0; // rounding may leave a rest
        u *= sum;
        for (int64_t v = 0; v < vocab; v++) {
            const double p = exp(w->scores[v] - top);
            if (p > 0)
                last = (int32_t)v;
            u -= p;
            if (u < 0)
                return last;
        }
        return last;
    }
    const int64_t kept = keep_likeliest(w, sampling, top, sum, &mass);
    u *= mass;
    for (int64_t i = 0; i < kept - 1; i++) {
        u -= exp(w->scores[w->order[vocab - 1 - i]] - top);
        if (u < 0)
            return w->order[vocab - 1 - i];
    }
    return w->order[vocab - kept];
}

static void edit(work *w, const float *logits, const eh_sampling *sampling, int32_t row)
{
    if (!eh_tensor_exists(&sampling->edits))
        return;
    const int32_t *edits = eh_tensor_address(&sampling->edits);
    for (int64_t e = 0; e < sampling->edits.shape[0]; e++, edits += 3) {
        const double logit = logits[edits[1]], penalty = sampling->penalty;
        if (edits[0] == row)
            w->scores[edits[1]] = edits[2] != 0 ? -INFINITY : logit > 0 ? logit / penalty : logit * penalty;
    }
}

static bool are_numbers(const work *w, bool draws)
{
    for (int64_t v = 0; v < w->vocab; v++)
        if (isnan(w->scores[v]) || (draws && w->scores[v] == INFINITY))
            return false;
    return true;
}

eh_status eh_host_sample_rows(eh_backend *backend, const eh_sampling *sampling)
{
    const int64_t rows = sampling->logits.shape[0];
    if (!eh_tensor_exists(&sampling->draws) && !eh_tensor_exists(&sampling->edits)) // plainly the likeliest
        return backend->table->argmax_rows(backend, &sampling->logits, &sampling->index);
    work w = {.vocab = sampling->logits.shape[1]};
    int32_t *index = eh_tensor_address(&sampling->index);
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(w.vocab, &w.scores));
    EH_TRY_OR(done, EH_ALLOC(w.vocab, &w.order));
    for (int64_t row = 0; row < rows; row++) {
        const float *logits = (const float *)eh_tensor_address(&sampling->logits) + row * w.vocab;
        for (int64_t v = 0; v < w.vocab; v++) w.scores[v] = logits[v];
        edit(&w, logits, sampling, (int32_t)row);
        index[row] = -1;
        if (!are_numbers(&w, eh_tensor_exists(&sampling->draws)))
            continue;
        double u = 0;
        if (eh_tensor_exists(&sampling->draws))
            memcpy(&u, (const char *)eh_tensor_address(&sampling->draws) + row * (int64_t)sizeof u, sizeof u);
        index[row] = eh_tensor_exists(&sampling->draws) ? draw(&w, sampling, u) : largest(&w);
    }
done:
    eh_free(&w.scores);
    eh_free(&w.order);
    return status;
}
