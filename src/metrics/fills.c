#include "metrics/fills_internal.h"

#include <math.h>

#include "core/memory.h"
#include "metrics/evaluate.h"
#include "metrics/texts_internal.h"

int64_t eh_fills_best(const float *logits, int64_t vocabulary, eh_is_word is_word, const void *context, int64_t most,
                      int32_t *best)
{
    int64_t count = 0;
    for (int64_t id = 0; id < vocabulary; id++) {
        if (isnan(logits[id]))
            return 0;
        if ((count == most && !(logits[id] > logits[best[count - 1]])) || !is_word(context, (int32_t)id))
            continue;
        int64_t at = count < most ? count++ : count - 1;
        for (; at > 0 && logits[best[at - 1]] < logits[id]; at--) best[at] = best[at - 1];
        best[at] = (int32_t)id;
    }
    return count;
}

int64_t eh_fills_logit_rows(int64_t batch_tokens, int64_t vocab_size)
{
    return eh_batcher_logit_rows(batch_tokens > 0 ? batch_tokens : EH_EVALUATION_BATCH_TOKENS, EH_FILLS_LOGITS_MOST,
                                 vocab_size);
}

static bool is_word(const void *context, int32_t id)
{
    const eh_tokenizer *tokenizer = context;
    return eh_tokenizer_token(tokenizer, id) != NULL && !eh_tokenizer_is_special(tokenizer, id);
}

// The next answer that the batcher will bring, and what it takes to keep it.
typedef struct {
    const eh_tokenizer *tokenizer;
    eh_asked *const *asked;
    int64_t vocabulary, item, sequence;
    int32_t *best;
    int64_t best_capacity;
} filling;

static const eh_request_sequence *next_sequence(filling *f)
{
    for (;;) {
        const eh_requests *requests = &f->asked[f->item]->requests;
        while (f->sequence < requests->sequence_count) {
            const eh_request_sequence *sequence = &requests->sequences[f->sequence++];
            if (!sequence->too_long)
                return sequence;
        }
        f->item++;
        f->sequence = 0;
    }
}

static eh_status take_logits(void *context, const float *logits)
{
    filling *f = context;
    const eh_request_sequence *sequence = next_sequence(f);
    const int64_t most = sequence->fills < f->vocabulary ? sequence->fills : f->vocabulary;
    eh_asked *asked = f->asked[f->item];
    EH_ASSERT(sequence->fills > 0);
    EH_TRY(eh_reserve(most, &f->best_capacity, sizeof *f->best, (void **)&f->best));
    const int64_t count = eh_fills_best(logits, f->vocabulary, is_word, f->tokenizer, most, f->best);
    asked->is_broken = asked->is_broken || count == 0;
    for (int64_t rank = 0; rank < count; rank++) {
        const eh_answer_text answer = {.prompt = f->sequence - 1, .sample = rank, .ended = true};
        EH_TRY(EH_APPEND(&asked->texts, &asked->text_count, &asked->text_capacity, answer));
        EH_TRY(eh_answer_text_set(f->tokenizer, &f->best[rank], 1, SIZE_MAX, &asked->texts[asked->text_count - 1]));
    }
    return EH_OK;
}

eh_status eh_fills_find(eh_batcher *batcher, const eh_tokenizer *tokenizer, eh_asked *const *asked, int64_t count)
{
    filling f = {.tokenizer = tokenizer, .asked = asked, .vocabulary = eh_batcher_vocab_size(batcher)};
    const eh_status status = eh_batcher_logits(batcher, asked, count, EH_FILLS_LOGITS_MOST, take_logits, &f);
    eh_free(&f.best);
    return status;
}
