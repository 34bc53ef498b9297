// One training step on all ranks: each computes the gradients of its micro-batches, the sum goes along the fixed tree,
// AdamW follows. And the loss on held-out examples.
#ifndef EH_TRAIN_TRAINER_H
#define EH_TRAIN_TRAINER_H

#include "comm/comm.h"
#include "comm/device_sum.h"
#include "train/anchor.h"
#include "train/batches.h"
#include "train/loss_scale.h"
#include "train/optimizer.h"

typedef struct {
    // Borrowed:
    eh_comm *comm;
    eh_backend *backend;
    eh_model *model;
    const eh_job *job;
    const eh_training_set *set;
    // Own:
    eh_batches batches;
    eh_packed_batch packed;
    eh_optimizer optimizer;
    int level;              // memory.zero
    eh_partition partition; // which rank owns what; at level 0 the pieces of the norm
    eh_gathering gathering;
    eh_tree_reducer *reducer;             // NULL where the model (level 2) or the devices add up, or one is the sum
    bool tree;                            // else each rank adds up its micro-batches in the model's gradient block
    int64_t first_micro, own_micro_count; // micro-batches of this rank
    eh_device_sum *device_sum;            // train.reduction: fast on a GPU: the sum stays there; NULL else
    bool is_apart;                        // device memory is not the host's: what ranks exchange passes through these
    float *staging;                       // a gradient
    float *host_weights;                  // a unit's
    eh_buffer *sum_view;                  // the reducer's result as device memory, where it is
    eh_tensor gradient;                   // the sum over all ranks, or this rank's shard of it
    float *log_probabilities;             // [limits.labels]
    eh_nearness near;                     // start NULL: train.kl is 0
    eh_anchor anchor;                     // train.l2
    eh_loss_scale loss_scale;
    double *exchange; // what ranks tell each other in a step
    eh_norm_stretch *norm_stretches;
    int64_t norm_stretch_count;
    double *norm_sums;
    int64_t exchange_count;
} eh_trainer;

typedef struct {
    double loss, gradient_norm, learning_rate;
    double divergence; // from the starting model, mean over the labels; NaN without train.kl
    int64_t token_count, label_count;
    bool asked; // some rank called with `ask`
} eh_step_outcome;

EH_CHECKED eh_status eh_trainer_init(eh_comm *comm, eh_backend *backend, eh_model *model, const eh_job *job,
                                     const eh_training_set *set, eh_trainer *trainer);
// Stays near `start` from now on (train.kl), a model for inference with the first weights; borrowed. A failure is this
// rank's own.
EH_CHECKED eh_status eh_trainer_stay_near(eh_trainer *trainer, eh_model *start);
// Pulls the weights towards what they are now from now on (train.l2, train.fisher). Collective, all get the same
// status.
EH_CHECKED eh_status eh_trainer_stay_put(eh_trainer *trainer);
void eh_trainer_deinit(eh_trainer *trainer);
int64_t eh_trainer_trained_count(const eh_trainer *trainer); // elements of all trained parameters

// Gradients, their sum, and what all ranks then know; leaves the weights alone. Collective. A failure is this rank's
// own. `ask`: tell all ranks something at no cost (a signal came). The batch is that of the latest eh_batches_plan.
EH_CHECKED eh_status eh_trainer_gradients(eh_trainer *trainer, bool ask, eh_step_outcome *outcome);
// Clips and steps. Collective.
EH_CHECKED eh_status eh_trainer_update(eh_trainer *trainer, const eh_step_outcome *outcome);
// Mean loss over the labels of the held-out examples, those of the replayed sets apart: general text. NaN if there are
// none. Collective.
EH_CHECKED eh_status eh_trainer_holdout(eh_trainer *trainer, double *loss, double *general);

#endif
