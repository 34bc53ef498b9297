#include "dataset/task.h"

#include <string.h>

#include "core/memory.h"
#include "core/philox.h"

static const char gap_fill_prompt[] = "Fill in the following sentence. {text}";
static const char rewrite_prompt[] = "Context : Make the following sentence more neutral.\n\nData : {text}";

enum { STUDY_LENGTH = 50, MASK_SHARE_PERCENT = 15 };

const char *eh_task_name(eh_task task)
{
    static const char *const names[] = {
        [EH_TASK_NONE] = "none", [EH_TASK_GAP_FILL] = "gap-fill",   [EH_TASK_REWRITE] = "rewrite",
        [EH_TASK_LM] = "lm",     [EH_TASK_PREFERRED] = "preferred",
    };
    return names[task];
}

static bool trains(const eh_task_maker *maker)
{
    return maker->data->use != EH_USE_EVALUATE;
}

static bool overlays(const eh_task_maker *maker)
{
    return maker->model->family == EH_FAMILY_DECODER && maker->data->label_layout == EH_LABELS_OVERLAY &&
           (maker->data->task == EH_TASK_GAP_FILL || maker->data->task == EH_TASK_REWRITE);
}

const char *eh_task_layout(const eh_task_maker *maker)
{
    if (!trains(maker) && maker->data->task == EH_TASK_NONE)
        return "none";
    if (maker->model->family == EH_FAMILY_MASKED)
        return "masked";
    if (maker->model->family == EH_FAMILY_ENCODER_DECODER)
        return "seq2seq";
    return overlays(maker) ? "overlay" : "append";
}

static eh_status check_task(const eh_task_maker *maker)
{
    const eh_task task = maker->data->task;
    const eh_record_kind kind = maker->format->kind;
    if ((task == EH_TASK_GAP_FILL || task == EH_TASK_PREFERRED) && kind != EH_RECORD_PAIR)
        return eh_error(EH_INPUT, "task '%s' needs pairs of sentences, and format '%s' has none", eh_task_name(task),
                        maker->format->name);
    if (task == EH_TASK_REWRITE && kind != EH_RECORD_PAIR && maker->format->roles.completion < 0)
        return eh_error(EH_INPUT, "task 'rewrite' needs pairs, or prompts with completions; format '%s' has neither",
                        maker->format->name);
    if (task == EH_TASK_REWRITE && maker->model->family == EH_FAMILY_MASKED)
        return eh_error(EH_INPUT, "a masked model can't learn task 'rewrite': use gap-fill, lm or preferred");
    if (maker->data->use == EH_USE_TRAIN && task == EH_TASK_NONE && kind != EH_RECORD_PROMPT)
        return eh_error(EH_INPUT, "use: train needs a task: gap-fill, rewrite, lm or preferred");
    return maker->data->prompt != NULL ? eh_template_check(maker->data->prompt) : EH_OK;
}

eh_status eh_task_maker_init(const eh_data_format *format, const eh_job_data *data, const eh_text_model *model,
                             uint64_t seed, eh_task_maker *maker)
{
    *maker = (eh_task_maker){.format = format, .data = data, .model = model, .seed = seed, .prompt = ""};
    if (data->prompt != NULL)
        maker->prompt = data->prompt;
    else if (data->task == EH_TASK_GAP_FILL)
        maker->prompt = gap_fill_prompt;
    else if (data->task == EH_TASK_REWRITE)
        maker->prompt = format->kind == EH_RECORD_PROMPT ? "{text}" : rewrite_prompt;
    else if (format->kind == EH_RECORD_PROMPT)
        maker->prompt = "{text}{answer}";
    maker->max_input = data->max_length > 0 ? data->max_length : overlays(maker) ? STUDY_LENGTH : model->max_length;
    maker->max_target = maker->max_input;
    return check_task(maker);
}

void eh_task_maker_deinit(eh_task_maker *maker)
{
    eh_encoding_deinit(&maker->encoding);
    eh_gap_deinit(&maker->gap);
    eh_expansion_deinit(&maker->expansion);
    eh_free(&maker->input);
    eh_free(&maker->target);
    *maker = (eh_task_maker){0};
}

