#include "core/matcher.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

// Sequences of so many elements have their frequent ones left out as anchors.
#define POPULAR_FROM 200

typedef struct {
    const int32_t *a, *b;
    bool *popular;                 // [b_count]: no block starts from this element, one may be extended over it
    int64_t *lengths, *new_length; // [b_count + 1] of the blocks that end at each b (shifted by one)
    eh_match *found;
    int64_t found_count, found_capacity;
} matcher;

static void mark_popular(matcher *m, int64_t count)
{
    for (int64_t i = 0; count >= POPULAR_FROM && i < count; i++) {
        int64_t times = 0;
        for (int64_t k = 0; k < count; k++) times += m->b[k] == m->b[i];
        m->popular[i] = times > count / 100 + 1;
    }
}

// The longest block in the two ranges; of equals the one that starts first in a, then in b.
static eh_match longest(matcher *m, int64_t a_low, int64_t a_high, int64_t b_low, int64_t b_high)
{
    eh_match best = {a_low, b_low, 0};
    memset(m->lengths + b_low, 0, (size_t)(b_high - b_low + 1) * sizeof *m->lengths);
    for (int64_t i = a_low; i < a_high; i++) {
        m->new_length[b_low] = 0;
        for (int64_t j = b_low; j < b_high; j++) {
            const int64_t length = m->a[i] == m->b[j] && !m->popular[j] ? m->lengths[j] + 1 : 0;
            m->new_length[j + 1] = length;
            if (length > best.count)
                best = (eh_match){i - length + 1, j - length + 1, length};
        }
        int64_t *swap = m->lengths;
        m->lengths = m->new_length;
        m->new_length = swap;
    }
    while (best.first_a > a_low && best.first_b > b_low && m->a[best.first_a - 1] == m->b[best.first_b - 1]) {
        best.first_a--;
        best.first_b--;
        best.count++;
    }
    while (best.first_a + best.count < a_high && best.first_b + best.count < b_high &&
           m->a[best.first_a + best.count] == m->b[best.first_b + best.count])
        best.count++;
    return best;
}

// Left rest, block, right rest: the blocks come out in ascending order.
static eh_status search(matcher *m, int64_t a_low, int64_t a_high, int64_t b_low, int64_t b_high)
{
    const eh_match block = longest(m, a_low, a_high, b_low, b_high);
    if (block.count == 0)
        return EH_OK;
    if (a_low < block.first_a && b_low < block.first_b)
        EH_TRY(search(m, a_low, block.first_a, b_low, block.first_b));
    eh_match *last = m->found_count > 0 ? &m->found[m->found_count - 1] : NULL;
    if (last != NULL && last->first_a + last->count == block.first_a && last->first_b + last->count == block.first_b)
        last->count += block.count;
    else
        EH_TRY(EH_APPEND(&m->found, &m->found_count, &m->found_capacity, block));
    const int64_t a_end = block.first_a + block.count, b_end = block.first_b + block.count;
    return a_end < a_high && b_end < b_high ? search(m, a_end, a_high, b_end, b_high) : EH_OK;
}

eh_status eh_match_sequences(const int32_t *a, int64_t a_count, const int32_t *b, int64_t b_count, eh_match **matches,
                             int64_t *count)
{
    eh_status status = EH_OK;
    matcher m = {.a = a, .b = b};
    EH_TRY_OR(done, EH_ALLOC(b_count, &m.popular));
    EH_TRY_OR(done, EH_ALLOC(b_count + 1, &m.lengths));
    EH_TRY_OR(done, EH_ALLOC(b_count + 1, &m.new_length));
    mark_popular(&m, b_count);
    EH_TRY_OR(done, search(&m, 0, a_count, 0, b_count));
    *matches = m.found;
    *count = m.found_count;
    m.found = NULL;
done:
    eh_free(&m.found);
    eh_free(&m.popular);
    eh_free(&m.lengths);
    eh_free(&m.new_length);
    return status;
}
