// Documents of any length as requests, shared by the metrics that read them.
#ifndef EH_METRICS_DOCUMENTS_INTERNAL_H
#define EH_METRICS_DOCUMENTS_INTERNAL_H

#include "metrics/ask_internal.h"

#define EH_SPAN_WINDOW 512 // tokens of a source that is corrupted

// The item's text: its field of that name, or its last one.
const char *eh_document_text(const eh_item *item);
// EH_INPUT if the model gives no probabilities of tokens, or can't have spans of its input corrupted.
EH_CHECKED eh_status eh_document_check(const eh_metric_setup *setup, const char *metric);
// Every token of the document, once.
EH_CHECKED eh_status eh_document_requests(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests);
// Tokens [first, end) of setup->encoding: source with sentinels, target with sentinels and the spans; tokens and bytes
// of the spans are counted.
EH_CHECKED eh_status eh_document_corrupt(const eh_metric_setup *setup, int64_t document, int64_t first, int64_t end,
                                         eh_ids *source, eh_ids *target, int64_t *span_tokens, int64_t *span_bytes);

#endif