static eh_status append(const int32_t *ids, int64_t count, int32_t **list, int64_t *list_count, int64_t *capacity)
{
    EH_TRY(eh_reserve(*list_count + count, capacity, sizeof **list, (void **)list));
    if (count > 0)
        memcpy(*list + *list_count, ids, (size_t)count * sizeof *ids);
    *list_count += count;
    return EH_OK;
}
#define APPEND_INPUT(ids, count) append((ids), (count), &maker->input, &maker->input_count, &maker->input_capacity)
#define APPEND_TARGET(ids, count) append((ids), (count), &maker->target, &maker->target_count, &maker->target_capacity)

static eh_status encode(eh_task_maker *maker, eh_text text, eh_special special)
{
    return eh_tokenizer_encode(maker->model->tokenizer, text.bytes, text.size, special, &maker->encoding);
}

static eh_special special_of(const eh_task_maker *maker)
{
    return maker->model->family == EH_FAMILY_DECODER ? EH_WITHOUT_SPECIAL : EH_WITH_SPECIAL;
}

// What a record holds beside its text, and where the example goes.
typedef struct {
    const eh_records *records;
    const eh_record *record;
    uint16_t group;
    eh_split split;
    eh_examples *examples;
} destination;

static eh_status finish(eh_task_maker *maker, const destination *to)
{
    const eh_example example = {
        .input = maker->input,
        .input_count = maker->input_count,
        .target = maker->target,
        .target_count = maker->target_count,
        .group = to->group,
        .source_row = to->record->row,
        .split = to->split,
        .text = to->records->text.bytes + to->record->text_begin,
        .text_size = (size_t)to->record->text_size,
    };
    EH_TRY(eh_examples_add(to->examples, &example));
    maker->input_count = maker->target_count = 0;
    return EH_OK;
}

// --- Prompt and answer --------------------------------------------------------------------------------------------
// Takes the encoded input without its excess: the last tokens of the record's own text go, never the instruction's or
// special ones. *fits is false if that is not enough.
static eh_status take_input(eh_task_maker *maker, int64_t limit, bool *fits)
{
    const eh_encoding *e = &maker->encoding;
    int64_t excess = e->count > limit ? e->count - limit : 0;
    if (excess > 0)
        maker->truncated++;
    const int64_t begin = maker->input_count;
    for (int64_t i = e->count - 1; i >= 0; i--) {
        const bool own = e->sources[i] != EH_TOKEN_ADDED && (int64_t)e->offsets[i][0] >= maker->expansion.field_begin &&
                         (int64_t)e->offsets[i][1] <= maker->expansion.field_end;
        if (excess > 0 && own)
            excess--;
        else
            EH_TRY(APPEND_INPUT(&e->ids[i], 1));
    }
    *fits = excess == 0;
    for (int64_t i = begin, j = maker->input_count - 1; i < j; i++, j--) { // they were taken from the end
        const int32_t id = maker->input[i];
        maker->input[i] = maker->input[j];
        maker->input[j] = id;
    }
    return EH_OK;
}

static eh_text trimmed(const eh_string *text)
{
    size_t skip = 0;
    while (skip < text->size && (text->bytes[skip] == ' ' || text->bytes[skip] == '\n')) skip++;
    return (eh_text){.bytes = text->bytes + skip, .size = text->size - skip};
}

static eh_status take_target(eh_task_maker *maker, const eh_string *target)
{
    const eh_text whole = {.bytes = target->bytes, .size = target->size};
    const bool spaced = maker->model->family == EH_FAMILY_DECODER && !overlays(maker) && trimmed(target).size > 0;
    EH_TRY(encode(maker, spaced ? whole : trimmed(target), special_of(maker)));
    EH_TRY(APPEND_TARGET(maker->encoding.ids, maker->encoding.count));
    if (maker->model->family == EH_FAMILY_DECODER && !overlays(maker))
        return APPEND_TARGET(&maker->model->end, 1);
    return EH_OK;
}

