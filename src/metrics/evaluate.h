// The evaluator: hands the items of a data set out over the ranks by estimated cost, asks the model for what the metric
// wants to know about each, many items to a packed batch, and fills the score table. An item's rows depend on neither
// rank, nor batch, nor neighbours.
#ifndef EH_METRICS_EVALUATE_H
#define EH_METRICS_EVALUATE_H

#include "comm/comm.h"
#include "core/log.h"
#include "io/shard.h"
#include "metrics/metric.h"
#include "model/memory.h"
#include "model/outline.h"

enum { EH_EVALUATION_BATCH_TOKENS = 2048 };

typedef struct {
    eh_comm *comm;
    const eh_log *log;
    const char *phase;  // for the progress line
    const char *device; // name of the models' backend
    eh_model *model;
    eh_model *base;       // what the model was trained from; of metrics that ask for divergences
    eh_model *classifier; // NULL: none
    const eh_tokenizer *classifier_tokenizer;
    int64_t batch_tokens;   // of a packed batch; 0: EH_EVALUATION_BATCH_TOKENS
    const char *journal;    // folder where finished items are noted so that a killed evaluation goes on; NULL: none
    double seconds_working; // out: time that this rank spent until it ran out of items
    size_t program_bytes;   // in, out: this process without its models; 0: measured now
    size_t predicted_bytes; // out: the greatest resident size that was predicted so far
} eh_evaluator;

// What an entry asks of the model at a time, from its item with the longest text; examples may be empty. EH_INPUT if
// the metric can't ask about that.
EH_CHECKED eh_status eh_evaluation_use(const eh_metric *metric, const eh_metric_setup *setup,
                                       const eh_examples *examples, int64_t batch_tokens, int64_t vocab_size,
                                       eh_inference_use *use);
// What an entry makes the model do in all, by a sample of its items: tokens that it reads (a context that candidates
// share once) and positions whose logits are made, and tokens that it writes at most, `together` texts at a time. A
// metric that compares two models asks both.
typedef struct {
    double read, labels, written;
    int64_t item_count, together;
} eh_evaluation_work;
EH_CHECKED eh_status eh_evaluation_work_of(const eh_metric *metric, const eh_metric_setup *setup,
                                           const eh_examples *examples, eh_evaluation_work *total);
// As eh_evaluation_use, of a classifier of texts.
eh_inference_use eh_classification_use(int64_t batch_tokens);
// Labels whose logits lie in memory at a time where gaps are filled.
int64_t eh_fills_logit_rows(int64_t batch_tokens, int64_t vocab_size);
// The setup of an entry of `evaluate:` for a model and its tokenizer, all borrowed; digests and what only some metrics
// need are left for the caller.
eh_metric_setup eh_metric_setup_for(const eh_job *job, const eh_job_metric *settings, const char *data_format,
                                    const eh_model *model, const eh_tokenizer *tokenizer, eh_encoding *encoding);
// The same for a model that is not there yet, for plans.
eh_metric_setup eh_metric_setup_planned(const eh_job *job, const eh_job_metric *settings, const char *data_format,
                                        const eh_model_outline *outline, const eh_tokenizer *tokenizer,
                                        eh_encoding *encoding);
// This rank's rows of all items of the data set are appended to `table`, whose columns are made here. Collective. A
// rank that fails inside ends all ranks (eh_comm_abort).
EH_CHECKED eh_status eh_evaluate(eh_evaluator *evaluator, const eh_metric *metric, const eh_metric_setup *setup,
                                 const eh_examples *examples, eh_score_table *table);

#endif
