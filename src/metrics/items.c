#include "metrics/items_internal.h"

#include <string.h>

#include "core/memory.h"
#include "metrics/ask_internal.h"
#include "metrics/divergence_internal.h"
#include "metrics/evaluate.h"

eh_status eh_item_read(const eh_examples *examples, int64_t example, char **text_address, eh_item *item)
{
    const char *text = examples->text + examples->text_offsets[example];
    const size_t size = (size_t)(examples->text_offsets[example + 1] - examples->text_offsets[example]);
    eh_free(text_address);
    EH_TRY(eh_copy_bytes(text, size, text_address));
    *item = (eh_item){.index = (int64_t)examples->source_rows[example]};
    char *field = *text_address, *const end = *text_address + size;
    while (examples->field_names[item->field_count] != NULL && item->field_count < EH_ITEM_FIELDS) {
        char *stop = memchr(field, '\x1f', (size_t)(end - field));
        stop = stop == NULL ? end : stop;
        *stop = '\0';
        item->names[item->field_count] = examples->field_names[item->field_count];
        item->fields[item->field_count] = field;
        item->sizes[item->field_count++] = (size_t)(stop - field);
        if (stop == end)
            break;
        field = stop + 1;
    }
    const uint64_t first = examples->candidate_first[example];
    item->candidate_count = (int64_t)(examples->candidate_first[example + 1] - first);
    item->labels = examples->labels + first;
    item->split = (eh_split)examples->splits[example];
    item->group = examples->group_names[examples->groups[example]];
    return EH_OK;
}

eh_status eh_item_requests(const eh_metric *metric, const eh_metric_setup *setup, const eh_item *item,
                           eh_requests *requests)
{
    eh_requests_clear(requests);
    requests->decoder_start = setup->kind == EH_ENCODER_DECODER ? setup->special.decoder_start : -1;
    requests->start = setup->kind == EH_DECODER ? eh_start_id(setup) : -1;
    requests->max_length = setup->max_length;
    const eh_status status = metric->requests(setup, item, requests);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s, item %lld", metric->name, (long long)item->index);
}

eh_generation eh_item_generation(const eh_metric *metric, const eh_metric_setup *setup)
{
    const eh_texts *stop = &setup->settings->stop;
    eh_generation generation = {.samples = 1,
                                .temperature = 1,
                                .top_p = 1,
                                .repetition_penalty = 1,
                                .eos = setup->special.eos,
                                .seed = setup->seed,
                                .stops = {setup->tokenizer, (const char *const *)stop->items, stop->count}};
    metric->generation(setup, &generation);
    return generation;
}

void eh_request_cut_prompt(eh_requests *requests, int64_t k, int64_t new_tokens)
{
    int64_t *first = &requests->prompts[2 * k], *count = first + 1;
    const int64_t bound = requests->max_length - (requests->decoder_start < 0 ? new_tokens : 0);
    const int64_t most = bound > 1 ? bound : 1;
    if (requests->max_length <= 0 || *count <= most)
        return;
    const int64_t cut = *count - most;
    if (requests->ids[*first] == requests->start && most > 1)
        requests->ids[*first + cut] = requests->start;
    requests->cut_tokens += cut;
    *first += cut;
    *count = most;
}

// --- Memory -------------------------------------------------------------------------------------------------------

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// The example that the metric would measure with the longest text, or -1.
static int64_t longest_example(const eh_examples *examples)
{
    int64_t longest = -1;
    uint64_t most = 0;
    for (int64_t i = 0; i < examples->count; i++) {
        const uint64_t size = examples->text_offsets[i + 1] - examples->text_offsets[i];
        if (longest < 0 || size > most) {
            longest = i;
            most = size;
        }
    }
    return longest;
}