// The study's own way: each part by itself, cut on the right.
static eh_status make_overlay(eh_task_maker *maker, const destination *to)
{
    const eh_text input = {.bytes = maker->expansion.input.bytes, .size = maker->expansion.input.size};
    EH_TRY(encode(maker, input, EH_WITHOUT_SPECIAL));
    bool cut = maker->encoding.count > maker->max_input;
    EH_TRY(eh_encoding_truncate(&maker->encoding, maker->max_input));
    EH_TRY(APPEND_INPUT(maker->encoding.ids, maker->encoding.count));
    EH_TRY(encode(maker, trimmed(&maker->expansion.target), EH_WITHOUT_SPECIAL));
    cut = cut || maker->encoding.count > maker->max_input;
    maker->truncated += cut;
    EH_TRY(eh_encoding_truncate(&maker->encoding, maker->max_input));
    EH_TRY(APPEND_TARGET(maker->encoding.ids, maker->encoding.count));
    return finish(maker, to);
}

static eh_status make_prompted(eh_task_maker *maker, const eh_template_values *values, const destination *to,
                               const char **reason)
{
    bool fits = true;
    EH_TRY(eh_template_expand(maker->prompt, values, &maker->expansion));
    if (overlays(maker))
        return make_overlay(maker, to);
    EH_TRY(take_target(maker, &maker->expansion.target));
    const bool shared = maker->model->family == EH_FAMILY_DECODER; // prompt and answer share the positions
    const int64_t room = shared ? maker->max_input - maker->target_count : maker->max_input;
    const eh_text input = {.bytes = maker->expansion.input.bytes, .size = maker->expansion.input.size};
    EH_TRY(encode(maker, input, special_of(maker)));
    EH_TRY(take_input(maker, room, &fits));
    if (!fits || (!shared && maker->target_count > maker->max_target)) {
        maker->input_count = maker->target_count = 0;
        *reason = "instruction and answer are longer than max_length";
        return EH_OK;
    }
    return finish(maker, to);
}

// --- Language modelling ---------------------------------------------------------------------------------------------
// A decoder's document: pieces of the greatest length, each token predicted once. The first piece begins behind
// `start`, a later one behind the last token of the piece before.
static eh_status make_pieces(eh_task_maker *maker, eh_text text, const destination *to)
{
    EH_TRY(encode(maker, text, EH_WITHOUT_SPECIAL));
    const eh_encoding *e = &maker->encoding;
    const int64_t total = e->count + 1, longest = maker->max_input > 1 ? maker->max_input - 1 : 1;
    for (int64_t at = 0; at < total; at += longest) {
        const int64_t count = total - at < longest ? total - at : longest, ends = at + count == total;
        EH_TRY(APPEND_INPUT(at == 0 ? &maker->model->start : &e->ids[at - 1], 1));
        EH_TRY(APPEND_TARGET(e->ids + at, count - ends));
        if (ends)
            EH_TRY(APPEND_TARGET(&maker->model->end, 1));
        EH_TRY(finish(maker, to));
    }
    return EH_OK;
}

// An encoder-decoder's: nothing but EOS in the source, the text as target.
static eh_status make_unconditional(eh_task_maker *maker, eh_text text, const destination *to)
{
    EH_TRY(APPEND_INPUT(&maker->model->end, 1));
    EH_TRY(encode(maker, text, EH_WITH_SPECIAL));
    maker->truncated += maker->encoding.count > maker->max_target;
    EH_TRY(eh_encoding_truncate(&maker->encoding, maker->max_target));
    EH_TRY(APPEND_TARGET(maker->encoding.ids, maker->encoding.count));
    return finish(maker, to);
}

// Masks the tokens for which `masked` says so and makes them the target.
static eh_status mask_tokens(eh_task_maker *maker, const bool *masked, const destination *to)
{
    const eh_encoding *e = &maker->encoding;
    for (int64_t i = 0; i < e->count; i++) {
        EH_TRY(APPEND_INPUT(masked[i] ? &maker->model->mask : &e->ids[i], 1));
        if (masked[i])
            EH_TRY(APPEND_TARGET(&e->ids[i], 1));
    }
    return finish(maker, to);
}

