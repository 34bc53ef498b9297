#include "dataset/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/numpy_random.h"

typedef struct {
    uint32_t *words; // sorted by rarity, then by value; none twice
    int64_t count;
} word_set;

typedef struct {
    int64_t count;
    word_set *sets;   // [count]
    int64_t *parents; // [count] union-find
    uint64_t *keys;   // [count] hash of the pair, in neither order
    int64_t *groups;  // [count]
    int64_t group_count;
} clusters;

// FNV-1a, 64 bits; finished by a multiplication so that the high bits mix too.
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t finish_hash(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 33;
}

#define HASH_BEGIN 0xcbf29ce484222325u

static bool in_word(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static eh_status add_words(eh_text text, word_set *set, int64_t *capacity)
{
    uint64_t hash = HASH_BEGIN;
    bool inside = false;
    for (size_t i = 0; i <= text.size; i++) {
        const unsigned char c = i < text.size ? (unsigned char)text.bytes[i] : ' ';
        if (in_word(c)) {
            const char lower = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
            hash = hash_bytes(hash, &lower, 1);
            inside = true;
        } else if (inside) {
            EH_TRY(EH_APPEND(&set->words, &set->count, capacity, (uint32_t)finish_hash(hash)));
            hash = HASH_BEGIN;
            inside = false;
        }
    }
    return EH_OK;
}

static int compare_words(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void remove_doubles(word_set *set)
{
    qsort(set->words, (size_t)set->count, sizeof *set->words, compare_words);
    int64_t kept = 0;
    for (int64_t i = 0; i < set->count; i++) {
        if (i == 0 || set->words[i] != set->words[kept - 1])
            set->words[kept++] = set->words[i];
    }
    set->count = kept;
}

static int64_t find_root(const clusters *c, int64_t i)
{
    while (c->parents[i] != i) i = c->parents[i] = c->parents[c->parents[i]];
    return i;
}

static void unite(const clusters *c, int64_t i, int64_t j)
{
    const int64_t a = find_root(c, i), b = find_root(c, j);
    c->parents[a > b ? a : b] = a > b ? b : a;
}

// --- Near duplicates: an inverted index over rare words
// ---------------------------------------------------------------
typedef struct {
    uint32_t word;
    int64_t owner;
} posting;

static int compare_postings(const void *a, const void *b)
{
    const posting *x = a, *y = b;
    if (x->word != y->word)
        return x->word < y->word ? -1 : 1;
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

static bool near_duplicates(const word_set *a, const word_set *b)
{
    int64_t common = 0;
    for (int64_t i = 0, j = 0; i < a->count && j < b->count;) {
        if (a->words[i] == b->words[j]) {
            common++;
            i++;
            j++;
        } else if (a->words[i] < b->words[j]) {
            i++;
        } else {
            j++;
        }
    }
    return (double)common >= EH_NEAR_DUPLICATE * (double)(a->count + b->count - common);
}

static int64_t frequency(const posting *all, int64_t count, uint32_t word)
{
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (all[middle].word < word)
            low = middle + 1;
        else
            high = middle;
    }
    int64_t end = low;
    while (end < count && all[end].word == word) end++;
    return end - low;
}

// Two sets of similarity t share one of the |A| - ceil(t |A|) + 1 rarest words of A (in one order of all words): only
// sets that do are compared (Bayardo et al. 2007, "Scaling up all pairs similarity search").
static eh_status collect_rare(const clusters *c, const posting *all, int64_t all_count, posting **rare,
                              int64_t *rare_count)
{
    int64_t capacity = 0;
    for (int64_t i = 0; i < c->count; i++) {
        const word_set *set = &c->sets[i];
        const int64_t prefix = set->count - (int64_t)ceil(EH_NEAR_DUPLICATE * (double)set->count) + 1;
        posting *ranked = NULL;
        EH_TRY(EH_ALLOC(set->count, &ranked));
        for (int64_t k = 0; k < set->count; k++) { // insertion by (frequency, word)
            const posting fresh = {.word = set->words[k], .owner = frequency(all, all_count, set->words[k])};
            int64_t at = k;
            for (; at > 0 && (ranked[at - 1].owner > fresh.owner ||
                              (ranked[at - 1].owner == fresh.owner && ranked[at - 1].word > fresh.word));
                 at--)
                ranked[at] = ranked[at - 1];
            ranked[at] = fresh;
        }
        eh_status status = EH_OK;
        for (int64_t k = 0; k < prefix && k < set->count && status == EH_OK; k++) {
            const posting entry = {.word = ranked[k].word, .owner = i};
            status = EH_APPEND(rare, rare_count, &capacity, entry);
        }
        eh_free(&ranked);
        EH_TRY(status);
    }
    return EH_OK;
}

static eh_status unite_near_duplicates(const clusters *c)
{
    posting *all = NULL, *rare = NULL;
    int64_t all_count = 0, all_capacity = 0, rare_count = 0;
    eh_status status = EH_OK;
    for (int64_t i = 0; i < c->count; i++) {
        for (int64_t k = 0; k < c->sets[i].count; k++) {
            const posting entry = {.word = c->sets[i].words[k], .owner = i};
            EH_TRY_OR(done, EH_APPEND(&all, &all_count, &all_capacity, entry));
        }
    }
    if (all_count > 0)
        qsort(all, (size_t)all_count, sizeof *all, compare_postings);
    EH_TRY_OR(done, collect_rare(c, all, all_count, &rare, &rare_count));
    if (rare_count > 0)
        qsort(rare, (size_t)rare_count, sizeof *rare, compare_postings);
    for (int64_t first = 0, end = 0; first < rare_count; first = end) {
        for (end = first; end < rare_count && rare[end].word == rare[first].word; end++)
            for (int64_t k = first; k < end; k++) {
                const int64_t i = rare[k].owner, j = rare[end].owner;
                if (find_root(c, i) != find_root(c, j) && near_duplicates(&c->sets[i], &c->sets[j]))
                    unite(c, i, j);
            }
    }
done:
    eh_free(&all);
    eh_free(&rare);
    return status;
}

// --- Names as numbers
// ---------------------------------------------------------------------------------------------------
typedef struct {
    uint64_t hash;
    int64_t owner;
} name_entry;

static int compare_names(const void *a, const void *b)
{
    const name_entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

// Records with the same, not empty field: those of one writer are united; of one group are numbered.
static eh_status each_name(clusters *c, const eh_records *records, int field, bool writers)
{
    name_entry *entries = NULL;
    EH_TRY(EH_ALLOC(c->count, &entries));
    int64_t count = 0;
    for (int64_t i = 0; i < c->count; i++) {
        const eh_text name = eh_record_field(records, &records->records[i], field);
        if (name.size > 0 || !writers)
            entries[count++] = (name_entry){finish_hash(hash_bytes(HASH_BEGIN, name.bytes, name.size)), i};
    }
    qsort(entries, (size_t)count, sizeof *entries, compare_names);
    for (int64_t k = 0; k < count; k++) {
        const bool same = k > 0 && entries[k].hash == entries[k - 1].hash;
        if (writers && same)
            unite(c, entries[k - 1].owner, entries[k].owner);
        if (!writers) {
            c->group_count += !same;
            c->groups[entries[k].owner] = c->group_count - 1;
        }
    }
    eh_free(&entries);
    return EH_OK;
}

static eh_status clusters_init(const eh_data_format *format, const eh_records *records, uint64_t seed, clusters *c)
{
    const eh_field_roles *roles = &format->roles;
    c->count = records->count;
    EH_TRY(EH_ALLOC(c->count, &c->sets));
    EH_TRY(EH_ALLOC(c->count, &c->parents));
    EH_TRY(EH_ALLOC(c->count, &c->keys));
    EH_TRY(EH_ALLOC(c->count, &c->groups));
    for (int64_t i = 0; i < c->count; i++) {
        const eh_record *record = &records->records[i];
        const eh_text a =
            eh_record_field(records, record, format->kind == EH_RECORD_PAIR ? roles->more : roles->prompt);
        const eh_text b =
            eh_record_field(records, record, format->kind == EH_RECORD_PAIR ? roles->less : roles->completion);
        int64_t capacity = 0;
        EH_TRY(add_words(a, &c->sets[i], &capacity));
        EH_TRY(add_words(b, &c->sets[i], &capacity));
        remove_doubles(&c->sets[i]);
        c->parents[i] = i;
        c->keys[i] = finish_hash(hash_bytes(HASH_BEGIN ^ seed, a.bytes, a.size)) +
                     finish_hash(hash_bytes(HASH_BEGIN ^ seed, b.bytes, b.size));
    }
    EH_TRY(each_name(c, records, roles->group, false));
    if (roles->writer >= 0)
        EH_TRY(each_name(c, records, roles->writer, true));
    return unite_near_duplicates(c);
}

static void clusters_deinit(clusters *c)
{
    for (int64_t i = 0; c->sets != NULL && i < c->count; i++) eh_free(&c->sets[i].words);
    eh_free(&c->sets);
    eh_free(&c->parents);
    eh_free(&c->keys);
    eh_free(&c->groups);
}

// --- Choosing clusters
// ----------------------------------------------------------------------------------------------------
typedef struct {
    uint64_t key; // the least of its members'
    int64_t root;
} cluster_order;

static int compare_order(const void *a, const void *b)
{
    const cluster_order *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->root < y->root ? -1 : x->root > y->root;
}

// Holds a cluster out if the distance falls by `least` for each of its members; missing[g] is the number of rows of
// group g still to be held out.
static void try_cluster(const clusters *c, int64_t first_member, const int64_t *next, double least, double *missing,
                        uint8_t *splits)
{
    double change = 0;
    int64_t size = 0;
    if (splits[first_member - 1] == EH_SPLIT_HOLDOUT)
        return;
    for (int64_t i = first_member; i > 0; i = next[i - 1], size++) {
        double *mine = &missing[c->groups[i - 1]];
        change += fabs(*mine - 1) - fabs(*mine);
        *mine -= 1;
    }
    for (int64_t i = first_member; i > 0; i = next[i - 1]) {
        if (change <= -least * (double)size)
            splits[i - 1] = EH_SPLIT_HOLDOUT;
        else
            missing[c->groups[i - 1]] += 1;
    }
}

// Goes through the clusters in the order of their hashes and takes those that bring the numbers held out of the groups
// nearer to the wanted share (sum of absolute distances): first the clusters that fit almost whole, so that a big one
// which overshoots does not come first, then what still helps.
static eh_status choose(const clusters *c, double share, uint8_t *splits, int64_t *cluster_count)
{
    cluster_order *order = NULL;
    double *missing = NULL;
    int64_t *members = NULL, *next = NULL; // members of a root, linked
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(c->count, &order));
    EH_TRY_OR(done, EH_ALLOC(c->group_count, &missing));
    EH_TRY_OR(done, EH_ALLOC(c->count, &members));
    EH_TRY_OR(done, EH_ALLOC(c->count, &next));
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t root = find_root(c, i);
        next[i] = members[root];
        members[root] = i + 1;
        missing[c->groups[i]] += share;
    }
    *cluster_count = 0;
    for (int64_t root = 0; root < c->count; root++) {
        if (members[root] == 0)
            continue;
        uint64_t least = UINT64_MAX;
        for (int64_t i = members[root]; i > 0; i = next[i - 1]) least = c->keys[i - 1] < least ? c->keys[i - 1] : least;
        order[(*cluster_count)++] = (cluster_order){finish_hash(least), root};
    }
    qsort(order, (size_t)*cluster_count, sizeof *order, compare_order);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t k = 0; k < *cluster_count; k++)
            try_cluster(c, members[order[k].root], next, pass == 0 ? 0.8 : 0.2, missing, splits);
    }
