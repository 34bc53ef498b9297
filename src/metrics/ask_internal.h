// Small things that metrics need to put requests together.
#ifndef EH_METRICS_ASK_INTERNAL_H
#define EH_METRICS_ASK_INTERNAL_H

#include "metrics/metric.h"

// A growing list of token ids. All zero is an empty one.
typedef struct {
    int32_t *ids;
    int64_t count, capacity;
} eh_ids;

EH_CHECKED eh_status eh_ids_add(eh_ids *ids, int32_t id);
EH_CHECKED eh_status eh_ids_add_text(eh_ids *ids, const eh_metric_setup *setup, const char *text, eh_special special);
void eh_ids_deinit(eh_ids *ids);

// Items that a metric makes itself (eh_metric.items): names of their fields (NULL-terminated) and of their groups, then
// one after another, `text` being the fields joined by '\x1f'.
EH_CHECKED eh_status eh_own_items_begin(const char *const *fields, const char *const *groups, int64_t group_count,
                                        eh_examples *examples);
EH_CHECKED eh_status eh_own_items_add(const char *text, size_t size, uint16_t group, eh_examples *examples);

// The token that a decoder reads first: its BOS, or its EOS where there is none.
int32_t eh_start_id(const eh_metric_setup *setup);

#endif