// Masked language modelling: 15 % of the tokens, at least one, drawn from (seed, row, position).
static eh_status make_masked_text(eh_task_maker *maker, eh_text text, const destination *to, const char **reason)
{
    bool *masked = NULL;
    EH_TRY(encode(maker, text, EH_WITH_SPECIAL));
    maker->truncated += maker->encoding.count > maker->max_input;
    EH_TRY(eh_encoding_truncate(&maker->encoding, maker->max_input));
    EH_TRY(EH_ALLOC(maker->encoding.count, &masked));
    uint64_t least = UINT64_MAX;
    int64_t first = -1, count = 0;
    for (int64_t i = 0; i < maker->encoding.count; i++) {
        if (maker->encoding.sources[i] == EH_TOKEN_ADDED)
            continue;
        const uint64_t draw = eh_random_u64(maker->seed, EH_STREAM_SHUFFLE, to->record->row << 20 | (uint64_t)i);
        masked[i] = eh_random_scale(draw, 100) < MASK_SHARE_PERCENT;
        count += masked[i];
        if (draw < least) {
            least = draw;
            first = i;
        }
    }
    if (count == 0 && first >= 0)
        masked[first] = true;
    eh_status status = EH_OK;
    if (first < 0)
        *reason = "no tokens to mask";
    else
        status = mask_tokens(maker, masked, to);
    eh_free(&masked);
    return status;
}

static eh_status make_text(eh_task_maker *maker, eh_text text, const destination *to, const char **reason)
{
    switch (maker->model->family) {
    case EH_FAMILY_DECODER:
        return make_pieces(maker, text, to);
    case EH_FAMILY_ENCODER_DECODER:
        return make_unconditional(maker, text, to);
    case EH_FAMILY_MASKED:
        return make_masked_text(maker, text, to, reason);
    }
    return EH_OK;
}

// --- Pairs ----------------------------------------------------------------------------------------------------------
// A masked model's gap-fill: the preferred sentence with its changed words masked.
static eh_status make_masked_gap(eh_task_maker *maker, const eh_template_values *values, const destination *to,
                                 const char **reason)
{
    bool *masked = NULL;
    int64_t count = 0;
    EH_TRY(encode(maker, values->answer, EH_WITH_SPECIAL));
    const eh_encoding *e = &maker->encoding;
    EH_TRY(EH_ALLOC(e->count, &masked));
    for (int64_t i = 0; i < e->count; i++) {
        for (int64_t s = 0; s < maker->gap.span_count && e->sources[i] != EH_TOKEN_ADDED; s++)
            masked[i] = masked[i] || ((int64_t)e->offsets[i][0] < maker->gap.changed[s][1] &&
                                      (int64_t)e->offsets[i][1] > maker->gap.changed[s][0]);
        count += masked[i];
    }
    eh_status status = EH_OK;
    if (count == 0)
        *reason = "no word of the preferred sentence is new";
    else if (e->count > maker->max_input)
        *reason = "longer than max_length";
    else
        status = mask_tokens(maker, masked, to);
    eh_free(&masked);
    return status;
}

static eh_status make_gap(eh_task_maker *maker, eh_template_values *values, const destination *to, const char **reason)
{
    EH_TRY(eh_gap_find(values->text.bytes, values->text.size, values->answer.bytes, values->answer.size,
                       maker->data->blank, &maker->gap));
    if (maker->gap.span_count == 0) {
        *reason = "the two sentences are the same";
        return EH_OK;
    }
    if (maker->model->family == EH_FAMILY_MASKED)
        return make_masked_gap(maker, values, to, reason);
    values->text = (eh_text){.bytes = maker->gap.blanked.bytes, .size = maker->gap.blanked.size};
    values->answer = (eh_text){.bytes = maker->gap.answer.bytes, .size = maker->gap.answer.size};
    return make_prompted(maker, values, to, reason);
}

// Which sentence is the text and which the answer: true if the more stereotypical one is the text.
static bool more_is_text(const eh_task_maker *maker, const eh_records *records, const eh_record *record)
{
    const eh_text direction = eh_record_field(records, record, maker->format->roles.direction);
    switch (maker->data->pair_order) {
    case EH_ORDER_GROUP:
        return direction.size == 6 && memcmp(direction.bytes, "stereo", 6) == 0;
    case EH_ORDER_RANDOM:
        return eh_random_below(maker->seed, EH_STREAM_DIRECTION, record->row, 2) == 0;
    case EH_ORDER_REVERSED:
        return false;
    case EH_ORDER_STEREOTYPE:
    case EH_ORDER_BOTH:
        break;
    }
    return true;
}

