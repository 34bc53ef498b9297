#include "text/pre_tokenizer.h"

#include <string.h>

#include "text/unicode_classes.h"
#include "text/utf8.h"

// --- Reading the description ---

static eh_status add_step(eh_pre_tokenizer *pre_tokenizer, eh_step_kind kind, eh_pre_tokenizer_step **step)
{
    EH_TRY(eh_reserve(pre_tokenizer->count + 1, &pre_tokenizer->capacity, sizeof *pre_tokenizer->steps,
                      (void **)&pre_tokenizer->steps));
    *step = &pre_tokenizer->steps[pre_tokenizer->count++];
    **step = (eh_pre_tokenizer_step){.kind = kind};
    return EH_OK;
}

static eh_status add_space_step(eh_pre_tokenizer *pre_tokenizer)
{
    eh_pre_tokenizer_step *step = NULL;
    return add_step(pre_tokenizer, EH_STEP_SPACES, &step);
}

static eh_status read_behavior(const char *what, const json_t *value, eh_split_behavior *behavior)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(value);
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *behavior = (eh_split_behavior)i;
            return EH_OK;
        }
    return eh_error(EH_INPUT, "pre_tokenizer: %s: behavior '%s' is not known", what, name != NULL ? name : "(none)");
}

static eh_status add_split(const json_t *description, eh_pre_tokenizer *pre_tokenizer)
{
    const json_t *pattern = json_object_get(description, "pattern");
    const json_t *expression = json_object_get(pattern, "Regex"), *text = json_object_get(pattern, "String");
    eh_pre_tokenizer_step *step = NULL;
    EH_TRY(add_step(pre_tokenizer, EH_STEP_SPLIT, &step));
    EH_TRY(read_behavior("Split", json_object_get(description, "behavior"), &step->behavior));
    step->invert = json_is_true(json_object_get(description, "invert"));
    if (json_is_string(expression))
        return eh_pattern_open(json_string_value(expression), &step->pattern);
    if (json_is_string(text))
        return eh_pattern_open_literal(json_string_value(text), json_string_length(text), &step->pattern);
    return eh_error(EH_INPUT, "pre_tokenizer: Split needs a pattern {\"Regex\": ...} or {\"String\": ...}");
}

// BERT's punctuation, cut as `behavior` says.
static eh_status add_punctuation(eh_split_behavior behavior, eh_pre_tokenizer *pre_tokenizer)
{
    eh_pre_tokenizer_step *step = NULL;
    EH_TRY(add_step(pre_tokenizer, EH_STEP_SPLIT, &step));
    step->behavior = behavior;
    return eh_pattern_open_class(eh_is_bert_punctuation, &step->pattern);
}

static eh_status add_delimiter(const json_t *delimiter, eh_pre_tokenizer *pre_tokenizer)
{
    eh_pre_tokenizer_step *step = NULL;
    if (json_string_length(delimiter) == 0)
        return eh_error(EH_INPUT, "pre_tokenizer: CharDelimiterSplit needs a delimiter");
    EH_TRY(add_step(pre_tokenizer, EH_STEP_SPLIT, &step));
    step->behavior = EH_REMOVED;
    return eh_pattern_open_literal(json_string_value(delimiter), json_string_length(delimiter), &step->pattern);
}

static eh_status add_byte_level(const json_t *description, eh_pre_tokenizer *pre_tokenizer)
{
    eh_pre_tokenizer_step *step = NULL;
    pre_tokenizer->over_bytes = true;
    if (json_is_true(json_object_get(description, "add_prefix_space")))
        EH_TRY(add_step(pre_tokenizer, EH_STEP_BYTE_LEVEL, &step));
    if (json_is_false(json_object_get(description, "use_regex")))
        return EH_OK;
    EH_TRY(add_step(pre_tokenizer, EH_STEP_SPLIT, &step));
    step->behavior = EH_ISOLATED;
    return eh_pattern_open(EH_PATTERN_GPT2, &step->pattern);
}

