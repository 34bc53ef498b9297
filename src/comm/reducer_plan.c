// Who holds which partial sums: the pieces of the tree that ranks and nodes end with, and the additions that are left.
#include "comm/reducer_internal.h"
#include "core/memory.h"

// What an owner of leaves ends with, and how many slots it needs on the way.
static eh_tree_stack plan_owner(int64_t leaf_count, int place, int places, int *slots)
{
    eh_tree_stack stack = {.leaf_count = leaf_count};
    eh_tree_merge merges[2 * EH_TREE_DEPTH];
    int64_t first, count;
    eh_tree_leaves(leaf_count, place, places, &first, &count);
    *slots = 0;
    for (int64_t leaf = first; leaf < first + count; leaf++) {
        eh_tree_push(&stack, (eh_tree_piece){.slot = stack.count, .index = leaf}, merges);
        if (stack.count > *slots)
            *slots = stack.count;
    }
    return stack;
}

int eh_tree_reducer_buffers(int64_t leaf_count, int rank, int size)
{
    int slots;
    plan_owner(leaf_count, rank, size, &slots);
    return slots > 0 ? slots : rank == 0; // a place for the result, in any case
}

// A node's pieces after its ranks' have been added up. Slots are numbered rank after rank on the node; slot_first
// (may be NULL) receives where each local rank's begin, and the total.
static void plan_node(const eh_tree_reducer *reducer, int node, eh_tree_stack *stack, eh_tree_merge *merges,
                      int *merge_count, int *slot_first)
{
    const eh_comm *comm = reducer->comm;
    *stack = (eh_tree_stack){.leaf_count = reducer->leaf_count};
    *merge_count = 0;
    int slot_count = 0;
    for (int place = comm->node_first[node]; place < comm->node_first[node + 1]; place++) {
        int slots;
        const eh_tree_stack owner = plan_owner(reducer->leaf_count, place, comm->size, &slots);
        for (int p = 0; p < owner.count; p++) {
            eh_tree_piece piece = owner.pieces[p];
            piece.slot += slot_count;
            *merge_count += eh_tree_push(stack, piece, merges + *merge_count);
        }
        if (slot_first)
            slot_first[place - comm->node_first[node]] = slot_count;
        slot_count += slots > 0 ? slots : place == comm->node_first[node]; // a place for the result, in any case
    }
    if (slot_first)
        slot_first[comm->node_first[node + 1] - comm->node_first[node]] = slot_count;
}

static eh_status plan_between_nodes(eh_tree_reducer *reducer)
{
    eh_comm *comm = reducer->comm;
    const int64_t most_pieces = 2L * EH_TREE_DEPTH * comm->node_count, most_merges = most_pieces;
    eh_tree_merge *scratch = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(2L * EH_TREE_DEPTH * comm->size, &scratch));
    EH_TRY_OR(done, EH_ALLOC(most_pieces, &reducer->pieces));
    EH_TRY_OR(done, EH_ALLOC(most_merges, &reducer->global_merges));
    eh_tree_stack everything = {.leaf_count = reducer->leaf_count};
    reducer->lanes = comm->local_size;
    for (int node = 0; node < comm->node_count; node++) {
        eh_tree_stack stack;
        int merge_count;
        plan_node(reducer, node, &stack, scratch, &merge_count, NULL);
        for (int p = 0; p < stack.count; p++) {
            reducer->pieces[reducer->piece_count] = (eh_located_piece){node, stack.pieces[p].slot};
            stack.pieces[p].slot = reducer->piece_count++;
            reducer->global_merge_count +=
                eh_tree_push(&everything, stack.pieces[p], reducer->global_merges + reducer->global_merge_count);
        }
        const int ranks = comm->node_first[node + 1] - comm->node_first[node];
        reducer->lanes = ranks < reducer->lanes ? ranks : reducer->lanes;
    }
    EH_ASSERT(everything.count == 1 && everything.pieces[0].slot == 0);
done:
    eh_free(&scratch);
    return status;
}

eh_status eh_reducer_plan(eh_tree_reducer *reducer, int **slot_first)
{
    eh_comm *comm = reducer->comm;
    const int place = comm->node_first[comm->node_index] + comm->local_rank;
    eh_tree_leaves(reducer->leaf_count, place, comm->size, &reducer->first_leaf, &reducer->own_leaves);
    reducer->own.leaf_count = reducer->leaf_count;
    EH_TRY(EH_ALLOC(comm->local_size + 1, slot_first));
    EH_TRY(EH_ALLOC(2L * EH_TREE_DEPTH * comm->local_size, &reducer->node_merges));
    eh_tree_stack stack;
    plan_node(reducer, comm->node_index, &stack, reducer->node_merges, &reducer->node_merge_count, *slot_first);
    reducer->slot_count = (*slot_first)[comm->local_size];
    reducer->own_slot = (*slot_first)[comm->local_rank];
    EH_TRY(EH_ALLOC(reducer->slot_count, &reducer->slots));
    return comm->node_count > 1 ? plan_between_nodes(reducer) : EH_OK;
}
