#include "train/training_set.h"

#include <string.h>

#include "core/memory.h"

eh_status eh_training_set_init(const eh_model_facts *facts, eh_training_set *set)
{
    *set = (eh_training_set){.facts = *facts};
    EH_TRY(EH_ALLOC(1, &set->id_offsets));
    EH_TRY(EH_ALLOC(1, &set->decoder_offsets));
    return EH_ALLOC(1, &set->label_offsets);
}

void eh_training_set_deinit(eh_training_set *set)
{
    eh_free(&set->ids);
    eh_free(&set->id_offsets);
    eh_free(&set->decoder_ids);
    eh_free(&set->decoder_offsets);
    eh_free(&set->label_rows);
    eh_free(&set->label_ids);
    eh_free(&set->label_offsets);
    eh_free(&set->splits);
    eh_free(&set->masked);
    eh_free(&set->source);
    eh_free(&set->replay);
    *set = (eh_training_set){0};
}

// One example of a shard.
typedef struct {
    const uint32_t *input, *target;
    int64_t input_count, target_count;
} shard_example;

static eh_status push_id(eh_training_set *set, uint32_t id)
{
    int64_t *end = &set->id_offsets[set->count + 1];
    return EH_APPEND(&set->ids, end, &set->id_capacity, (int32_t)id);
}

static eh_status push_decoder_id(eh_training_set *set, uint32_t id)
{
    int64_t *end = &set->decoder_offsets[set->count + 1];
    return EH_APPEND(&set->decoder_ids, end, &set->decoder_capacity, (int32_t)id);
}

static eh_status push_label(eh_training_set *set, int64_t row, uint32_t id)
{
    int64_t rows = set->label_offsets[set->count + 1], *end = &set->label_offsets[set->count + 1];
    EH_TRY(EH_APPEND(&set->label_rows, &rows, &set->row_capacity, (int32_t)row));
    return EH_APPEND(&set->label_ids, end, &set->label_capacity, (int32_t)id);
}

static eh_status push_inputs(eh_training_set *set, const shard_example *example)
{
    for (int64_t i = 0; i < example->input_count; i++) EH_TRY(push_id(set, example->input[i]));
    return EH_OK;
}

// Every token is learnt from those before it.
static eh_status lay_out_text(eh_training_set *set, const uint32_t *text, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (i + 1 < count) {
            EH_TRY(push_id(set, text[i]));
            EH_TRY(push_label(set, i, text[i + 1]));
        }
    }
    return EH_OK;
}

// Prompt, then completion: the row before each token of the completion learns it.
static eh_status lay_out_appended(eh_training_set *set, const shard_example *example)
{
    if (example->target_count == 0)
        return lay_out_text(set, example->input, example->input_count);
    if (example->input_count == 0)
        return lay_out_text(set, example->target, example->target_count);
    EH_TRY(push_inputs(set, example));
    for (int64_t j = 0; j < example->target_count; j++) {
        if (j + 1 < example->target_count)
            EH_TRY(push_id(set, example->target[j]));
        EH_TRY(push_label(set, example->input_count - 1 + j, example->target[j]));
    }
    return EH_OK;
}

// The study's mistake (PROTOCOL 3.2): both were padded on the left to one length, so the completion lies over the end
// of the prompt, and the model shifts labels by one.
static eh_status lay_out_overlaid(eh_training_set *set, const shard_example *example)
{
    EH_TRY(push_inputs(set, example));
    for (int64_t j = 0; j < example->target_count; j++) {
        const int64_t row = example->input_count - example->target_count + j - 1;
        if (row >= 0)
            EH_TRY(push_label(set, row, example->target[j]));
        else
            set->dropped_label_count++;
    }
    return EH_OK;
}

static eh_status lay_out_translation(eh_training_set *set, const shard_example *example)
{
    if (example->target_count == 0)
        return eh_error(EH_INPUT, "an encoder-decoder model needs a completion to learn: task 'lm' is not for it");
    if (set->facts.special.decoder_start < 0)
        return eh_error(EH_INPUT, "the model's config.json has no decoder_start_token_id");
    EH_TRY(push_inputs(set, example));
    for (int64_t j = 0; j < example->target_count; j++) {
        EH_TRY(push_decoder_id(set, j == 0 ? (uint32_t)set->facts.special.decoder_start : example->target[j - 1]));
        EH_TRY(push_label(set, j, example->target[j]));
    }
    return EH_OK;
}

// The targets stand for the masks of the input, in order; without targets, masks are drawn anew in every pass.
static eh_status lay_out_masked(eh_training_set *set, const shard_example *example)
{
    const int32_t mask = set->facts.special.mask;
    if (mask < 0)
        return eh_error(EH_INPUT, "the model's folder names no mask token");
    EH_TRY(push_inputs(set, example));
    if (example->target_count == 0) {
        set->masked[set->count] = 1;
        for (int64_t i = 1; i + 1 < example->input_count; i++) // not the special tokens at both ends
            EH_TRY(push_label(set, i, example->input[i]));
        return EH_OK;
    }
    int64_t next = 0;
    for (int64_t i = 0; i < example->input_count; i++)
        if (example->input[i] == (uint32_t)mask && next < example->target_count)
            EH_TRY(push_label(set, i, example->target[next++]));
    if (next < example->target_count)
        return eh_error(EH_INPUT, "%lld masks, but %lld tokens to stand for them", (long long)next,
                        (long long)example->target_count);
    return EH_OK;
}

