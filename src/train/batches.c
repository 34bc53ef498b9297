#include "train/batches.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"

// --- Masked language modelling (Devlin et al. 2019): 15 % of the tokens are learnt; of these 80 % are masked, 10 %
// --- replaced, 10 % kept.

typedef enum { KEEP_UNLEARNT, KEEP, REPLACE, MASK } masking;

static masking masking_of(uint64_t seed, int64_t pass, int64_t example, int64_t position, int64_t first_position,
                          int64_t count, eh_philox_block *block)
{
    const uint64_t index = (uint64_t)example << 20 | (uint64_t)position;
    *block = eh_philox(seed, EH_STREAM_NOISE, index, (uint32_t)(pass + 1));
    const double draw = (double)block->word[0] * 0x1p-32;
    // One token at least: of an example too short for 15 %, the one that the first position's number picks.
    const eh_philox_block pick =
        eh_philox(seed, EH_STREAM_NOISE, (uint64_t)example << 20 | 0xfffff, (uint32_t)(pass + 1));
    const bool picked = position == first_position + (int64_t)((uint64_t)pick.word[0] * (uint64_t)count >> 32);
    if (draw >= 0.15 && !picked)
        return KEEP_UNLEARNT;
    const double kind = (double)block->word[1] * 0x1p-32;
    return kind < 0.8 ? MASK : kind < 0.9 ? REPLACE : KEEP;
}

int64_t eh_example_label_count(const eh_training_set *set, uint64_t seed, int64_t pass, int64_t example)
{
    const int64_t first = set->label_offsets[example], count = set->label_offsets[example + 1] - first;
    if (!set->masked[example])
        return count;
    int64_t learnt = 0;
    eh_philox_block block;
    for (int64_t l = 0; l < count; l++)
        learnt += masking_of(seed, pass, example, set->label_rows[first + l], set->label_rows[first], count, &block) !=
                  KEEP_UNLEARNT;
    return learnt;
}

// --- Streams ----------------------------------------------------------------------------------------------

static int64_t example_at(eh_batches *batches, int64_t stream_index, int64_t position)
{
    eh_stream_of_examples *stream = &batches->streams[stream_index];
    const int64_t pass = position / stream->count;
    if (stream->pass != pass) {
        const uint64_t key = (uint64_t)stream_index << 48 | (uint64_t)pass;
        eh_random_permutation(batches->seed, EH_STREAM_SHUFFLE, key, stream->count, stream->order);
        stream->pass = pass;
    }
    return stream->members[stream->order[position % stream->count]];
}

static eh_status add_stream(eh_batches *batches, int64_t source, double share)
{
    const eh_training_set *set = batches->set;
    eh_stream_of_examples *stream = &batches->streams[batches->stream_count++];
    *stream = (eh_stream_of_examples){.pass = -1};
    for (int64_t i = 0; i < set->count; i++)
        stream->count += set->splits[i] == EH_SPLIT_TRAIN &&
                         (source < 0 ? set->replay[set->source[i]] <= 0 : set->source[i] == source);
    EH_TRY(EH_ALLOC(stream->count, &stream->members));
    EH_TRY(EH_ALLOC(stream->count, &stream->order));
    int64_t next = 0;
    for (int64_t i = 0; i < set->count; i++)
        if (set->splits[i] == EH_SPLIT_TRAIN &&
            (source < 0 ? set->replay[set->source[i]] <= 0 : set->source[i] == source))
            stream->members[next++] = i;
    if (source >= 0 && stream->count > 0)
        stream->per_batch = llround(share * (double)batches->batch);
    return EH_OK;
}

static eh_status make_streams(eh_batches *batches)
{
    const eh_training_set *set = batches->set;
    EH_TRY(EH_ALLOC(set->source_count + 1, &batches->streams));
    EH_TRY(add_stream(batches, -1, 0));
    int64_t replayed = 0;
    for (int64_t source = 0; source < set->source_count; source++) {
        if (set->replay[source] <= 0)
            continue;
        EH_TRY(add_stream(batches, source, set->replay[source]));
        replayed += batches->streams[batches->stream_count - 1].per_batch;
    }
    batches->streams[0].per_batch = batches->batch - replayed;
    if (batches->streams[0].count == 0)
        return eh_error(EH_INPUT,
                        "nothing to learn from: no training example in the shards (all held out or rejected?)");
    if (batches->streams[0].per_batch <= 0)
        return eh_error(EH_INPUT, "the replayed sets fill the whole batch of %lld: lower data.*.replay",
                        (long long)batches->batch);
    return EH_OK;
}

