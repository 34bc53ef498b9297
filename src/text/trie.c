#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

// Nodes are placed depth first over the sorted keys. A block of 256 nodes shares all bases but for the low byte, so a
// base is looked for in the blocks that still have room.
typedef struct {
    eh_trie *trie;
    const eh_trie_key *keys;
    int64_t first_free; // no free node before this one
} trie_builder;

enum { BLOCK = 256 };
#define FREE UINT32_MAX

static int compare_keys(const void *left, const void *right)
{
    const eh_trie_key *a = left, *b = right;
    const int order = memcmp(a->bytes, b->bytes, a->size < b->size ? a->size : b->size);
    if (order != 0)
        return order;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

static eh_status add_block(eh_trie *trie)
{
    EH_TRY(eh_reserve(trie->count + BLOCK, &trie->capacity, sizeof *trie->nodes, (void **)&trie->nodes));
    for (int64_t i = trie->count; i < trie->count + BLOCK; i++)
        trie->nodes[i] = (eh_trie_node){.base = 0, .check = FREE, .value = -1};
    trie->count += BLOCK;
    return EH_OK;
}

static bool fits(const eh_trie *trie, uint32_t base, const uint8_t *bytes, int count)
{
    for (int i = 0; i < count; i++)
        if (trie->nodes[base ^ bytes[i]].check != FREE)
            return false;
    return true;
}

// A base under which all of a node's children are free.
static eh_status find_base(trie_builder *builder, const uint8_t *bytes, int count, uint32_t *base)
{
    eh_trie *trie = builder->trie;
    while (builder->first_free < trie->count && trie->nodes[builder->first_free].check != FREE) builder->first_free++;
    int64_t tried = 0;
    for (int64_t at = builder->first_free; at < trie->count && tried < 512; at++) {
        if (trie->nodes[at].check != FREE)
            continue;
        tried++;
        *base = (uint32_t)at ^ bytes[0];
        if (fits(trie, *base, bytes, count))
            return EH_OK;
    }
    if (tried == 512) // crowded with single holes: don't come back here
        builder->first_free += (trie->count - builder->first_free) / 2;
    if (trie->count + BLOCK >= INT32_MAX)
        return eh_error(EH_INPUT, "the vocabulary is too large for one table");
    *base = (uint32_t)trie->count;
    return add_block(trie);
}

// Places the children of `node`, whose keys are keys[first, last) and share their first `depth` bytes.
static eh_status place(trie_builder *builder, uint32_t node, int64_t first, int64_t last, uint32_t depth)
{
    const eh_trie_key *keys = builder->keys;
    for (; first < last && keys[first].size == depth; first++) builder->trie->nodes[node].value = keys[first].value;
    if (first == last)
        return EH_OK;
    uint8_t bytes[256];
    int count = 0;
    for (int64_t i = first; i < last; i++) {
        const uint8_t byte = (uint8_t)keys[i].bytes[depth];
        if (count == 0 || bytes[count - 1] != byte)
            bytes[count++] = byte;
    }
    uint32_t base = 0;
    EH_TRY(find_base(builder, bytes, count, &base));
    builder->trie->nodes[node].base = base;
    for (int i = 0; i < count; i++) builder->trie->nodes[base ^ bytes[i]].check = node;
    for (int i = 0; i < count; i++) {
        int64_t end = first;
        while (end < last && (uint8_t)keys[end].bytes[depth] == bytes[i]) end++;
        EH_TRY(place(builder, base ^ bytes[i], first, end, depth + 1));
        first = end;
    }
    return EH_OK;
}

eh_status eh_trie_build(eh_trie_key *keys, int64_t count, eh_trie *trie)
{
    trie_builder builder = {.trie = trie, .keys = keys, .first_free = 1};
    for (int64_t i = 0; i < count; i++)
        if (keys[i].size > EH_TRIE_LONGEST)
            return eh_error(EH_INPUT, "token '%.60s...' has %u bytes, at most %d are supported", keys[i].bytes,
                            keys[i].size, EH_TRIE_LONGEST);
    if (count > 0)
        qsort(keys, (size_t)count, sizeof *keys, compare_keys);
    int64_t first = 0;
    while (first < count && keys[first].size == 0) first++;
    EH_TRY(add_block(trie));
    trie->nodes[EH_TRIE_ROOT].check = EH_TRIE_NOWHERE - 1; // taken, and nobody's child
    const eh_status status = place(&builder, EH_TRIE_ROOT, first, count, 0);
    if (status != EH_OK)
        eh_trie_deinit(trie);
    return status;
}

void eh_trie_deinit(eh_trie *trie)
{
    eh_free(&trie->nodes);
    *trie = (eh_trie){0};
}