static eh_status add_metaspace(const json_t *description, eh_pre_tokenizer *pre_tokenizer)
{
    const json_t *replacement = json_object_get(description, "replacement");
    const char *scheme = json_string_value(json_object_get(description, "prepend_scheme"));
    eh_pre_tokenizer_step *step = NULL;
    EH_TRY(add_step(pre_tokenizer, EH_STEP_METASPACE, &step));
    const size_t size = json_string_length(replacement);
    uint32_t character = 0;
    if (size > 0)
        (void)eh_utf8_read(json_string_value(replacement), &character);
    if (size == 0 || character != size)
        return eh_error(EH_INPUT, "pre_tokenizer: Metaspace: the replacement must be one character");
    memcpy(step->replacement, json_string_value(replacement), size);
    step->replacement_size = (uint32_t)size;
    step->cut = !json_is_false(json_object_get(description, "split"));
    step->prepend = EH_PREPEND_ALWAYS;
    if (json_is_false(json_object_get(description, "add_prefix_space")) ||
        (scheme != NULL && strcmp(scheme, "never") == 0))
        step->prepend = EH_PREPEND_NEVER;
    else if (scheme != NULL && strcmp(scheme, "first") == 0)
        step->prepend = EH_PREPEND_FIRST;
    else if (scheme != NULL && strcmp(scheme, "always") != 0)
        return eh_error(EH_INPUT, "pre_tokenizer: Metaspace: prepend_scheme '%s' is not known", scheme);
    return EH_OK;
}

static eh_status add_described(const json_t *description, int depth, eh_pre_tokenizer *pre_tokenizer)
{
    const char *type = json_string_value(json_object_get(description, "type"));
    eh_pre_tokenizer_step *step = NULL;
    if (type == NULL)
        return eh_error(EH_INPUT, "pre_tokenizer: there is no type");
    if (strcmp(type, "Sequence") == 0 && depth < 8) {
        const json_t *list = json_object_get(description, "pretokenizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            EH_TRY(add_described(json_array_get(list, i), depth + 1, pre_tokenizer));
        return EH_OK;
    }
    if (strcmp(type, "Split") == 0)
        return add_split(description, pre_tokenizer);
    if (strcmp(type, "ByteLevel") == 0)
        return add_byte_level(description, pre_tokenizer);
    if (strcmp(type, "Metaspace") == 0)
        return add_metaspace(description, pre_tokenizer);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_space_step(pre_tokenizer);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        EH_TRY(add_space_step(pre_tokenizer));
        return add_punctuation(EH_ISOLATED, pre_tokenizer);
    }
    if (strcmp(type, "Whitespace") == 0)
        return add_step(pre_tokenizer, EH_STEP_WORDS, &step);
    if (strcmp(type, "Punctuation") == 0) {
        const json_t *value = json_object_get(description, "behavior");
        eh_split_behavior behavior = EH_ISOLATED;
        if (value != NULL)
            EH_TRY(read_behavior("Punctuation", value, &behavior));
        return add_punctuation(behavior, pre_tokenizer);
    }
    if (strcmp(type, "CharDelimiterSplit") == 0)
        return add_delimiter(json_object_get(description, "delimiter"), pre_tokenizer);
    if (strcmp(type, "Digits") == 0) {
        EH_TRY(add_step(pre_tokenizer, EH_STEP_DIGITS, &step));
        step->individual = json_is_true(json_object_get(description, "individual_digits"));
        return EH_OK;
    }
    return eh_error(EH_INPUT,
                    "pre_tokenizer: %s is not supported: Sequence, Split, ByteLevel, Metaspace, Whitespace, "
                    "WhitespaceSplit, BertPreTokenizer, Punctuation, Digits and CharDelimiterSplit are",
                    type);
}

eh_status eh_pre_tokenizer_init(const json_t *description, eh_pre_tokenizer *pre_tokenizer)
{
    if (description == NULL || json_is_null(description))
        return EH_OK;
    return add_described(description, 0, pre_tokenizer);
}

void eh_pre_tokenizer_deinit(eh_pre_tokenizer *pre_tokenizer)
{
    for (int64_t i = 0; i < pre_tokenizer->count; i++) eh_pattern_close(&pre_tokenizer->steps[i].pattern);
    eh_free(&pre_tokenizer->steps);
    *pre_tokenizer = (eh_pre_tokenizer){0};
}