// --- A step -----------------------------------------------------------------------------------------------

static int64_t cost_of(const eh_training_set *set, int64_t example)
{
    return set->id_offsets[example + 1] - set->id_offsets[example] + set->decoder_offsets[example + 1] -
           set->decoder_offsets[example] + set->label_offsets[example + 1] - set->label_offsets[example];
}

// The dearest example first, each to the micro-batch with the least to do, so that ranks end together.
static void cut_into_micro_batches(eh_batches *batches)
{
    const int64_t count = batches->example_count, micro_count = batches->micro_count;
    int64_t *drawn = batches->drawn, *owner = batches->drawn + batches->batch, *load = batches->load;
    for (int64_t i = 1; i < count; i++) { // insertion: stable, in place, and batches are small
        const int64_t example = drawn[i], cost = cost_of(batches->set, example);
        int64_t at = i;
        for (; at > 0 && cost_of(batches->set, drawn[at - 1]) < cost; at--) drawn[at] = drawn[at - 1];
        drawn[at] = example;
    }
    memset(load, 0, (size_t)micro_count * sizeof *load);
    memset(batches->micro_first, 0, (size_t)(micro_count + 1) * sizeof *batches->micro_first);
    for (int64_t i = 0; i < count; i++) {
        int64_t lightest = 0;
        for (int64_t m = 1; m < micro_count; m++)
            if (load[m] < load[lightest])
                lightest = m;
        load[lightest] += cost_of(batches->set, drawn[i]);
        owner[i] = lightest;
        batches->micro_first[lightest + 1]++;
    }
    for (int64_t m = 0; m < micro_count; m++) {
        batches->micro_first[m + 1] += batches->micro_first[m];
        load[m] = batches->micro_first[m];
    }
    for (int64_t i = 0; i < count; i++) batches->examples[load[owner[i]]++] = drawn[i];
}

void eh_batches_plan(eh_batches *batches, int64_t step)
{
    const eh_stream_of_examples *main = &batches->streams[0];
    const int64_t epoch = step / batches->steps_per_epoch, step_in_epoch = step % batches->steps_per_epoch;
    batches->step = step;
    batches->pass = epoch;
    batches->example_count = 0;
    for (int64_t i = step_in_epoch * main->per_batch; i < (step_in_epoch + 1) * main->per_batch && i < main->count; i++)
        batches->drawn[batches->example_count++] = example_at(batches, 0, epoch * main->count + i);
    for (int64_t s = 1; s < batches->stream_count; s++)
        for (int64_t i = 0; i < batches->streams[s].per_batch; i++)
            batches->drawn[batches->example_count++] = example_at(batches, s, step * batches->streams[s].per_batch + i);
    batches->label_count = 0;
    for (int64_t i = 0; i < batches->example_count; i++)
        batches->label_count += eh_example_label_count(batches->set, batches->seed, epoch, batches->drawn[i]);
    cut_into_micro_batches(batches);
}

// --- Limits and held-out chunks ----------------------------------------------------------------------------

static void widen_limits(eh_batch_limits *limits, const eh_training_set *set, const int64_t *examples, int64_t count)
{
    int64_t tokens = 0, decoder_tokens = 0, labels = 0;
    for (int64_t i = 0; i < count; i++) {
        tokens += set->id_offsets[examples[i] + 1] - set->id_offsets[examples[i]];
        decoder_tokens += set->decoder_offsets[examples[i] + 1] - set->decoder_offsets[examples[i]];
        labels += set->label_offsets[examples[i] + 1] - set->label_offsets[examples[i]];
    }
    limits->tokens = tokens > limits->tokens ? tokens : limits->tokens;
    limits->decoder_tokens = decoder_tokens > limits->decoder_tokens ? decoder_tokens : limits->decoder_tokens;
    const int64_t sequences = count + eh_prefixes_most(count);
    limits->sequences = sequences > limits->sequences ? sequences : limits->sequences;
    limits->labels = labels > limits->labels ? labels : limits->labels;
}

static bool is_general(const eh_training_set *set, int64_t example)
{
    return set->replay[set->source[example]] > 0;
}

