// KL(base || model) = sum_v p(v) (log p(v) - log q(v)): the whole distributions are needed, so sequences go one by one
// and their labels in blocks whose logits fit a fixed memory. Sums in double; no neighbour has a say.
#include "metrics/divergence_internal.h"

#include <math.h>

#include "core/memory.h"

static double log_sum_exp(const float *x, int64_t count)
{
    double most = -INFINITY, sum = 0;
    for (int64_t v = 0; v < count; v++) most = fmax(most, (double)x[v]);
    for (int64_t v = 0; v < count; v++) sum += exp((double)x[v] - most);
    return most + log(sum);
}

static double divergence(const float *base, const float *model, int64_t count)
{
    const double base_sum = log_sum_exp(base, count), model_sum = log_sum_exp(model, count);
    double sum = 0;
    for (int64_t v = 0; v < count; v++) {
        const double log_p = (double)base[v] - base_sum, log_q = (double)model[v] - model_sum;
        const double p = exp(log_p);
        sum += p > 0 ? p * (log_p - log_q) : 0;
    }
    return sum;
}

// Logits of labels [first, first + count) of a sequence.
static eh_status logits_of(eh_model *model, const eh_requests *requests, const eh_request_sequence *sequence,
                           int64_t first, int64_t count, float *logits)
{
    const int64_t offsets[2] = {0, sequence->count}, decoder_offsets[2] = {0, sequence->decoder_count};
    const bool decodes = sequence->decoder_count > 0;
    const eh_batch batch = {.sequence_count = 1,
                            .input_ids = requests->ids + sequence->first,
                            .input_offsets = offsets,
                            .type_ids =
                                eh_model_kind_of(model) == EH_ENCODER ? requests->types + sequence->first : NULL,
                            .decoder_ids = decodes ? requests->decoder_ids + sequence->decoder_first : NULL,
                            .decoder_offsets = decodes ? decoder_offsets : NULL,
                            .label_count = count,
                            .label_rows = requests->rows + sequence->label_first + first,
                            .label_ids = requests->gold + sequence->label_first + first};
    const eh_batch_limits limits = {
        .tokens = sequence->count, .decoder_tokens = sequence->decoder_count, .sequences = 1, .labels = count};
    EH_TRY(eh_model_reserve(model, &limits));
    return eh_model_logits(model, &batch, logits);
}

eh_status eh_divergence_score(eh_model *base, eh_model *model, eh_asked *asked)
{
    const int64_t vocabulary = eh_model_vocab_size(base);
    const int64_t block = EH_DIVERGENCE_LOGITS_MOST / vocabulary > 0 ? EH_DIVERGENCE_LOGITS_MOST / vocabulary : 1;
    eh_status status = EH_OK;
    float *logits[2] = {NULL, NULL};
    if (vocabulary != eh_model_vocab_size(model))
        return eh_error(EH_INPUT, "the models' vocabularies differ (%lld and %lld words): no divergence between them",
                        (long long)vocabulary, (long long)eh_model_vocab_size(model));
    EH_TRY(eh_asked_lay_out(asked));
    const eh_requests *requests = &asked->requests;
    const int64_t most = asked->label_first[requests->sequence_count];
    EH_TRY(eh_reserve(most, &asked->divergence_capacity, sizeof *asked->divergences, (void **)&asked->divergences));
    for (int m = 0; m < 2; m++) EH_TRY_OR(done, EH_ALLOC((block < most ? block : most) * vocabulary, &logits[m]));
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        for (int64_t first = 0; first < sequence->label_count; first += block) {
            const int64_t rest = sequence->label_count - first, count = rest < block ? rest : block;
            EH_ASSERT(!sequence->too_long); // documents are asked for in windows that fit
            EH_TRY_OR(done, logits_of(base, requests, sequence, first, count, logits[0]));
            EH_TRY_OR(done, logits_of(model, requests, sequence, first, count, logits[1]));
            for (int64_t i = 0; i < count; i++)
                asked->divergences[asked->label_first[s] + first + i] =
                    divergence(logits[0] + i * vocabulary, logits[1] + i * vocabulary, vocabulary);
        }
    }
done:
    eh_free(&logits[0]);
    eh_free(&logits[1]);
    return status;
}
