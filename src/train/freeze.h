// Which weights learn: `train.method: freeze` with `train.freeze`, names of groups or patterns, joined by '+':
//   norms       the layer norms                      positions   position embeddings, T5's relative biases
//   embeddings  the token (and type) embeddings      output      an output layer of its own (a tied one is the
//   embedding) top-K       the last K blocks of each stack      body        everything but embeddings, positions and
//   output anything else is a pattern of fnmatch on the weight's name, such as "*.h.1.*"
// The variants of Gira et al. 2022 are norms, norms+positions, norms+positions+embeddings,
// norms+positions+embeddings+output.
#ifndef EH_TRAIN_FREEZE_H
#define EH_TRAIN_FREEZE_H

#include "job/job.h"
#include "model/model.h"

// Does nothing for other methods. EH_INPUT if a word of train.freeze fits no weight of the model.
EH_CHECKED eh_status eh_freeze(const eh_job_train *train, eh_model *model);

#endif