static eh_template_values pair_values(const eh_task_maker *maker, const eh_records *records, const eh_record *record,
                                      bool more_first)
{
    const eh_field_roles *roles = &maker->format->roles;
    eh_template_values values = {.more = eh_record_field(records, record, roles->more),
                                 .less = eh_record_field(records, record, roles->less),
                                 .context = {.bytes = "", .size = 0}};
    values.text = more_first ? values.more : values.less;
    values.answer = more_first ? values.less : values.more;
    return values;
}

static eh_status make_pair(eh_task_maker *maker, const destination *to, bool more_first, const char **reason)
{
    eh_template_values values = pair_values(maker, to->records, to->record, more_first);
    switch (maker->data->task) {
    case EH_TASK_GAP_FILL:
        return make_gap(maker, &values, to, reason);
    case EH_TASK_REWRITE:
        return make_prompted(maker, &values, to, reason);
    case EH_TASK_PREFERRED:
        return make_text(maker, values.answer, to, reason);
    case EH_TASK_LM: // both sentences
        EH_TRY(make_text(maker, values.text, to, reason));
        return make_text(maker, values.answer, to, reason);
    case EH_TASK_NONE:
        break;
    }
    return EH_OK;
}

// --- Evaluation items
// ------------------------------------------------------------------------------------------------- The context and the
// sentences to be scored after it. Metrics that ask in other words (prompts, infilling) tokenize the record's text
// themselves.
typedef struct {
    eh_text context;
    eh_text candidates[EH_RECORD_LABELS];
    int8_t labels[EH_RECORD_LABELS];
    int count;
} item_parts;

static item_parts parts_of(const eh_task_maker *maker, const destination *to)
{
    const eh_field_roles *roles = &maker->format->roles;
    item_parts parts = {.context = {.bytes = "", .size = 0}};
    if (maker->format->kind == EH_RECORD_PAIR) {
        parts.candidates[0] = eh_record_field(to->records, to->record, roles->more);
        parts.candidates[1] = eh_record_field(to->records, to->record, roles->less);
        parts.labels[0] = EH_LABEL_STEREOTYPE;
        parts.labels[1] = EH_LABEL_ANTI_STEREOTYPE;
        parts.count = 2;
    } else if (maker->format->kind == EH_RECORD_ITEM) {
        const eh_text context = eh_record_field(to->records, to->record, roles->context);
        bool blank = false; // an intrasentence context is contained in its sentences
        for (size_t i = 0; i + 5 <= context.size && !blank; i++) blank = memcmp(context.bytes + i, "BLANK", 5) == 0;
        parts.context = blank ? parts.context : context;
        parts.count = EH_RECORD_LABELS;
        for (int c = 0; c < parts.count; c++) {
            parts.candidates[c] = eh_record_field(to->records, to->record, roles->sentence + c);
            parts.labels[c] = to->record->labels[c];
        }
    } else if (maker->format->kind == EH_RECORD_PROMPT) {
        parts.context = eh_record_field(to->records, to->record, roles->prompt);
    }
    return parts;
}

