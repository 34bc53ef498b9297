// From an example of the shards to what a metric asks about it.
#ifndef EH_METRICS_ITEMS_INTERNAL_H
#define EH_METRICS_ITEMS_INTERNAL_H

#include "io/shard.h"
#include "metrics/requests_internal.h"

// *text is replaced by the item's fields, cut into NUL-terminated strings, of which the item borrows; eh_free.
EH_CHECKED eh_status eh_item_read(const eh_examples *examples, int64_t example, char **text, eh_item *item);
// The metric's requests, in place of those before.
EH_CHECKED eh_status eh_item_requests(const eh_metric *metric, const eh_metric_setup *setup, const eh_item *item,
                                      eh_requests *requests);
// How the metric's texts are generated, for this entry of the job.
eh_generation eh_item_generation(const eh_metric *metric, const eh_metric_setup *setup);
// A prompt that leaves no room for the new tokens loses its oldest ones, but for the start token.
void eh_request_cut_prompt(eh_requests *requests, int64_t prompt, int64_t new_tokens);

#endif
