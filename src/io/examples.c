// Examples in memory: flat arrays that grow, and the same as one block of bytes for another rank.
#include <string.h>

#include "core/memory.h"
#include "io/shard.h"
#include "io/shard_internal.h"

enum { INPUTS, TARGETS, CANDIDATES, EXAMPLES, CANDIDATE_LISTS, TEXT }; // eh_examples.capacity

void eh_examples_deinit(eh_examples *examples)
{
    eh_free(&examples->inputs.values);
    eh_free(&examples->inputs.offsets);
    eh_free(&examples->targets.values);
    eh_free(&examples->targets.offsets);
    eh_free(&examples->candidates.values);
    eh_free(&examples->candidates.offsets);
    eh_free(&examples->candidate_first);
    eh_free(&examples->labels);
    eh_free(&examples->groups);
    eh_free(&examples->source_rows);
    eh_free(&examples->text);
    eh_free(&examples->text_offsets);
    eh_free(&examples->splits);
    char **const lists[] = {examples->group_names, examples->field_names};
    for (size_t i = 0; i < 2; i++) {
        char **names = lists[i];
        for (char **name = names; names != NULL && *name != NULL; name++) eh_free(name);
        eh_free(&names);
    }
    *examples = (eh_examples){0};
}

void eh_examples_clear(eh_examples *examples)
{
    examples->count = 0; // offsets[0] is 0 and stays
}

#define RESERVE(count, capacity, address) eh_reserve((count), (capacity), sizeof **(address), (void **)(address))

// All arrays that have an entry per example grow alike; they have one capacity.
static eh_status reserve_examples(eh_examples *examples, int64_t count)
{
    const int64_t had = examples->capacity[EXAMPLES];
    if (count + 1 <= had)
        return EH_OK;
    int64_t room = had;
#define GROW(array)                                          \
    do {                                                     \
        room = had;                                          \
        EH_TRY(RESERVE(count + 1, &room, &examples->array)); \
        if (had == 0)                                        \
            examples->array[0] = 0;                          \
    } while (0)
    GROW(inputs.offsets);
    GROW(targets.offsets);
    GROW(candidate_first);
    GROW(text_offsets);
    GROW(groups);
    GROW(source_rows);
    GROW(splits);
#undef GROW
    examples->capacity[EXAMPLES] = room;
    return EH_OK;
}

static eh_status reserve_candidates(eh_examples *examples, int64_t count)
{
    const int64_t had = examples->capacity[CANDIDATE_LISTS];
    if (count + 1 <= had)
        return EH_OK;
    int64_t room = had;
    EH_TRY(RESERVE(count + 1, &room, &examples->candidates.offsets));
    room = had;
    EH_TRY(RESERVE(count + 1, &room, &examples->labels));
    if (had == 0)
        examples->candidates.offsets[0] = 0;
    examples->capacity[CANDIDATE_LISTS] = room;
    return EH_OK;
}

eh_status eh_examples_prepare(eh_examples *examples)
{
    EH_TRY(reserve_examples(examples, examples->count));
    return reserve_candidates(examples, (int64_t)examples->candidate_first[examples->count]);
}

static eh_status append_ids(const int32_t *ids, int64_t count, int64_t *capacity, int64_t list, eh_ragged_ids *lists)
{
    const int64_t had = (int64_t)lists->offsets[list];
    EH_TRY(RESERVE(had + count, capacity, &lists->values));
    for (int64_t i = 0; i < count; i++) lists->values[had + i] = (uint32_t)ids[i];
    lists->offsets[list + 1] = (uint64_t)(had + count);
    return EH_OK;
}