// The held-out examples of the sets that are replayed, or of the others, in chunks of `room`.
static void chunk_holdout(eh_batches *batches, bool general, int64_t room, int64_t *next, int64_t *label_count)
{
    const eh_training_set *set = batches->set;
    int64_t filled = 0;
    bool begun = false;
    for (int64_t i = 0; i < set->count; i++) {
        if (set->splits[i] != EH_SPLIT_HOLDOUT || is_general(set, i) != general)
            continue;
        if (!begun || filled + cost_of(set, i) > room) {
            batches->chunk_first[batches->chunk_count++] = *next;
            filled = 0;
        }
        begun = true;
        filled += cost_of(set, i);
        batches->holdout[(*next)++] = i;
        *label_count += eh_example_label_count(set, batches->seed, EH_HOLDOUT_PASS, i);
    }
}

// Chunks as long as the longest micro-batch, so that they need no more memory than training does.
static eh_status plan_holdout(eh_batches *batches)
{
    const eh_training_set *set = batches->set;
    int64_t longest_cost = 1, next = 0;
    for (int64_t i = 0; i < set->count; i++) {
        batches->holdout_count += set->splits[i] == EH_SPLIT_HOLDOUT;
        longest_cost = cost_of(set, i) > longest_cost ? cost_of(set, i) : longest_cost;
    }
    const int64_t usual = batches->limits.tokens + batches->limits.decoder_tokens + batches->limits.labels;
    const int64_t room = usual > longest_cost ? usual : longest_cost;
    EH_TRY(EH_ALLOC(batches->holdout_count, &batches->holdout));
    EH_TRY(EH_ALLOC(batches->holdout_count + 1, &batches->chunk_first));
    chunk_holdout(batches, false, room, &next, &batches->holdout_label_count);
    batches->general_chunk = batches->chunk_count;
    chunk_holdout(batches, true, room, &next, &batches->general_label_count);
    batches->chunk_first[batches->chunk_count] = next;
    for (int64_t c = 0; c < batches->chunk_count; c++)
        widen_limits(&batches->limits, set, batches->holdout + batches->chunk_first[c],
                     batches->chunk_first[c + 1] - batches->chunk_first[c]);
    return EH_OK;
}

eh_status eh_batches_init(const eh_training_set *set, const eh_job_train *train, uint64_t seed, eh_batches *batches)
{
    *batches = (eh_batches){.set = set, .seed = seed, .batch = train->batch, .micro_count = train->micro_batches};
    EH_TRY(make_streams(batches));
    const eh_stream_of_examples *main = &batches->streams[0];
    batches->steps_per_epoch = (main->count + main->per_batch - 1) / main->per_batch;
    batches->step_count = batches->steps_per_epoch * train->epochs;
    if (train->max_steps > 0 && train->max_steps < batches->step_count)
        batches->step_count = train->max_steps;
    EH_TRY(EH_ALLOC(batches->batch, &batches->examples));
    EH_TRY(EH_ALLOC(2 * batches->batch, &batches->drawn));
    EH_TRY(EH_ALLOC(batches->micro_count + 1, &batches->micro_first));
    EH_TRY(EH_ALLOC(batches->micro_count, &batches->load));
    for (int64_t step = 0; step < batches->step_count; step++) {
        eh_batches_plan(batches, step);
        for (int64_t m = 0; m < batches->micro_count; m++)
            widen_limits(&batches->limits, set, batches->examples + batches->micro_first[m],
                         batches->micro_first[m + 1] - batches->micro_first[m]);
    }
    for (int64_t i = 0; train->fisher > 0 && i < set->count; i++) // any of them may be looked at alone
        widen_limits(&batches->limits, set, &i, 1);
    return plan_holdout(batches);
}

void eh_batches_deinit(eh_batches *batches)
{
    for (int64_t s = 0; s < batches->stream_count; s++) {
        eh_free(&batches->streams[s].members);
        eh_free(&batches->streams[s].order);
    }
    eh_free(&batches->streams);
    eh_free(&batches->examples);
    eh_free(&batches->micro_first);
    eh_free(&batches->drawn);
    eh_free(&batches->load);
    eh_free(&batches->holdout);
    eh_free(&batches->chunk_first);
    *batches = (eh_batches){0};
}

// --- Packing ----------------------------------------------------------------------------------------------

eh_status eh_packed_batch_init(const eh_batch_limits *limits, eh_packed_batch *packed)
{
    *packed = (eh_packed_batch){0};
    EH_TRY(EH_ALLOC(limits->tokens, &packed->ids));
    EH_TRY(EH_ALLOC(limits->decoder_tokens, &packed->decoder_ids));
    EH_TRY(EH_ALLOC(limits->sequences, &packed->prefix));
    EH_TRY(EH_ALLOC(limits->labels, &packed->label_rows));
    EH_TRY(EH_ALLOC(limits->labels, &packed->label_ids));
    EH_TRY(EH_ALLOC(limits->labels, &packed->label_weights));
    EH_TRY(EH_ALLOC(limits->sequences + 1, &packed->offsets));
    EH_TRY(EH_ALLOC(limits->sequences + 1, &packed->decoder_offsets));
    return eh_prefixes_init(limits->sequences, &packed->prefixes);
}

