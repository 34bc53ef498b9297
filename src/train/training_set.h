// The examples of a training as the model sees them: inputs, and labels at rows of its output. Made once from the
// shards of all data sets; the label layouts of PROTOCOL 3.2 and the kinds of models are told apart here only.
#ifndef EH_TRAIN_TRAINING_SET_H
#define EH_TRAIN_TRAINING_SET_H

#include <stdint.h>

#include "io/shard.h"
#include "job/job.h"
#include "model/model.h"

// What the rows of a model's output are and which ids have a meaning: all that a layout must know of a model.
typedef struct {
    eh_model_kind kind;
    eh_head head;
    int64_t vocab_size, max_length;
    eh_special_ids special;
} eh_model_facts;
eh_model_facts eh_model_facts_of(const eh_model *model);

// Examples one after another; all zero is an empty set (eh_training_set_deinit).
typedef struct {
    eh_model_facts facts;
    int64_t count;
    int32_t *ids;         // inputs: decoder, sources or encoder
    int64_t *id_offsets;  // [count + 1]
    int32_t *decoder_ids; // encoder-decoder models only
    int64_t *decoder_offsets;
    int32_t *label_rows, *label_ids; // rows count from the example's own first
    int64_t *label_offsets;
    uint8_t *splits; // [count] eh_split
    uint8_t *masked; // [count] masked language modelling: a label at every row, of which each pass draws its own
    int64_t *source; // [count] number of the data set
    double *replay;  // [source_count] share of each batch that is drawn from the set, 0: in proportion
    int64_t source_count;
    int64_t dropped_label_count; // overlaid labels that would lie before the first row
    int64_t id_capacity, decoder_capacity, row_capacity, label_capacity;
} eh_training_set;

EH_CHECKED eh_status eh_training_set_init(const eh_model_facts *facts, eh_training_set *set);
// Adds the train and held-out examples of a data set. `layout`: the shards' attribute ("append", "overlay", "masked",
// "seq2seq", "none"). EH_INPUT names data set and source row of what can't be learnt.
EH_CHECKED eh_status eh_training_set_add(eh_training_set *set, const eh_job_data *data, const char *layout,
                                         const eh_examples *examples);
void eh_training_set_deinit(eh_training_set *set);

#endif