eh_status eh_examples_add(eh_examples *examples, const eh_example *example)
{
    const int64_t n = examples->count;
    EH_TRY(reserve_examples(examples, n + 1));
    EH_TRY(append_ids(example->input, example->input_count, &examples->capacity[INPUTS], n, &examples->inputs));
    EH_TRY(append_ids(example->target, example->target_count, &examples->capacity[TARGETS], n, &examples->targets));
    int64_t candidate = (int64_t)examples->candidate_first[n];
    EH_TRY(reserve_candidates(examples, candidate + example->candidate_count));
    const int32_t *ids = example->candidate_ids;
    for (int64_t c = 0; c < example->candidate_count; c++, candidate++) {
        EH_TRY(append_ids(ids, example->candidate_lengths[c], &examples->capacity[CANDIDATES], candidate,
                          &examples->candidates));
        examples->labels[candidate] = example->labels[c];
        ids += example->candidate_lengths[c];
    }
    const uint64_t text = examples->text_offsets[n];
    EH_TRY(RESERVE((int64_t)(text + example->text_size), &examples->capacity[TEXT], &examples->text));
    if (example->text_size > 0)
        memcpy(examples->text + text, example->text, example->text_size);
    examples->candidate_first[n + 1] = (uint64_t)candidate;
    examples->text_offsets[n + 1] = text + example->text_size;
    examples->groups[n] = example->group;
    examples->source_rows[n] = example->source_row;
    examples->splits[n] = (uint8_t)example->split;
    examples->count = n + 1;
    return EH_OK;
}

bool eh_examples_field(const eh_examples *examples, int64_t i, const char *name, const char **field, size_t *size)
{
    if (examples->field_names == NULL || i < 0 || i >= examples->count)
        return false;
    const char *at = examples->text + examples->text_offsets[i];
    const char *end = examples->text + examples->text_offsets[i + 1];
    for (char **names = examples->field_names; *names != NULL; names++) {
        const char *stop = at < end ? memchr(at, '\x1f', (size_t)(end - at)) : NULL;
        if (stop == NULL)
            stop = end;
        if (strcmp(*names, name) == 0) {
            *field = at;
            *size = (size_t)(stop - at);
            return true;
        }
        if (stop == end)
            return false;
        at = stop + 1;
    }
    return false;
}

// --- As bytes ---------------------------------------------------------------------------------------------------
typedef struct {
    int64_t count, inputs, targets, candidates, candidate_lists, text;
} pack_head;

static pack_head head_of(const eh_examples *examples, int64_t first, int64_t count)
{
    const int64_t last = first + count;
    const uint64_t c0 = examples->candidate_first[first], c1 = examples->candidate_first[last];
    return (pack_head){
        .count = count,
        .inputs = (int64_t)(examples->inputs.offsets[last] - examples->inputs.offsets[first]),
        .targets = (int64_t)(examples->targets.offsets[last] - examples->targets.offsets[first]),
        .candidate_lists = (int64_t)(c1 - c0),
        .candidates = (int64_t)(examples->candidates.offsets[c1] - examples->candidates.offsets[c0]),
        .text = (int64_t)(examples->text_offsets[last] - examples->text_offsets[first]),
    };
}

eh_status eh_examples_pack(const eh_examples *examples, int64_t first, int64_t count, eh_string *bytes)
{
    if (count == 0)
        return EH_OK;
    const pack_head head = head_of(examples, first, count);
    const uint64_t c0 = examples->candidate_first[first];
    EH_TRY(eh_string_append(bytes, (const char *)&head, sizeof head));
#define PACK(array, begin, n) \
    EH_TRY(eh_string_append(bytes, (const char *)(examples->array + (begin)), (size_t)(n) * sizeof *examples->array))
    PACK(inputs.offsets, first, count + 1);
    PACK(targets.offsets, first, count + 1);
    PACK(candidate_first, first, count + 1);
    PACK(text_offsets, first, count + 1);
    PACK(source_rows, first, count);
    PACK(groups, first, count);
    PACK(splits, first, count);
    PACK(candidates.offsets, c0, head.candidate_lists + 1);
    PACK(labels, c0, head.candidate_lists);
    PACK(inputs.values, examples->inputs.offsets[first], head.inputs);
    PACK(targets.values, examples->targets.offsets[first], head.targets);
    PACK(candidates.values, examples->candidates.offsets[c0], head.candidates);
    PACK(text, examples->text_offsets[first], head.text);
#undef PACK
    return EH_OK;
}