void eh_packed_batch_deinit(eh_packed_batch *packed)
{
    eh_free(&packed->ids);
    eh_free(&packed->decoder_ids);
    eh_free(&packed->prefix);
    eh_free(&packed->label_rows);
    eh_free(&packed->label_ids);
    eh_free(&packed->label_weights);
    eh_free(&packed->offsets);
    eh_free(&packed->decoder_offsets);
    eh_prefixes_deinit(&packed->prefixes);
}

// Makes sequence s of ids; returns where they lie.
static int32_t *put_sequence(eh_packed_batch *packed, int64_t s, const int32_t *ids, int64_t count, int32_t prefix)
{
    int32_t *own = packed->ids + packed->offsets[s];
    if (count > 0)
        memcpy(own, ids, (size_t)count * sizeof *ids);
    packed->offsets[s + 1] = packed->offsets[s] + count;
    packed->decoder_offsets[s + 1] = packed->decoder_offsets[s];
    packed->prefix[s] = prefix;
    return own;
}

void eh_packed_batch_fill(eh_packed_batch *packed, const eh_training_set *set, uint64_t seed, int64_t pass,
                          const int64_t *examples, int64_t count, float label_weight)
{
    const bool has_decoder = set->facts.kind == EH_ENCODER_DECODER;
    eh_prefixes *prefixes = &packed->prefixes;
    int64_t labels = 0;
    prefixes->count = 0;
    if (packed->shares)
        eh_prefixes_find(prefixes, set, examples, count);
    packed->offsets[0] = packed->decoder_offsets[0] = 0;
    for (int64_t p = 0; p < prefixes->count; p++)
        put_sequence(packed, p, set->ids + set->id_offsets[examples[prefixes->first[p]]], prefixes->length[p], -1);
    for (int64_t i = 0; i < count; i++) {
        const int64_t example = examples[i], s = prefixes->count + i;
        const int32_t prefix = prefixes->count > 0 ? prefixes->of[i] : -1;
        const int64_t left_out = prefix >= 0 ? prefixes->length[prefix] : 0;
        const int64_t first = set->id_offsets[example] + left_out;
        int32_t *ids = put_sequence(packed, s, set->ids + first, set->id_offsets[example + 1] - first, prefix);
        const int64_t decoder_first = set->decoder_offsets[example];
        const int64_t decoder_tokens = set->decoder_offsets[example + 1] - decoder_first;
        if (decoder_tokens > 0)
            memcpy(packed->decoder_ids + packed->decoder_offsets[s], set->decoder_ids + decoder_first,
                   (size_t)decoder_tokens * sizeof *ids);
        packed->decoder_offsets[s + 1] += decoder_tokens;

        const int64_t row_base = has_decoder ? packed->decoder_offsets[s] : packed->offsets[s] - left_out;
        const int64_t label_first = set->label_offsets[example], label_end = set->label_offsets[example + 1];
        for (int64_t l = label_first; l < label_end; l++) {
            const int32_t row = set->label_rows[l];
            if (set->masked[example]) {
                eh_philox_block block;
                const masking how =
                    masking_of(seed, pass, example, row, set->label_rows[label_first], label_end - label_first, &block);
                if (how == KEEP_UNLEARNT)
                    continue;
                if (how == MASK)
                    ids[row] = set->facts.special.mask;
                else if (how == REPLACE)
                    ids[row] = (int32_t)((uint64_t)block.word[2] * (uint64_t)set->facts.vocab_size >> 32);
            }
            packed->label_rows[labels] = (int32_t)row_base + row;
            packed->label_ids[labels] = set->label_ids[l];
            packed->label_weights[labels] = label_weight;
            labels++;
        }
    }
    packed->batch = (eh_batch){.sequence_count = prefixes->count + count,
                               .input_ids = packed->ids,
                               .input_offsets = packed->offsets,
                               .decoder_ids = has_decoder ? packed->decoder_ids : NULL,
                               .decoder_offsets = has_decoder ? packed->decoder_offsets : NULL,
                               .prefix = prefixes->count > 0 ? packed->prefix : NULL,
                               .label_count = labels,
                               .label_rows = packed->label_rows,
                               .label_ids = packed->label_ids,
                               .label_weights = packed->label_weights};
}