static eh_status make_item(eh_task_maker *maker, const destination *to)
{
    const item_parts parts = parts_of(maker, to);
    const bool decoder = maker->model->family == EH_FAMILY_DECODER;
    int64_t lengths[EH_RECORD_LABELS];
    eh_string spaced = {0};
    eh_status status = EH_OK;
    if (decoder)
        EH_TRY_OR(done, APPEND_INPUT(&maker->model->start, 1));
    EH_TRY_OR(done, encode(maker, parts.context, special_of(maker)));
    EH_TRY_OR(done, APPEND_INPUT(maker->encoding.ids, maker->encoding.count));
    for (int c = 0; c < parts.count; c++) {
        eh_string_clear(&spaced);
        EH_TRY_OR(done, eh_string_append_text(&spaced, decoder && parts.context.size > 0 ? " " : ""));
        EH_TRY_OR(done, eh_string_append(&spaced, parts.candidates[c].bytes, parts.candidates[c].size));
        EH_TRY_OR(done, encode(maker, (eh_text){.bytes = spaced.bytes, .size = spaced.size}, special_of(maker)));
        EH_TRY_OR(done, APPEND_TARGET(maker->encoding.ids, maker->encoding.count));
        lengths[c] = maker->encoding.count;
    }
    const eh_example example = {
        .input = maker->input,
        .input_count = maker->input_count,
        .candidate_ids = maker->target,
        .candidate_lengths = lengths,
        .labels = parts.labels,
        .candidate_count = parts.count,
        .group = to->group,
        .source_row = to->record->row,
        .split = to->split,
        .text = to->records->text.bytes + to->record->text_begin,
        .text_size = (size_t)to->record->text_size,
    };
    EH_TRY_OR(done, eh_examples_add(to->examples, &example));
done:
    maker->input_count = maker->target_count = 0;
    eh_string_deinit(&spaced);
    return status;
}

// --- Any record
// -------------------------------------------------------------------------------------------------------
static eh_status make_prompt_record(eh_task_maker *maker, const destination *to, const char **reason)
{
    const eh_field_roles *roles = &maker->format->roles;
    const eh_text prompt = eh_record_field(to->records, to->record, roles->prompt);
    const eh_text completion = eh_record_field(to->records, to->record, roles->completion);
    const eh_template_values values = {.text = prompt,
                                       .answer = completion,
                                       .context = prompt,
                                       .more = {.bytes = "", .size = 0},
                                       .less = {.bytes = "", .size = 0}};
    if (completion.size == 0 && maker->data->task != EH_TASK_LM) {
        *reason = "no completion to learn";
        return EH_OK;
    }
    if (maker->data->task != EH_TASK_LM)
        return make_prompted(maker, &values, to, reason);
    EH_TRY(eh_template_expand("{text}{answer}", &values, &maker->expansion));
    eh_string *whole = &maker->expansion.input;
    EH_TRY(eh_string_append(whole, maker->expansion.target.bytes, maker->expansion.target.size));
    return make_text(maker, (eh_text){.bytes = whole->bytes, .size = whole->size}, to, reason);
}

eh_status eh_task_make(eh_task_maker *maker, const eh_records *records, const eh_record *record, uint16_t group,
                       eh_split split, eh_examples *examples, const char **reason)
{
    const destination to = {.records = records, .record = record, .group = group, .split = split, .examples = examples};
    *reason = NULL;
    maker->input_count = maker->target_count = 0;
    if (!trains(maker) && (maker->data->task == EH_TASK_NONE || maker->format->kind == EH_RECORD_ITEM))
        return maker->format->kind == EH_RECORD_TEXT
                   ? make_text(maker, eh_record_field(records, record, maker->format->roles.text), &to, reason)
                   : make_item(maker, &to);
    switch (maker->format->kind) {
    case EH_RECORD_PAIR: {
        const bool more_first = more_is_text(maker, records, record);
        EH_TRY(make_pair(maker, &to, more_first, reason));
        if (maker->data->pair_order == EH_ORDER_BOTH && *reason == NULL && maker->data->task != EH_TASK_LM)
            return make_pair(maker, &to, !more_first, reason);
        return EH_OK;
    }
    case EH_RECORD_PROMPT:
        return make_prompt_record(maker, &to, reason);
    case EH_RECORD_TEXT:
        return make_text(maker, eh_record_field(records, record, maker->format->roles.text), &to, reason);
    case EH_RECORD_ITEM:
        return make_item(maker, &to);
    }
    return EH_OK;
}

eh_status eh_task_bare_length(eh_task_maker *maker, const eh_records *records, const eh_record *record,
                              int64_t *text_tokens, int64_t *answer_tokens)
{
    const eh_template_values values = pair_values(maker, records, record, more_is_text(maker, records, record));
    EH_TRY(encode(maker, values.text, EH_WITH_SPECIAL));
    *text_tokens = maker->encoding.count;
    EH_TRY(encode(maker, values.answer, EH_WITH_SPECIAL));
    *answer_tokens = maker->encoding.count;
    return EH_OK;
}
