// Which examples a step takes and how they are cut into micro-batches: a function of the seed, the step and the job,
// never of ranks. Each pass over the data has its own Philox permutation; sets with a `replay` share are drawn from
// beside it, in passes of their own length.
#ifndef EH_TRAIN_BATCHES_H
#define EH_TRAIN_BATCHES_H

#include <stdint.h>

#include "train/prefixes.h"

// Examples that are passed over together, and the permutation of the pass at hand.
typedef struct {
    int64_t *members, *order; // [count]
    int64_t count, per_batch; // per_batch 0: fills what the others leave
    int64_t pass;             // that `order` belongs to, -1: none yet
} eh_stream_of_examples;

typedef struct {
    const eh_training_set *set; // borrowed
    uint64_t seed;
    int64_t batch, micro_count, steps_per_epoch, step_count;
    eh_stream_of_examples *streams; // the first is what an epoch counts
    int64_t stream_count;
    // The step at hand, written by eh_batches_plan:
    int64_t step, pass, example_count;
    int64_t *examples;      // [batch] micro-batch after micro-batch
    int64_t *micro_first;   // [micro_count + 1]
    int64_t label_count;    // of the whole batch: the loss is a mean over them
    int64_t *drawn, *load;  // scratch
    eh_batch_limits limits; // no micro-batch of the whole training, nor a held-out one, is larger
    int64_t *holdout;       // held-out examples in chunks of one micro-batch's size: chunk c is
    int64_t *chunk_first;   // holdout[chunk_first[c] .. chunk_first[c + 1])
    int64_t holdout_count, chunk_count, holdout_label_count;
    int64_t general_chunk, general_label_count; // chunks from this one on are of replayed sets: general text
} eh_batches;

// EH_INPUT if there is nothing to learn from. Plans every step once to know the limits.
EH_CHECKED eh_status eh_batches_init(const eh_training_set *set, const eh_job_train *train, uint64_t seed,
                                     eh_batches *batches);
void eh_batches_deinit(eh_batches *batches);
// The examples of a step, 0 <= step < step_count; allocates nothing.
void eh_batches_plan(eh_batches *batches, int64_t step);

// Host arrays of a packed batch, with room for the limits.
typedef struct {
    eh_batch batch; // views of what follows
    int32_t *ids, *decoder_ids, *prefix, *label_rows, *label_ids;
    int64_t *offsets, *decoder_offsets;
    float *label_weights;
    bool shares; // set before filling: what examples begin with alike is packed once; not for passes with dropout
    eh_prefixes prefixes;
} eh_packed_batch;
EH_CHECKED eh_status eh_packed_batch_init(const eh_batch_limits *limits, eh_packed_batch *packed);
void eh_packed_batch_deinit(eh_packed_batch *packed);
// Packs examples end to end, behind the beginnings that they share, every label with the weight, example after example.
// `pass` varies the masks of masked language modelling (EH_HOLDOUT_PASS: always the same). Allocates nothing.
#define EH_HOLDOUT_PASS (-1)
void eh_packed_batch_fill(eh_packed_batch *packed, const eh_training_set *set, uint64_t seed, int64_t pass,
                          const int64_t *examples, int64_t count, float label_weight);
// Labels of an example in a pass.
int64_t eh_example_label_count(const eh_training_set *set, uint64_t seed, int64_t pass, int64_t example);

#endif
