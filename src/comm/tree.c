#include "comm/tree.h"

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

static bool is_empty(const eh_tree_stack *stack, int level, int64_t index)
{
    return level >= 62 || index > (stack->leaf_count - 1) >> level;
}

int eh_tree_push(eh_tree_stack *stack, eh_tree_piece next, eh_tree_merge *merges)
{
    int merge_count = 0;
    for (;;) {
        const bool is_root = next.index == 0 && is_empty(stack, next.level, 1);
        const eh_tree_piece *top = stack->count > 0 ? &stack->pieces[stack->count - 1] : NULL;
        if (next.index % 2 == 1 && top && top->level == next.level && top->index == next.index - 1) {
            merges[merge_count++] = (eh_tree_merge){.into = top->slot, .from = next.slot};
            next.slot = top->slot;
            stack->count--;
        } else if (next.index % 2 == 1 || is_root || !is_empty(stack, next.level, next.index + 1)) {
            break;
        }
        next.level++;
        next.index /= 2;
    }
    EH_ASSERT(stack->count < 2 * EH_TREE_DEPTH);
    stack->pieces[stack->count++] = next;
    return merge_count;
}

void eh_tree_leaves(int64_t leaf_count, int place, int places, int64_t *first, int64_t *count)
{
    *first = (place * leaf_count + places - 1) / places;
    *count = ((place + 1) * leaf_count + places - 1) / places - *first;
}