static void use_of_scoring(const eh_requests *requests, int64_t batch_tokens, eh_batch_limits *limits)
{
    bool decodes = false;
    *limits = (eh_batch_limits){batch_tokens, 0, batch_tokens / 4 + 1, batch_tokens};
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        limits->tokens = larger(limits->tokens, sequence->count);
        limits->decoder_tokens = larger(limits->decoder_tokens, sequence->decoder_count);
        limits->labels = larger(limits->labels, sequence->label_count);
        decodes = decodes || sequence->decoder_count > 0;
    }
    if (decodes)
        limits->decoder_tokens = larger(limits->decoder_tokens, batch_tokens);
}

static void use_of_divergences(const eh_requests *requests, int64_t vocab_size, eh_inference_use *use)
{
    const int64_t block = larger(EH_DIVERGENCE_LOGITS_MOST / vocab_size, 1);
    for (int64_t s = 0; s < requests->sequence_count; s++) {
        const eh_request_sequence *sequence = &requests->sequences[s];
        const int64_t labels = sequence->label_count < block ? sequence->label_count : block;
        use->logit_rows = larger(use->logit_rows, labels);
        use->batch.tokens = larger(use->batch.tokens, sequence->count);
        use->batch.decoder_tokens = larger(use->batch.decoder_tokens, sequence->decoder_count);
        use->batch.labels = larger(use->batch.labels, labels);
        use->batch.sequences = 1;
    }
}

static void use_of_generation(const eh_metric_setup *setup, const eh_generation *generation, eh_requests *requests,
                              eh_inference_use *use)
{
    const bool has_source = setup->kind == EH_ENCODER_DECODER;
    int64_t longest = 0;
    for (int64_t p = 0; p < requests->prompt_count; p++) {
        eh_request_cut_prompt(requests, p, generation->max_new_tokens);
        longest = larger(longest, requests->prompts[2 * p + 1]);
    }
    if (longest == 0)
        return;
    use->slots = use->logit_rows = eh_generation_slots(INT64_MAX, generation->slots);
    use->greedy = eh_generation_is_greedy(generation);
    use->slot_rows = (has_source ? 1 : longest) + generation->max_new_tokens;
    use->source_rows = has_source ? longest : 0;
    use->prompts = (eh_batch_limits){.tokens = has_source ? longest : use->slots * longest,
                                     .decoder_tokens = has_source ? use->slots : 0,
                                     .sequences = use->slots,
                                     .labels = use->slots};
}

eh_inference_use eh_classification_use(int64_t batch_tokens)
{
    const int64_t tokens = batch_tokens > 0 ? batch_tokens : EH_EVALUATION_BATCH_TOKENS;
    return (eh_inference_use){.batch = {tokens, 0, tokens / 4 + 1, tokens}};
}

eh_status eh_evaluation_use(const eh_metric *metric, const eh_metric_setup *setup, const eh_examples *examples,
                            int64_t batch_tokens, int64_t vocab_size, eh_inference_use *use)
{
    const int64_t tokens = batch_tokens > 0 ? batch_tokens : EH_EVALUATION_BATCH_TOKENS;
    const int64_t longest = longest_example(examples);
    const int answers = eh_metric_answers(metric, setup->kind);
    eh_status status = EH_OK;
    eh_requests requests = {0};
    eh_item item = {0};
    char *text = NULL;
    *use = (eh_inference_use){.slots = 0};
    if (longest < 0)
        return EH_OK;
    EH_TRY_OR(done, eh_item_read(examples, longest, &text, &item));
    EH_TRY_OR(done, eh_item_requests(metric, setup, &item, &requests));
    if (answers & (EH_LIKELIHOODS | EH_FILLS))
        use_of_scoring(&requests, tokens, &use->batch);
    if (answers & EH_FILLS)
        use->logit_rows = eh_fills_logit_rows(batch_tokens, vocab_size);
    if (answers & EH_DIVERGENCES)
        use_of_divergences(&requests, vocab_size, use);
    if (answers & EH_GENERATIONS) {
        const eh_generation generation = eh_item_generation(metric, setup);
        use_of_generation(setup, &generation, &requests, use);
    }
done:
    eh_requests_deinit(&requests);
    eh_free(&text);
    return status;
}
