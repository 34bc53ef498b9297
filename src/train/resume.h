// Where a training stands, on disk: which checkpoints a folder holds, writing the next, going on from the newest good
// one.
#ifndef EH_TRAIN_RESUME_H
#define EH_TRAIN_RESUME_H

#include "core/log.h"
#include "train/selection.h"
#include "train/trainer.h"

// What is not in the weights and moments.
typedef struct {
    int64_t step; // steps done
    eh_selection selection;
    double seconds, tokens; // of training so far
} eh_training_state;

// Writes FOLDER/step-NNNNNNNN.safetensors and removes all but the newest two. `key` says which training it belongs to.
// In two halves: what is to be written is copied, and training may go on `beside`; otherwise, and where there is no
// room for a copy or states are offloaded, the first half does it all and *saving is NULL. Both are collective.
typedef struct eh_training_saving eh_training_saving;
EH_CHECKED eh_status eh_training_save_begin(eh_trainer *trainer, const char *folder, const char *key,
                                            const eh_training_state *state, bool beside, const eh_log *log,
                                            eh_training_saving **saving);
bool eh_training_is_saved(const eh_training_saving *saving);            // this rank's part; not collective
EH_CHECKED eh_status eh_training_save_end(eh_training_saving **saving); // NULL: nothing to do
void eh_training_save_abandon(eh_training_saving **saving);             // not collective
// Reads the newest checkpoint of this training that is whole; torn, damaged and foreign ones are passed over with a
// warning. *found false: none. Collective.
EH_CHECKED eh_status eh_training_resume(eh_trainer *trainer, const char *folder, const char *key,
                                        eh_training_state *state, bool *found, const eh_log *log);
// Path of the newest checkpoint ("" if there is none), for messages. Not collective; eh_free.
EH_CHECKED eh_status eh_training_newest(const char *folder, char **path);

#endif
