// Where a training stands, on disk: which checkpoints a folder holds, writing the next, going on from the newest good
// one.
#ifndef EH_TRAIN_RESUME_H
#define EH_TRAIN_RESUME_H

#include "core/log.h"
#include "train/trainer.h"

// What is not in the weights and moments.
typedef struct {
    int64_t step;           // steps done
    double best_holdout;    // NaN: none yet
    double seconds, tokens; // of training so far
} eh_training_state;

// Writes FOLDER/step-NNNNNNNN.safetensors and removes all but the newest two. `key` says which training it belongs to.
// Collective.
EH_CHECKED eh_status eh_training_save(eh_trainer *trainer, const char *folder, const char *key,
                                      const eh_training_state *state, const eh_log *log);
// Reads the newest checkpoint of this training that is whole; torn, damaged and foreign ones are passed over with a
// warning. *found false: none. Collective.
EH_CHECKED eh_status eh_training_resume(eh_trainer *trainer, const char *folder, const char *key,
                                        eh_training_state *state, bool *found, const eh_log *log);
// Path of the newest checkpoint ("" if there is none), for messages. Not collective; eh_free.
EH_CHECKED eh_status eh_training_newest(const char *folder, char **path);

#endif
