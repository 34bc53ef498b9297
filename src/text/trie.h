// A set of byte strings in a double array: a step is one look, so every key that begins at a place of a text is found
// in as many steps as the longest has bytes.
#ifndef EH_TEXT_TRIE_H
#define EH_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    uint32_t base;  // the child by byte c is at base ^ c
    uint32_t check; // the parent, so that a stranger's child is told apart
    int32_t value;  // -1: no key ends here
} eh_trie_node;

// All zero is an empty one. Node 0 is the root.
typedef struct {
    eh_trie_node *nodes;
    int64_t count, capacity;
} eh_trie;

typedef struct {
    const char *bytes; // borrowed until the trie is built
    uint32_t size;
    int32_t value; // 0 or more; of equal keys the last one counts
} eh_trie_key;

#define EH_TRIE_ROOT 0u
#define EH_TRIE_NOWHERE UINT32_MAX

#define EH_TRIE_LONGEST 4096 // bytes of a key: building recurses once for each

// Sorts `keys`. Empty keys are left out. EH_INPUT if one is longer than EH_TRIE_LONGEST.
EH_CHECKED eh_status eh_trie_build(eh_trie_key *keys, int64_t count, eh_trie *trie);
void eh_trie_deinit(eh_trie *trie);

// The node after one more byte, or EH_TRIE_NOWHERE. The trie must have been built (even of no keys).
static inline uint32_t eh_trie_step(const eh_trie *trie, uint32_t node, char byte)
{
    const uint32_t next = trie->nodes[node].base ^ (uint8_t)byte;
    return trie->nodes[next].check == node ? next : EH_TRIE_NOWHERE;
}

// The longest key at the start of `text`, or -1; its bytes in *size.
static inline int32_t eh_trie_longest(const eh_trie *trie, const char *text, size_t text_size, size_t *size)
{
    int32_t value = -1;
    uint32_t node = EH_TRIE_ROOT;
    for (size_t i = 0; i < text_size; i++) {
        node = eh_trie_step(trie, node, text[i]);
        if (node == EH_TRIE_NOWHERE)
            break;
        if (trie->nodes[node].value >= 0) {
            value = trie->nodes[node].value;
            *size = i + 1;
        }
    }
    return value;
}

#endif
