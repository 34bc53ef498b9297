// Texts that a model writes, as answers to items.
#ifndef EH_METRICS_TEXTS_INTERNAL_H
#define EH_METRICS_TEXTS_INTERNAL_H

#include "metrics/batch_internal.h"
#include "model/generate.h"
#include "text/tokenizer.h"

#define EH_PROMPTS_MOST 1024 // of one item

// Writes the texts of all prompts of the items, all together; they are the items' `texts`. Reserves the model's memory.
EH_CHECKED eh_status eh_texts_generate(eh_model *model, const eh_tokenizer *tokenizer, const eh_generation *generation,
                                       eh_asked *const *asked, int64_t count);
// Fills in an answer's ids and its text: what they decode to without special tokens, of it the first `size` bytes.
EH_CHECKED eh_status eh_answer_text_set(const eh_tokenizer *tokenizer, const int32_t *ids, int64_t count, size_t size,
                                        eh_answer_text *answer);

#endif