// --- Cutting ---

static inline bool is_space_at(const char *bytes, uint32_t at, uint32_t *size)
{
    const uint8_t byte = (uint8_t)bytes[at];
    if (byte < 0x80) {
        *size = 1;
        return (eh_ascii_classes[byte] & EH_ASCII_SPACE) != 0;
    }
    return eh_is_space(eh_utf8_read(bytes + at, size));
}

static eh_status cut_spaces(const char *bytes, uint32_t begin, uint32_t end, eh_pieces *pieces)
{
    uint32_t word = begin, size;
    for (uint32_t at = begin; at < end; at += size)
        if (is_space_at(bytes, at, &size)) {
            EH_TRY(eh_pieces_add(pieces, word, at, -1));
            word = at + size;
        }
    return eh_pieces_add(pieces, word, end, -1);
}

static eh_status cut_words(const char *bytes, uint32_t begin, uint32_t end, eh_pieces *pieces)
{
    enum { SPACE, WORD, OTHER } before = SPACE, class = SPACE;
    uint32_t word = begin, size;
    for (uint32_t at = begin; at < end; at += size, before = class) {
        const uint32_t code_point = eh_utf8_read(bytes + at, &size);
        class = eh_is_word(code_point) ? WORD : eh_is_space(code_point) ? SPACE : OTHER;
        if (class == before)
            continue;
        if (before != SPACE)
            EH_TRY(eh_pieces_add(pieces, word, at, -1));
        word = at;
    }
    return class != SPACE ? eh_pieces_add(pieces, word, end, -1) : EH_OK;
}

static eh_status cut_digits(const eh_pre_tokenizer_step *step, const char *bytes, uint32_t begin, uint32_t end,
                            eh_pieces *pieces)
{
    uint32_t word = begin, size;
    bool in_number = false;
    for (uint32_t at = begin; at < end; at += size) {
        const bool number = eh_is_numeric(eh_utf8_read(bytes + at, &size));
        if (number != in_number || (number && step->individual)) {
            EH_TRY(eh_pieces_add(pieces, word, at, -1));
            word = at;
        }
        in_number = number;
    }
    return eh_pieces_add(pieces, word, end, -1);
}

static eh_status cut(const eh_pre_tokenizer_step *step, const char *bytes, uint32_t begin, uint32_t end,
                     eh_pieces *pieces)
{
    switch (step->kind) {
    case EH_STEP_SPACES:
        return cut_spaces(bytes, begin, end, pieces);
    case EH_STEP_WORDS:
        return cut_words(bytes, begin, end, pieces);
    case EH_STEP_DIGITS:
        return cut_digits(step, bytes, begin, end, pieces);
    default:
        return eh_pattern_split(step->pattern, bytes, begin, end, step->behavior, step->invert, pieces);
    }
}

// --- Rewriting: steps that change the text copy it ---

static eh_status copy_bytes(eh_source source, uint32_t begin, uint32_t end, eh_aligned *text)
{
    EH_TRY(eh_aligned_reserve(text, end - begin));
    memcpy(text->bytes + text->size, source.bytes + begin, end - begin);
    if (source.origins != NULL)
        memcpy(text->origins + text->size, source.origins + begin, (end - begin) * sizeof *source.origins);
    else
        for (uint32_t at = begin; at < end; at++) text->origins[text->size + at - begin] = eh_origin_at(source, at);
    text->size += end - begin;
    return EH_OK;
}

