// AdamW over the trained parameters of a model, in runs of neighbours that share their weight decay; the learning
// rate's schedule; and the norm of a gradient in an order that no division among ranks changes.
#ifndef EH_TRAIN_OPTIMIZER_H
#define EH_TRAIN_OPTIMIZER_H

#include "backend/backend.h"
#include "job/job.h"
#include "model/model.h"

typedef struct {
    eh_backend *backend; // borrowed
    eh_model *model;     // borrowed
    eh_adamw adamw;
    float weight_decay;
    // Neighbouring elements of the parameter block that are stepped together, by their places in the tensors that are
    // held: blocks, or shards of them. run_first: where they begin in the block.
    eh_adamw_run *runs;
    int64_t *run_first;
    int64_t run_count, state_count;
    eh_backend *host; // whose memory the moments are in, if they are offloaded from a device's; else NULL
    bool visits;      // what is stepped is elsewhere, and passes through memory a piece at a time
    eh_buffer *m_buffer, *v_buffer;
    eh_tensor m, v; // fp32 [state_count], first and second moments
    eh_buffer *visit_buffers[2];
    eh_tensor visiting_m, visiting_v; // a piece of them, on the device
} eh_optimizer;

// For all weights (level, as memory.zero: 0), or for this rank's stretches: gradients (from level 2 on) and weights (3)
// are shards then.
// `folder`: moments are offloaded: they have files there, or the host's memory where that is not the device's; NULL:
// they are in the device's memory.
EH_CHECKED eh_status eh_optimizer_init(eh_backend *backend, eh_model *model, const eh_job_train *train,
                                       const eh_partition *partition, int level, const char *folder,
                                       eh_optimizer *optimizer);
void eh_optimizer_deinit(eh_optimizer *optimizer);
// One step (counted from 1) with a gradient block or shard. Writes the weights' low precision copy too.
EH_CHECKED eh_status eh_optimizer_step(eh_optimizer *optimizer, const eh_tensor *gradient, int64_t step,
                                       double learning_rate, double gradient_scale);

// The learning rate of step 0 .. step_count - 1. linear: falls from lr in step 0 to lr / step_count in the last one
// (transformers' linear schedule); cosine: half a period; both after warm-up from 0.
double eh_learning_rate(const eh_job_train *train, int64_t step, int64_t step_count);
// What clipping multiplies the gradient with: min(1, clip / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; clip
// 0: 1.
double eh_clipping_scale(double clip, double norm);

// This rank's stretches of the gradient, a block, or its shard: the squared norms of their pieces (partition.h) go into
// sums [all pieces]. The norm of all pieces adds them along a binary tree, and overwrites them.
EH_CHECKED eh_status eh_norm_stretches(const eh_partition *partition, bool is_shard, double *sums,
                                       eh_norm_stretch **stretches, int64_t *count);
double eh_norm_of_pieces(double *sums, int64_t piece_count);

#endif
