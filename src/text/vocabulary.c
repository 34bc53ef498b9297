#include "text/vocabulary.h"

#include <string.h>

#include "core/memory.h"
#include "text/hash.h"

// The tag keeps most strangers' texts from being looked at.
typedef struct eh_vocabulary_slot {
    uint32_t tag;
    int32_t id; // + 1; 0: empty
} vocabulary_slot;

static int64_t find_slot(const eh_vocabulary *vocabulary, const char *token, size_t size, uint64_t hash)
{
    const uint64_t mask = (uint64_t)vocabulary->slot_count - 1;
    uint64_t slot = hash & mask;
    for (; vocabulary->slots[slot].id > 0; slot = (slot + 1) & mask) {
        if (vocabulary->slots[slot].tag != (uint32_t)(hash >> 32))
            continue;
        const uint32_t *span = vocabulary->spans[vocabulary->slots[slot].id - 1];
        if (span[1] == size && memcmp(vocabulary->bytes + span[0], token, size) == 0)
            break;
    }
    return (int64_t)slot;
}

static eh_status grow_slots(eh_vocabulary *vocabulary, int64_t count)
{
    vocabulary_slot *old = vocabulary->slots;
    const int64_t old_count = vocabulary->slot_count;
    vocabulary_slot *grown = NULL;
    EH_TRY(EH_ALLOC(count, &grown));
    vocabulary->slots = grown;
    vocabulary->slot_count = count;
    for (int64_t i = 0; i < old_count; i++) {
        if (old[i].id == 0)
            continue;
        const uint32_t *span = vocabulary->spans[old[i].id - 1];
        const uint64_t hash = eh_hash_bytes(vocabulary->bytes + span[0], span[1]);
        uint64_t slot = hash & ((uint64_t)count - 1);
        while (grown[slot].id > 0) slot = (slot + 1) & ((uint64_t)count - 1);
        grown[slot] = old[i];
    }
    eh_free(&old);
    return EH_OK;
}

eh_status eh_vocabulary_expect(eh_vocabulary *vocabulary, int64_t count)
{
    int64_t slots = vocabulary->slot_count > 0 ? vocabulary->slot_count : 1024;
    while (slots < 2 * count) slots *= 2;
    return slots > vocabulary->slot_count ? grow_slots(vocabulary, slots) : EH_OK;
}

static eh_status reserve_id(eh_vocabulary *vocabulary, int64_t id)
{
    EH_TRY(eh_reserve(id + 1, &vocabulary->span_capacity, sizeof *vocabulary->spans, (void **)&vocabulary->spans));
    for (; vocabulary->size <= id; vocabulary->size++) {
        vocabulary->spans[vocabulary->size][0] = EH_NO_TOKEN;
        vocabulary->spans[vocabulary->size][1] = 0;
    }
    return EH_OK;
}

eh_status eh_vocabulary_add(eh_vocabulary *vocabulary, const char *token, size_t size, int64_t id)
{
    const int shown = size < 80 ? (int)size : 80;
    const int64_t limit = 16 * vocabulary->count + (1 << 20); // a table as large as the id is made: refuse mad ones
    if (id < 0 || id >= limit || id >= 1 << 27)
        return eh_error(EH_INPUT, "token '%.*s' has id %lld: that is no index into a vocabulary", shown, token,
                        (long long)id);
    size_t taken_size = 0;
    const char *taken = eh_vocabulary_token(vocabulary, id, &taken_size);
    if (taken != NULL)
        return eh_error(EH_INPUT, "id %lld is given twice, to '%.80s' and to '%.*s'", (long long)id, taken, shown,
                        token);
    EH_TRY(reserve_id(vocabulary, id));
    EH_TRY(eh_vocabulary_expect(vocabulary, vocabulary->count + 1));
    const int64_t first = vocabulary->byte_count;
    if (first + (int64_t)size + 1 >= UINT32_MAX)
        return eh_error(EH_INPUT, "the tokens have more than 4 GiB together");
    EH_TRY(eh_reserve(first + (int64_t)size + 1, &vocabulary->byte_capacity, 1, (void **)&vocabulary->bytes));
    memcpy(vocabulary->bytes + first, token, size);
    vocabulary->bytes[first + (int64_t)size] = '\0';
    vocabulary->byte_count = first + (int64_t)size + 1;
    vocabulary->spans[id][0] = (uint32_t)first;
    vocabulary->spans[id][1] = (uint32_t)size;
    const uint64_t hash = eh_hash_bytes(token, size);
    vocabulary_slot *slot = &vocabulary->slots[find_slot(vocabulary, token, size, hash)];
    vocabulary->repeated += slot->id > 0;
    *slot = (vocabulary_slot){(uint32_t)(hash >> 32), (int32_t)id + 1};
    vocabulary->count++;
    return EH_OK;
}

int32_t eh_vocabulary_find(const eh_vocabulary *vocabulary, const char *token, size_t size)
{
    if (vocabulary->slot_count == 0)
        return -1;
    return vocabulary->slots[find_slot(vocabulary, token, size, eh_hash_bytes(token, size))].id - 1;
}

const char *eh_vocabulary_token(const eh_vocabulary *vocabulary, int64_t id, size_t *size)
{
    if (id < 0 || id >= vocabulary->size || vocabulary->spans[id][0] == EH_NO_TOKEN)
        return NULL;
    *size = vocabulary->spans[id][1];
    return vocabulary->bytes + vocabulary->spans[id][0];
}

void eh_vocabulary_deinit(eh_vocabulary *vocabulary)
{
    eh_free(&vocabulary->bytes);
    eh_free(&vocabulary->spans);
    eh_free(&vocabulary->slots);
    *vocabulary = (eh_vocabulary){0};
}