static eh_status lay_out(eh_training_set *set, const char *layout, const shard_example *example)
{
    if (set->facts.kind == EH_ENCODER_DECODER)
        return lay_out_translation(set, example);
    if (set->facts.kind == EH_ENCODER)
        return lay_out_masked(set, example);
    if (strcmp(layout, "overlay") == 0 && example->target_count > 0)
        return lay_out_overlaid(set, example);
    return lay_out_appended(set, example);
}

static eh_status check_ids(const eh_training_set *set, int64_t first, int64_t end, const int32_t *ids)
{
    for (int64_t i = first; i < end; i++)
        if (ids[i] < 0 || ids[i] >= set->facts.vocab_size)
            return eh_error(
                EH_INPUT, "token %u, but the model's vocabulary has %lld: were the shards made with another tokenizer?",
                (unsigned)ids[i], (long long)set->facts.vocab_size);
    return EH_OK;
}

static eh_status check_example(const eh_training_set *set)
{
    const int64_t *ids = set->id_offsets + set->count, *decoder = set->decoder_offsets + set->count;
    const int64_t *labels = set->label_offsets + set->count;
    const int64_t longest = ids[1] - ids[0] > decoder[1] - decoder[0] ? ids[1] - ids[0] : decoder[1] - decoder[0];
    if (longest > set->facts.max_length)
        return eh_error(EH_INPUT, "%lld tokens, but the model takes %lld at most: set max_length of the data set",
                        (long long)longest, (long long)set->facts.max_length);
    EH_TRY(check_ids(set, ids[0], ids[1], set->ids));
    EH_TRY(check_ids(set, decoder[0], decoder[1], set->decoder_ids));
    return check_ids(set, labels[0], labels[1], set->label_ids);
}

static eh_status grow(eh_training_set *set, int64_t more)
{
    const int64_t old = set->count, count = old + more;
    EH_TRY(EH_RESIZE(old + 1, count + 1, &set->id_offsets));
    EH_TRY(EH_RESIZE(old + 1, count + 1, &set->decoder_offsets));
    EH_TRY(EH_RESIZE(old + 1, count + 1, &set->label_offsets));
    EH_TRY(EH_RESIZE(old, count, &set->splits));
    EH_TRY(EH_RESIZE(old, count, &set->masked));
    EH_TRY(EH_RESIZE(old, count, &set->source));
    EH_TRY(EH_RESIZE(set->source_count, set->source_count + 1, &set->replay));
    return EH_OK;
}

// Shards are made for a kind of model: those for another would be learnt wrongly without a word.
static eh_status check_layout(const eh_training_set *set, const char *layout)
{
    const bool is_masked = strcmp(layout, "masked") == 0, is_pair = strcmp(layout, "seq2seq") == 0;
    if ((is_masked && set->facts.kind != EH_ENCODER) || (is_pair && set->facts.kind != EH_ENCODER_DECODER))
        return eh_error(EH_INPUT,
                        "its shards have the layout '%s', which is for another kind of model: run tokenize again",
                        layout);
    return EH_OK;
}

eh_status eh_training_set_add(eh_training_set *set, const eh_job_data *data, const char *layout,
                              const eh_examples *examples)
{
    const eh_status fits = check_layout(set, layout);
    if (fits != EH_OK)
        return eh_error_context(fits, "data set '%s'", data->name);
    EH_TRY(grow(set, examples->count));
    set->replay[set->source_count] = data->replay;
    for (int64_t i = 0; i < examples->count; i++) {
        if (examples->splits[i] != EH_SPLIT_TRAIN && examples->splits[i] != EH_SPLIT_HOLDOUT)
            continue;
        const uint64_t *inputs = examples->inputs.offsets + i, *targets = examples->targets.offsets + i;
        const shard_example example = {examples->inputs.values + inputs[0], examples->targets.values + targets[0],
                                       (int64_t)(inputs[1] - inputs[0]), (int64_t)(targets[1] - targets[0])};
        const int64_t n = set->count;
        set->id_offsets[n + 1] = set->id_offsets[n];
        set->decoder_offsets[n + 1] = set->decoder_offsets[n];
        set->label_offsets[n + 1] = set->label_offsets[n];
        set->splits[n] = examples->splits[i];
        set->source[n] = set->source_count;
        eh_status status = lay_out(set, layout, &example);
        if (status == EH_OK)
            status = check_example(set);
        if (status != EH_OK)
            return eh_error_context(status, "data set '%s', source row %llu", data->name,
                                    (unsigned long long)examples->source_rows[i]);
        if (set->label_offsets[n + 1] > set->label_offsets[n]) // nothing to learn: left out, as tokenize counts it
            set->count++;
    }
    set->source_count++;
    return EH_OK;
}
