// Packs the sequences of several items into batches of a bounded size and has the model score them.
#ifndef EH_METRICS_BATCH_INTERNAL_H
#define EH_METRICS_BATCH_INTERNAL_H

#include "metrics/requests_internal.h"

// The requests of an item and where their answers go.
typedef struct {
    eh_requests requests;
    int64_t *label_first; // [sequence_count + 1]
    int64_t label_first_capacity;
    int32_t *tags; // [sequence_count]
    int64_t tag_capacity;
    float *log_probabilities; // [labels]
    int64_t label_capacity;
    double *divergences; // [labels], of metrics that ask for them
    int64_t divergence_capacity;
    int64_t item;          // row of the data set: what random numbers are drawn by
    eh_answer_text *texts; // by prompt, then by sample; their text and ids are owned
    int64_t text_count, text_capacity;
    bool is_broken; // the model's output for a text was NaN: there are no texts then
} eh_asked;

void eh_asked_forget_texts(eh_asked *asked);
void eh_asked_deinit(eh_asked *asked);

// Numbers the labels of the requests and makes room for their answers.
EH_CHECKED eh_status eh_asked_lay_out(eh_asked *asked);

// Below so many tokens a context is not worth a sequence of its own.
enum { EH_SHARE_FROM = 4 };
// Gives what the sequences of an item begin with in common, and what some of them go on with, to contexts, as packing
// does; those that have a context are left alone.
void eh_requests_find_prefixes(eh_model_kind kind, eh_requests *requests);
// Tokens of a batch with all these sequences: each context once.
int64_t eh_requests_read_count(const eh_requests *requests);

typedef struct eh_batcher eh_batcher;
EH_CHECKED eh_status eh_batcher_new(eh_model *model, int64_t batch_tokens, eh_batcher **batcher);
void eh_batcher_free(eh_batcher **batcher);
int64_t eh_batcher_vocab_size(const eh_batcher *batcher); // of its model
// After something else has reserved the model's memory (generation does).
void eh_batcher_reserve_again(eh_batcher *batcher);
// Fills the log-probabilities of all items.
EH_CHECKED eh_status eh_batcher_score(eh_batcher *batcher, eh_asked *const *asked, int64_t count);
// Hands the logits [vocabulary] of each label of all items to `take`, in the order of asking; labels of what is too
// long are passed over. No more than `logits_most` numbers are held at a time, or those of one label.
typedef eh_status (*eh_take_logits)(void *context, const float *logits);
EH_CHECKED eh_status eh_batcher_logits(eh_batcher *batcher, eh_asked *const *asked, int64_t count, int64_t logits_most,
                                       eh_take_logits take, void *context);
// Labels whose logits are held at a time then, most.
int64_t eh_batcher_logit_rows(int64_t batch_tokens, int64_t logits_most, int64_t vocab_size);
// Class probabilities [texts, labels] of tokenized texts (a classifier's own batcher).
EH_CHECKED eh_status eh_batcher_classify(eh_batcher *batcher, int64_t count, const int32_t *ids, const int64_t *offsets,
                                         float *probabilities);

#endif
