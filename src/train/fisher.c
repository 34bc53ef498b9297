// The diagonal of the empirical Fisher matrix on the replayed text, for EWC: F_i = mean over examples of
// (d log P(example) / d w_i)^2. Examples are dealt to the leaves of the gradients' tree, so that any number of ranks
// gets the same bits.
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"
#include "train/trainer.h"

#define FISHER_KEY (UINT64_C(0xf154e5) << 40) // of the shuffle: no stream of examples has it

// The first `wanted` examples of the replayed sets in a seeded order.
static eh_status choose_examples(const eh_trainer *trainer, int64_t wanted, int64_t **chosen, int64_t *count)
{
    const eh_training_set *set = trainer->set;
    int64_t *members = NULL, *order = NULL, member_count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(set->count, &members));
    for (int64_t i = 0; i < set->count; i++)
        if (set->splits[i] == EH_SPLIT_TRAIN && set->replay[set->source[i]] > 0)
            members[member_count++] = i;
    if (member_count == 0)
        EH_TRY_OR(done, eh_error(EH_INPUT, "train.fisher needs general text: a data set with replay above 0"));
    *count = wanted < member_count ? wanted : member_count;
    EH_TRY_OR(done, EH_ALLOC(member_count, &order));
    eh_random_permutation(trainer->batches.seed, EH_STREAM_SHUFFLE, FISHER_KEY, member_count, order);
    EH_TRY_OR(done, EH_ALLOC(*count, chosen));
    for (int64_t i = 0; i < *count; i++) (*chosen)[i] = members[order[i]];
done:
    eh_free(&members);
    eh_free(&order);
    return status;
}

// Adds the squares of one example's gradient to sums.
static eh_status add_squares(eh_trainer *trainer, int64_t example, float *gradient, float *sums)
{
    const eh_tensor block = eh_model_gradients(trainer->model);
    EH_TRY(eh_fill(trainer->backend, 0, &block));
    eh_packed_batch_fill(&trainer->packed, trainer->set, trainer->batches.seed, 0, &example, 1, 1);
    if (trainer->packed.batch.label_count == 0)
        return EH_OK;
    EH_TRY(eh_model_backward(trainer->model, &trainer->packed.batch, 0, 0, trainer->log_probabilities));
    EH_TRY(eh_backend_download(trainer->backend, &block, gradient));
    for (int64_t p = 0; p < eh_model_parameter_count(trainer->model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(trainer->model)[p];
        const int64_t end = parameter->gradient + parameter->count;
        for (int64_t i = parameter->gradient; parameter->trains && i < end; i++) sums[i] += gradient[i] * gradient[i];
    }
    return EH_OK;
}

static eh_status sum_own_leaves(eh_trainer *trainer, eh_tree_reducer *reducer, const int64_t *examples, int64_t count,
                                float *gradient, float *sums)
{
    const int64_t leaves = trainer->batches.micro_count, total = eh_model_gradient_count(trainer->model);
    for (int64_t i = 0; i < trainer->own_micro_count; i++) {
        if (trainer->tree || i == 0)
            memset(sums, 0, (size_t)total * sizeof *sums);
        for (int64_t e = trainer->first_micro + i; e < count; e += leaves)
            EH_TRY(add_squares(trainer, examples[e], gradient, sums));
        if (trainer->tree)
            EH_TRY(eh_tree_reducer_add(reducer, sums));
    }
    return trainer->tree ? EH_OK : eh_tree_reducer_add(reducer, sums);
}

// Collective; a failure is this rank's own.
static eh_status weigh(eh_trainer *trainer, const int64_t *examples, int64_t count)
{
    float *gradient = NULL, *sums = NULL;
    eh_tree_reducer *own = NULL;
    eh_status status = EH_OK;
    const int64_t total = eh_model_gradient_count(trainer->model);
    const int64_t leaves = trainer->tree ? trainer->batches.micro_count : eh_comm_size(trainer->comm);
    if (trainer->reducer == NULL) // gradients have no need of one
        EH_TRY_OR(done, eh_tree_reducer_new(trainer->comm, total, leaves, &own));
    eh_tree_reducer *reducer = own != NULL ? own : trainer->reducer;
    EH_TRY_OR(done, EH_ALLOC(total, &gradient));
    EH_TRY_OR(done, EH_ALLOC(total, &sums));
    EH_TRY_OR(done, sum_own_leaves(trainer, reducer, examples, count, gradient, sums));
    EH_TRY_OR(done, eh_tree_reducer_finish(reducer, sums));
    for (int64_t i = 0; i < total; i++) sums[i] /= (float)count;
    if (trainer->anchor.count > 0)
        status = eh_anchor_weigh(trainer->backend, sums, &trainer->anchor);
done:
    eh_tree_reducer_free(&own);
    eh_free(&gradient);
    eh_free(&sums);
    return status;
}

// The part of unit u whose gradients' sum this rank is to pull: at level 0 the node's ranks hold one sum, of which each
// pulls a slice; or each has one of its own, on its device.
static eh_anchor_stretch part_of_unit(const eh_trainer *trainer, int64_t u)
{
    const eh_partition *partition = &trainer->partition;
    const eh_unit *unit = &partition->units[u];
    const eh_stretch *own = &partition->own[u];
    if (trainer->level > 0) {
        const int64_t block = unit->gradient_first + own->first - unit->first;
        return (eh_anchor_stretch){.weights = trainer->level == 3 ? own->at : own->first,
                                   .sum = trainer->level >= 2 ? own->sum_at : block,
                                   .block = block,
                                   .count = own->count};
    }
    int64_t first = 0, count = partition->gradient_count;
    if (trainer->reducer != NULL && !trainer->is_apart)
        eh_comm_slice_of(eh_comm_local_rank(trainer->comm), eh_comm_local_size(trainer->comm),
                         partition->gradient_count, &first, &count);
    const int64_t unit_end = unit->gradient_first + unit->count;
    const int64_t begin = first > unit->gradient_first ? first : unit->gradient_first;
    const int64_t end = first + count < unit_end ? first + count : unit_end;
    return (eh_anchor_stretch){.weights = unit->first + begin - unit->gradient_first,
                               .sum = begin,
                               .block = begin,
                               .count = end > begin ? end - begin : 0};
}

static eh_status remember_start(eh_trainer *trainer)
{
    eh_anchor_stretch *stretches = NULL;
    int64_t count = 0;
    EH_TRY(EH_ALLOC(trainer->partition.unit_count, &stretches));
    for (int64_t u = 0; u < trainer->partition.unit_count; u++) {
        const eh_anchor_stretch part = part_of_unit(trainer, u);
        if (!trainer->partition.units[u].frozen && part.count > 0)
            stretches[count++] = part;
    }
    return eh_anchor_init(trainer->backend, trainer->model, trainer->job->train.l2, stretches, count, &trainer->anchor);
}

eh_status eh_trainer_stay_put(eh_trainer *trainer)
{
    int64_t *examples = NULL, count = 0;
    eh_status status = remember_start(trainer);
    if (status == EH_OK && trainer->job->train.fisher > 0)
        status = choose_examples(trainer, trainer->job->train.fisher, &examples, &count);
    status = eh_comm_agree(trainer->comm, status);
    if (status == EH_OK && trainer->job->train.fisher > 0) {
        status = weigh(trainer, examples, count);
        if (status != EH_OK && eh_comm_size(trainer->comm) > 1)
            eh_comm_abort(trainer->comm, status); // the others wait in the sum
    }
    eh_free(&examples);
    return status;
}