done:
    eh_free(&order);
    eh_free(&missing);
    eh_free(&members);
    eh_free(&next);
    return status;
}

// Dataset.shuffle(seed), then train_test_split(test_size): the same permutation twice, of whose result the first rows
// are held out (PROTOCOL 2.1).
static eh_status choose_rows(int64_t count, double share, uint64_t seed, uint8_t *splits)
{
    int64_t *order = NULL;
    EH_TRY(EH_ALLOC(count, &order));
    eh_numpy_permutation(seed, count, order);
    const int64_t held = (int64_t)ceil(share * (double)count);
    for (int64_t i = 0; i < held; i++) splits[order[order[i]]] = EH_SPLIT_HOLDOUT;
    eh_free(&order);
    return EH_OK;
}

eh_status eh_split_records(const eh_data_format *format, const eh_records *records, double share, uint64_t seed,
                           eh_split_unit unit, uint8_t **splits, int64_t *cluster_count)
{
    clusters c = {0};
    eh_status status = EH_OK;
    *cluster_count = records->count;
    EH_TRY(EH_ALLOC(records->count, splits)); // EH_SPLIT_TRAIN is 0
    if (share <= 0)
        return EH_OK;
    if (unit == EH_SPLIT_BY_ROW)
        return choose_rows(records->count, share, seed, *splits);
    EH_TRY_OR(done, clusters_init(format, records, seed, &c));
    EH_TRY_OR(done, choose(&c, share, *splits, cluster_count));
done:
    clusters_deinit(&c);
    return status;
}

eh_split eh_split_text(eh_text text, double share, uint64_t seed)
{
    const uint64_t hash = finish_hash(hash_bytes(HASH_BEGIN ^ seed, text.bytes, text.size) ^ seed);
    return (double)(hash >> 11) * 0x1p-53 < share ? EH_SPLIT_HOLDOUT : EH_SPLIT_TRAIN;
}