// Spaces become the replacement, which is put before the piece as well; then it is cut before each replacement.
static eh_status metaspace(const eh_pre_tokenizer_step *step, eh_source source, eh_piece piece, eh_aligned *text,
                           eh_pieces *pieces)
{
    const char *bytes = source.bytes;
    const uint32_t size = step->replacement_size;
    const bool starts_so = bytes[piece.begin] == ' ' || (piece.end - piece.begin >= size &&
                                                         memcmp(bytes + piece.begin, step->replacement, size) == 0);
    const eh_origin first = eh_origin_at(source, piece.begin);
    const bool prepend =
        !starts_so && (step->prepend == EH_PREPEND_ALWAYS || (step->prepend == EH_PREPEND_FIRST && first.begin == 0));
    uint32_t word = (uint32_t)text->size;
    if (prepend) {
        EH_TRY(eh_aligned_reserve(text, size));
        eh_aligned_put(text, step->replacement, size, first);
    }
    for (uint32_t at = piece.begin, stop; at < piece.end; at = stop) {
        stop = at;
        while (stop < piece.end && bytes[stop] != ' ' &&
               (bytes[stop] != step->replacement[0] || stop == at || piece.end - stop < size ||
                memcmp(bytes + stop, step->replacement, size) != 0))
            stop++;
        const bool begins_word = bytes[at] == ' ' || (stop > at && piece.end - at >= size &&
                                                      memcmp(bytes + at, step->replacement, size) == 0);
        if (begins_word && step->cut && (uint32_t)text->size > word) {
            EH_TRY(eh_pieces_add(pieces, word, (uint32_t)text->size, -1));
            word = (uint32_t)text->size;
        }
        if (stop > at) {
            EH_TRY(copy_bytes(source, at, stop, text));
            continue;
        }
        EH_TRY(eh_aligned_reserve(text, size));
        eh_aligned_put(text, step->replacement, size, eh_origin_at(source, at));
        stop = at + 1;
    }
    return eh_pieces_add(pieces, word, (uint32_t)text->size, -1);
}

static eh_status prefix_space(eh_source source, eh_piece piece, eh_aligned *text, eh_pieces *pieces)
{
    const uint32_t word = (uint32_t)text->size;
    EH_TRY(eh_aligned_reserve(text, 1));
    if (source.bytes[piece.begin] != ' ')
        eh_aligned_put(text, " ", 1, eh_origin_at(source, piece.begin));
    EH_TRY(copy_bytes(source, piece.begin, piece.end, text));
    return eh_pieces_add(pieces, word, (uint32_t)text->size, -1);
}

static eh_status rewrite(const eh_pre_tokenizer_step *step, eh_source source, eh_piece piece, eh_aligned *text,
                         eh_pieces *pieces)
{
    if (piece.token >= 0) {
        const uint32_t begin = (uint32_t)text->size;
        EH_TRY(copy_bytes(source, piece.begin, piece.end, text));
        return eh_pieces_add(pieces, begin, (uint32_t)text->size, piece.token);
    }
    return step->kind == EH_STEP_METASPACE ? metaspace(step, source, piece, text, pieces)
                                           : prefix_space(source, piece, text, pieces);
}

eh_status eh_pre_tokenizer_run(const eh_pre_tokenizer *pre_tokenizer, eh_pre_tokenizer_work *work, eh_source *source,
                               const eh_pieces **pieces)
{
    int text = 0;
    for (int64_t s = 0; s < pre_tokenizer->count; s++) {
        const eh_pre_tokenizer_step *step = &pre_tokenizer->steps[s];
        const bool rewrites = step->kind == EH_STEP_METASPACE || step->kind == EH_STEP_BYTE_LEVEL;
        eh_pieces *list = &work->lists[s & 1];
        list->count = 0;
        work->buffers[text].size = 0;
        for (int64_t i = 0; i < (*pieces)->count; i++) {
            const eh_piece piece = (*pieces)->pieces[i];
            if (rewrites)
                EH_TRY(rewrite(step, *source, piece, &work->buffers[text], list));
            else if (piece.token >= 0)
                EH_TRY(eh_pieces_add(list, piece.begin, piece.end, piece.token));
            else
                EH_TRY(cut(step, source->bytes, piece.begin, piece.end, list));
        }
        *pieces = list;
        if (rewrites) {
            *source = (eh_source){work->buffers[text].bytes, work->buffers[text].origins};
            text = 1 - text;
        }
    }
    return EH_OK;
}

void eh_pre_tokenizer_work_deinit(eh_pre_tokenizer_work *work)
{
    for (int i = 0; i < 2; i++) {
        eh_aligned_deinit(&work->buffers[i]);
        eh_free(&work->lists[i].pieces);
    }
    *work = (eh_pre_tokenizer_work){0};
}
