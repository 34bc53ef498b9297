#include "text/vocabulary.h"

#include <string.h>

#include "core/memory.h"
#include "text/hash.h"

static int64_t find_slot(const eh_vocabulary *vocabulary, const char *token, size_t size)
{
    const uint64_t mask = (uint64_t)vocabulary->slot_count - 1;
    uint64_t slot = eh_hash_bytes(token, size) & mask;
    while (vocabulary->slots[slot] >= 0) {
        const uint32_t *span = vocabulary->spans[vocabulary->slots[slot]];
        if (span[1] == size && memcmp(vocabulary->bytes + span[0], token, size) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return (int64_t)slot;
}

static eh_status grow_slots(eh_vocabulary *vocabulary)
{
    eh_vocabulary grown = *vocabulary;
    grown.slots = NULL;
    grown.slot_count = vocabulary->slot_count > 0 ? vocabulary->slot_count * 2 : 1024;
    EH_TRY(EH_ALLOC(grown.slot_count, &grown.slots));
    for (int64_t i = 0; i < grown.slot_count; i++) grown.slots[i] = -1;
    for (int64_t i = 0; i < vocabulary->slot_count; i++) {
        const int32_t id = vocabulary->slots[i];
        if (id >= 0)
            grown.slots[find_slot(&grown, grown.bytes + grown.spans[id][0], grown.spans[id][1])] = id;
    }
    eh_free(&vocabulary->slots);
    *vocabulary = grown;
    return EH_OK;
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
    if (2 * (vocabulary->count + 1) > vocabulary->slot_count)
        EH_TRY(grow_slots(vocabulary));
    const int64_t first = vocabulary->byte_count;
    if (first + (int64_t)size + 1 >= UINT32_MAX)
        return eh_error(EH_INPUT, "the tokens have more than 4 GiB together");
    EH_TRY(eh_reserve(first + (int64_t)size + 1, &vocabulary->byte_capacity, 1, (void **)&vocabulary->bytes));
    memcpy(vocabulary->bytes + first, token, size);
    vocabulary->bytes[first + (int64_t)size] = '\0';
    vocabulary->byte_count = first + (int64_t)size + 1;
    vocabulary->spans[id][0] = (uint32_t)first;
    vocabulary->spans[id][1] = (uint32_t)size;
    vocabulary->slots[find_slot(vocabulary, token, size)] = (int32_t)id;
    vocabulary->count++;
    return EH_OK;
}

int32_t eh_vocabulary_find(const eh_vocabulary *vocabulary, const char *token, size_t size)
{
    return vocabulary->slot_count > 0 ? vocabulary->slots[find_slot(vocabulary, token, size)] : -1;
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
