// A task turns records into tokenized examples, in the layout that the model's family learns from (data/FORMATS.md):
//   decoder, append    input: the prompt; target: " " + answer + EOS
//   decoder, overlay   input: the prompt; target: the answer's tokens, held against the last positions of the input
//   encoder-decoder    input: source + EOS; target: answer + EOS
//   masked             input: the sentence with masks; target: the tokens that belong there, in order
#ifndef EH_DATASET_TASK_H
#define EH_DATASET_TASK_H

#include <stdint.h>

#include "core/status.h"
#include "dataset/dataset.h"
#include "dataset/gap.h"
#include "dataset/template.h"
#include "dataset/text_model.h"
#include "io/shard.h"
#include "job/job.h"

typedef struct {
    const eh_data_format *format;
    const eh_job_data *data;
    const eh_text_model *model;
    uint64_t seed;
    const char *prompt;            // the template in use, "" where the task has none
    int64_t max_input, max_target; // tokens
    // Working memory and counts
    eh_encoding encoding;
    eh_gap gap;
    eh_expansion expansion;
    int32_t *input, *target; // ids of the example at hand
    int64_t input_count, input_capacity, target_count, target_capacity;
    int64_t truncated; // examples that lost tokens
    int64_t replaced;  // malformed UTF-8 (none: such rows are rejected)
} eh_task_maker;

// EH_INPUT if the task does not fit the format or the model ("gap-fill needs pairs"), or the template is wrong.
EH_CHECKED eh_status eh_task_maker_init(const eh_data_format *format, const eh_job_data *data,
                                        const eh_text_model *model, uint64_t seed, eh_task_maker *maker);
void eh_task_maker_deinit(eh_task_maker *maker);

// "append", "overlay", "seq2seq", "masked", or "none" (evaluation items only).
const char *eh_task_layout(const eh_task_maker *maker);
const char *eh_task_name(eh_task task);

// Appends the examples of a record: none (then *reason says why, for the rejected file), one or more.
EH_CHECKED eh_status eh_task_make(eh_task_maker *maker, const eh_records *records, const eh_record *record,
                                  uint16_t group, eh_split split, eh_examples *examples, const char **reason);

// The study's bound on the source's length: tokens of the record's bare text, with the tokenizer's special ones.
EH_CHECKED eh_status eh_task_bare_length(eh_task_maker *maker, const eh_records *records, const eh_record *record,
                                         int64_t *text_tokens, int64_t *answer_tokens);

#endif
