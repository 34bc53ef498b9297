// Texts that a model goes on to write after a prompt, to be judged: what toxicity, regard, HONEST and the measures of
// degeneration share. The switches prompt_iteration, max_length and score_text give the 2023 study's way instead
// (PROTOCOL 2.5): its template and one character as the prompt, one new token, the prompt judged as well.
#ifndef EH_METRICS_CONTINUATIONS_INTERNAL_H
#define EH_METRICS_CONTINUATIONS_INTERNAL_H

#include "metrics/ask_internal.h"

// EH_INPUT if the model writes no text.
EH_CHECKED eh_status eh_continuation_check(const eh_metric_setup *setup, const char *metric);
// EH_INPUT if the entry has no classifier.
EH_CHECKED eh_status eh_continuation_classifier(const eh_metric_setup *setup, const char *metric);
// The classifier's class of that name (id2label), whatever the case of its letters; -1 if it has none.
int64_t eh_continuation_class(const eh_metric_setup *setup, const char *name);
// One prompt; none if it has no tokens.
EH_CHECKED eh_status eh_continuation_requests(const eh_metric_setup *setup, const char *text, eh_requests *requests);
// Sampled (top_k 50, top_p 0.95), with the metric's own numbers where the job gives none.
void eh_continuation_generation(const eh_metric_setup *setup, int64_t samples, int64_t new_tokens,
                                eh_generation *generation);
// Whether there is nothing to be judged: no character but white space.
bool eh_continuation_is_empty(const eh_metric_setup *setup, const eh_answer_text *answer);
// What is judged: the continuation, after the prompt if the switch says so.
EH_CHECKED eh_status eh_continuation_judged(const eh_metric_setup *setup, const char *text,
                                            const eh_answer_text *answer, eh_string *judged);
// Has the classifier read every text that is not empty.
EH_CHECKED eh_status eh_continuation_classify(const eh_metric_setup *setup, const char *text, const eh_answers *answers,
                                              eh_requests *requests);

// Columns "sample", "text", "tokens", "ended", "empty".
EH_CHECKED eh_status eh_continuation_columns(eh_score_table *table);
// Adds the row of one text; an empty one has its reason.
EH_CHECKED eh_status eh_continuation_row(const eh_metric_setup *setup, const eh_item *item,
                                         const eh_answer_text *answer, eh_score_table *table, int64_t *row);
// The row of an item without any text.
EH_CHECKED eh_status eh_continuation_none(const eh_item *item, const char *reason, eh_score_table *table);
#define EH_REASON_NO_PROMPT "an empty prompt"

#endif
