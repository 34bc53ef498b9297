#include "train/prefixes.h"

#include "core/memory.h"

// Shorter ones save less than a sequence more costs.
#define SHARE_FROM 4

eh_status eh_prefixes_init(int64_t examples, eh_prefixes *prefixes)
{
    *prefixes = (eh_prefixes){0};
    EH_TRY(EH_ALLOC(eh_prefixes_most(examples), &prefixes->first));
    EH_TRY(EH_ALLOC(eh_prefixes_most(examples), &prefixes->length));
    EH_TRY(EH_ALLOC(examples, &prefixes->of));
    EH_TRY(EH_ALLOC(examples, &prefixes->order));
    EH_TRY(EH_ALLOC(examples, &prefixes->common));
    EH_TRY(EH_ALLOC(examples + 1, &prefixes->saved));
    return EH_ALLOC(examples + 1, &prefixes->cut);
}

void eh_prefixes_deinit(eh_prefixes *prefixes)
{
    eh_free(&prefixes->first);
    eh_free(&prefixes->length);
    eh_free(&prefixes->of);
    eh_free(&prefixes->order);
    eh_free(&prefixes->common);
    eh_free(&prefixes->saved);
    eh_free(&prefixes->cut);
}

typedef struct {
    const int32_t *ids;
    int64_t count;
} beginning;

// What an example may leave out: the rows before its first label's, and never all.
static beginning beginning_of(const eh_training_set *set, int64_t example)
{
    const int64_t first = set->id_offsets[example], tokens = set->id_offsets[example + 1] - first;
    beginning its = {set->ids + first, tokens > 0 && !set->masked[example] ? tokens - 1 : 0};
    for (int64_t l = set->label_offsets[example]; l < set->label_offsets[example + 1]; l++)
        if (set->label_rows[l] < its.count)
            its.count = set->label_rows[l];
    return its;
}

static int64_t equal_tokens(const beginning *a, const beginning *b)
{
    int64_t equal = 0;
    while (equal < a->count && equal < b->count && a->ids[equal] == b->ids[equal]) equal++;
    return equal;
}

static bool is_before(const beginning *a, const beginning *b)
{
    const int64_t equal = equal_tokens(a, b);
    if (equal == a->count || equal == b->count)
        return a->count < b->count;
    return a->ids[equal] < b->ids[equal];
}

// As in a dictionary, so that the best partners are neighbours. Insertion: stable, in place, and batches are small.
static void sort(eh_prefixes *prefixes, const eh_training_set *set, const int64_t *examples, int64_t count)
{
    int64_t *order = prefixes->order;
    for (int64_t i = 0; i < count; i++) {
        const beginning its = beginning_of(set, examples[i]);
        int64_t at = i;
        for (; at > 0; at--) {
            const beginning before = beginning_of(set, examples[order[at - 1]]);
            if (!is_before(&its, &before))
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

// The sorted examples are cut into groups: saved[i] is the most that the first i of them save, whose last group begins
// at cut[i]. A group reads its shortest common beginning once instead of once an example.
static void choose_groups(eh_prefixes *prefixes, int64_t count)
{
    prefixes->saved[0] = 0;
    for (int64_t i = 1; i <= count; i++) {
        int64_t shortest = INT64_MAX;
        prefixes->saved[i] = prefixes->saved[i - 1];
        prefixes->cut[i] = i - 1;
        for (int64_t begin = i - 2; begin >= 0; begin--) {
            shortest = prefixes->common[begin + 1] < shortest ? prefixes->common[begin + 1] : shortest;
            if (shortest < SHARE_FROM)
                break;
            const int64_t saved = prefixes->saved[begin] + (i - begin - 1) * shortest;
            if (saved > prefixes->saved[i]) {
                prefixes->saved[i] = saved;
                prefixes->cut[i] = begin;
            }
        }
    }
}

static void measure_neighbours(eh_prefixes *prefixes, const eh_training_set *set, const int64_t *examples,
                               int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        const beginning one = beginning_of(set, examples[prefixes->order[i - 1]]);
        const beginning other = beginning_of(set, examples[prefixes->order[i]]);
        prefixes->common[i] = equal_tokens(&one, &other);
    }
}

static void name_groups(eh_prefixes *prefixes, int64_t count)
{
    for (int64_t end = count, begin; end > 0; end = begin) {
        begin = prefixes->cut[end];
        if (end - begin < 2)
            continue;
        int64_t shortest = INT64_MAX;
        for (int64_t i = begin + 1; i < end; i++)
            shortest = prefixes->common[i] < shortest ? prefixes->common[i] : shortest;
        for (int64_t i = begin; i < end; i++) prefixes->of[prefixes->order[i]] = (int32_t)prefixes->count;
        prefixes->first[prefixes->count] = prefixes->order[begin];
        prefixes->length[prefixes->count++] = shortest;
    }
}

void eh_prefixes_find(eh_prefixes *prefixes, const eh_training_set *set, const int64_t *examples, int64_t count)
{
    int64_t left = count, found;
    prefixes->count = 0;
    for (int64_t i = 0; i < count; i++) prefixes->of[i] = -1;
    if (set->facts.kind != EH_DECODER) // where a token sees what comes behind it, beginnings differ
        return;
    sort(prefixes, set, examples, count);
    do { // again with those that a group of longer beginnings stood between
        found = prefixes->count;
        measure_neighbours(prefixes, set, examples, left);
        choose_groups(prefixes, left);
        name_groups(prefixes, left);
        int64_t kept = 0;
        for (int64_t i = 0; i < left; i++)
            if (prefixes->of[prefixes->order[i]] < 0)
                prefixes->order[kept++] = prefixes->order[i];
        left = kept;
    } while (prefixes->count > found);
}