static const char *take(const char *from, void *to, size_t bytes)
{
    if (bytes > 0)
        memcpy(to, from, bytes);
    return from + bytes;
}

// Offsets [count + 1] that begin anywhere become a continuation of offsets that end at offsets[at].
static const char *take_offsets(const char *from, uint64_t *offsets, int64_t at, int64_t count)
{
    const uint64_t base = offsets[at];
    from = take(from, offsets + at, (size_t)(count + 1) * sizeof *offsets);
    const uint64_t begin = offsets[at];
    for (int64_t i = 0; i <= count; i++) offsets[at + i] = offsets[at + i] - begin + base;
    return from;
}

eh_status eh_examples_unpack(const char *bytes, size_t size, size_t *used, eh_examples *examples)
{
    pack_head head;
    EH_ASSERT(size >= sizeof head);
    const char *at = take(bytes, &head, sizeof head);
    const int64_t n = examples->count;
    EH_TRY(reserve_examples(examples, n + head.count));
    const int64_t lists = (int64_t)examples->candidate_first[n];
    EH_TRY(reserve_candidates(examples, lists + head.candidate_lists));
    const int64_t inputs = (int64_t)examples->inputs.offsets[n], targets = (int64_t)examples->targets.offsets[n];
    const int64_t candidates = (int64_t)examples->candidates.offsets[lists], text = (int64_t)examples->text_offsets[n];
    EH_TRY(RESERVE(inputs + head.inputs, &examples->capacity[INPUTS], &examples->inputs.values));
    EH_TRY(RESERVE(targets + head.targets, &examples->capacity[TARGETS], &examples->targets.values));
    EH_TRY(RESERVE(candidates + head.candidates, &examples->capacity[CANDIDATES], &examples->candidates.values));
    EH_TRY(RESERVE(text + head.text, &examples->capacity[TEXT], &examples->text));
    at = take_offsets(at, examples->inputs.offsets, n, head.count);
    at = take_offsets(at, examples->targets.offsets, n, head.count);
    at = take_offsets(at, examples->candidate_first, n, head.count);
    at = take_offsets(at, examples->text_offsets, n, head.count);
    at = take(at, examples->source_rows + n, (size_t)head.count * sizeof *examples->source_rows);
    at = take(at, examples->groups + n, (size_t)head.count * sizeof *examples->groups);
    at = take(at, examples->splits + n, (size_t)head.count);
    at = take_offsets(at, examples->candidates.offsets, lists, head.candidate_lists);
    at = take(at, examples->labels + lists, (size_t)head.candidate_lists);
    at = take(at, examples->inputs.values + inputs, (size_t)head.inputs * sizeof(uint32_t));
    at = take(at, examples->targets.values + targets, (size_t)head.targets * sizeof(uint32_t));
    at = take(at, examples->candidates.values + candidates, (size_t)head.candidates * sizeof(uint32_t));
    at = take(at, examples->text + text, (size_t)head.text);
    examples->count = n + head.count;
    *used = (size_t)(at - bytes);
    EH_ASSERT(*used <= size);
    return EH_OK;
}

eh_status eh_examples_add_range(eh_examples *examples, const eh_examples *from, int64_t first, int64_t count)
{
    if (count == 0)
        return EH_OK;
    eh_string bytes = {0};
    size_t used = 0;
    eh_status status = eh_examples_pack(from, first, count, &bytes);
    if (status == EH_OK)
        status = eh_examples_unpack(bytes.bytes, bytes.size, &used, examples);
    eh_string_deinit(&bytes);
    return status;
}
