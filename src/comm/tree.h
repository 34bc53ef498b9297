// One fixed binary tree over leaves 0 .. leaf_count - 1, and how any division of the leaves among owners adds it up.
// Node (level, index) covers the leaves from index << level to (index + 1) << level, cut off at leaf_count; its value
// is left child + right child, or the left child's alone where the right one is empty. Pure bookkeeping: no values, no
// MPI.
#ifndef EH_COMM_TREE_H
#define EH_COMM_TREE_H

#include <stdint.h>

// The value of a tree node, kept in memory number `slot`.
typedef struct {
    int level, slot;
    int64_t index;
} eh_tree_piece;

// Values to add in place: into += from (slots).
typedef struct {
    int into, from;
} eh_tree_merge;

enum { EH_TREE_DEPTH = 64 }; // levels of any tree

// Neighbouring pieces from left to right, as large as they can be: what one owner holds. At most 2 levels' worth.
typedef struct {
    int64_t leaf_count;
    eh_tree_piece pieces[2 * EH_TREE_DEPTH];
    int count;
} eh_tree_stack;

// Puts `next`, which lies right of what is there, on the stack; merges[0 .. return value) are the additions that this
// makes possible, in order. merges has room for 2 * EH_TREE_DEPTH.
int eh_tree_push(eh_tree_stack *stack, eh_tree_piece next, eh_tree_merge *merges);

// Leaves [first, first + count) of owner `place` of `places`.
void eh_tree_leaves(int64_t leaf_count, int place, int places, int64_t *first, int64_t *count);

#endif
