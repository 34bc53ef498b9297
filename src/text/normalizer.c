#include "text/normalizer_steps.h"

#include <string.h>

#include "text/unicode_classes.h"
#include "text/utf8.h"

typedef enum {
    BERT,
    PRECOMPILED,
    STRIP,
    REPLACE,
    LOWER_CASE,
    PREPEND,
    NFC, // the forms in the order of eh_form
    NFD,
    NFKC,
    NFKD,
    STRIP_ACCENTS,
    NMT,
} step_kind;

struct eh_normalizer_step {
    step_kind kind;
    eh_bert_normalizer bert;
    eh_precompiled map;
    bool left, right;    // STRIP
    eh_pattern *pattern; // REPLACE, owned
    char *content;       // REPLACE, PREPEND: owned
    size_t content_size;
};

// --- Reading the description ---

static eh_status keep_content(const json_t *value, const char *what, eh_normalizer_step *step)
{
    if (!json_is_string(value))
        return eh_error(EH_INPUT, "normalizer: %s must be a text", what);
    step->content_size = json_string_length(value);
    return eh_copy_bytes(json_string_value(value), step->content_size, &step->content);
}

static eh_status read_replace(const json_t *description, eh_normalizer_step *step)
{
    const json_t *pattern = json_object_get(description, "pattern");
    const json_t *expression = json_object_get(pattern, "Regex"), *text = json_object_get(pattern, "String");
    EH_TRY(keep_content(json_object_get(description, "content"), "Replace: content", step));
    if (json_is_string(expression))
        return eh_pattern_open(json_string_value(expression), &step->pattern);
    if (json_is_string(text))
        return eh_pattern_open_literal(json_string_value(text), json_string_length(text), &step->pattern);
    return eh_error(EH_INPUT, "normalizer: Replace needs a pattern {\"Regex\": ...} or {\"String\": ...}");
}

static eh_status read_step(const json_t *description, eh_normalizer_step *step)
{
    switch (step->kind) {
    case BERT:
        return eh_bert_normalizer_init(description, &step->bert);
    case PRECOMPILED:
        return eh_precompiled_init(description, &step->map);
    case STRIP:
        step->left = !json_is_false(json_object_get(description, "strip_left"));
        step->right = !json_is_false(json_object_get(description, "strip_right"));
        return EH_OK;
    case REPLACE:
        return read_replace(description, step);
    case PREPEND:
        return keep_content(json_object_get(description, "prepend"), "Prepend: prepend", step);
    default: // no more to know
        return EH_OK;
    }
}

static eh_status add_described(const json_t *description, int depth, eh_normalizer *normalizer)
{
    static const char *const names[] = {"BertNormalizer", "Precompiled", "Strip",        "Replace",
                                        "Lowercase",      "Prepend",     "NFC",          "NFD",
                                        "NFKC",           "NFKD",        "StripAccents", "Nmt"};
    const char *type = json_string_value(json_object_get(description, "type"));
    if (type == NULL)
        return eh_error(EH_INPUT, "normalizer: there is no type");
    if (strcmp(type, "Sequence") == 0 && depth < 8) {
        const json_t *list = json_object_get(description, "normalizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            EH_TRY(add_described(json_array_get(list, i), depth + 1, normalizer));
        return EH_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(type, names[i]) != 0)
            continue;
        const eh_normalizer_step step = {.kind = (step_kind)i};
        EH_TRY(EH_APPEND(&normalizer->steps, &normalizer->count, &normalizer->capacity, step));
        return read_step(description, &normalizer->steps[normalizer->count - 1]);
    }
    return eh_error(
        EH_INPUT,
        "normalizer: %s is not supported: Sequence, BertNormalizer, Precompiled, Strip, Replace, Lowercase, "
        "Prepend, NFC, NFD, NFKC, NFKD, StripAccents and Nmt are",
        type);
}

eh_status eh_normalizer_init(const json_t *description, eh_normalizer *normalizer)
{
    if (description == NULL || json_is_null(description))
        return EH_OK;
    return add_described(description, 0, normalizer);
}

void eh_normalizer_deinit(eh_normalizer *normalizer)
{
    for (int64_t i = 0; i < normalizer->count; i++) {
        eh_precompiled_deinit(&normalizer->steps[i].map);
        eh_pattern_close(&normalizer->steps[i].pattern);
        eh_free(&normalizer->steps[i].content);
    }
    eh_free(&normalizer->steps);
    *normalizer = (eh_normalizer){0};
}

// --- Steps ---

// What a step works on; it may only shrink it, or write what it makes of it into `fresh`.
typedef struct {
    eh_source source;
    uint32_t begin, end;
} text_span;

static eh_status append(text_span span, eh_aligned *text)
{
    const uint32_t size = span.end - span.begin;
    if (size == 0) // there may be no bytes at all
        return EH_OK;
    EH_TRY(eh_aligned_reserve(text, size));
    memcpy(text->bytes + text->size, span.source.bytes + span.begin, size);
    if (span.source.origins != NULL)
        memcpy(text->origins + text->size, span.source.origins + span.begin, size * sizeof *text->origins);
    else
        for (uint32_t i = 0; i < size; i++) text->origins[text->size + i] = eh_origin_at(span.source, span.begin + i);
    text->size += size;
    return EH_OK;
}

static void strip(const eh_normalizer_step *step, text_span *span)
{
    const char *bytes = span->source.bytes;
    uint32_t size;
    while (step->left && span->begin < span->end && eh_is_space(eh_utf8_read(bytes + span->begin, &size)))
        span->begin += size;
    while (step->right && span->end > span->begin) {
        uint32_t last = span->end - 1;
        while (eh_utf8_continues(bytes[last])) last--;
        if (!eh_is_space(eh_utf8_read(bytes + last, &size)))
            break;
        span->end = last;
    }
}

// What is put in place of a match comes from its last character.
static eh_status replace(const eh_normalizer_step *step, text_span *span, eh_aligned *fresh)
{
    const text_span all = *span;
    uint32_t done = all.begin;
    for (uint32_t from = all.begin; from < all.end;) {
        bool found = false;
        uint32_t begin = 0, end = 0;
        EH_TRY(eh_pattern_find(step->pattern, all.source.bytes, all.begin, all.end, from, &found, &begin, &end));
        if (!found)
            break;
        from = end;
        if (begin == end) { // nothing to replace: look on behind the next character
            uint32_t size = 1;
            if (end < all.end)
                (void)eh_utf8_read(all.source.bytes + end, &size);
            from = end + size;
            continue;
        }
        EH_TRY(append((text_span){all.source, done, begin}, fresh));
        EH_TRY(eh_aligned_reserve(fresh, (int64_t)step->content_size));
        eh_aligned_put(fresh, step->content, (uint32_t)step->content_size, eh_origin_at(all.source, end - 1));
        done = end;
    }
    if (done == all.begin)
        return EH_OK;
    EH_TRY(append((text_span){all.source, done, all.end}, fresh));
    *span = (text_span){{fresh->bytes, fresh->origins}, 0, (uint32_t)fresh->size};
    return EH_OK;
}

static eh_status prepend(const eh_normalizer_step *step, text_span *span, eh_aligned *fresh)
{
    if (span->begin == span->end)
        return EH_OK;
    EH_TRY(eh_aligned_reserve(fresh, (int64_t)step->content_size));
    eh_aligned_put(fresh, step->content, (uint32_t)step->content_size, eh_origin_at(span->source, span->begin));
    return append(*span, fresh);
}

static eh_status lower_case(const text_span *span, eh_aligned *fresh)
{
    for (uint32_t at = span->begin, size; at < span->end; at += size) {
        uint32_t lower[2];
        const int count = eh_lower_case(eh_utf8_read(span->source.bytes + at, &size), lower);
        EH_TRY(eh_aligned_reserve(fresh, 8));
        for (int i = 0; i < count; i++) {
            char bytes[4];
            const uint32_t length = eh_utf8_write(lower[i], bytes);
            eh_aligned_put(fresh, bytes, length, eh_origin_at(span->source, at));
        }
    }
    return EH_OK;
}

static eh_status strip_accents(const text_span *span, eh_aligned *fresh)
{
    for (uint32_t at = span->begin, size; at < span->end; at += size) {
        if (!eh_is_mark(eh_utf8_read(span->source.bytes + at, &size)))
            EH_TRY(append((text_span){span->source, at, at + size}, fresh));
    }
    return EH_OK;
}

// sentencepiece's rules for machine translation: control characters go, other white space becomes spaces.
static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

static bool nmt_makes_space(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

static eh_status nmt(const text_span *span, eh_aligned *fresh)
{
    for (uint32_t at = span->begin, size; at < span->end; at += size) {
        const uint32_t code_point = eh_utf8_read(span->source.bytes + at, &size);
        if (nmt_drops(code_point))
            continue;
        if (!nmt_makes_space(code_point)) {
            EH_TRY(append((text_span){span->source, at, at + size}, fresh));
            continue;
        }
        EH_TRY(eh_aligned_reserve(fresh, 1));
        eh_aligned_put(fresh, " ", 1, eh_origin_at(span->source, at));
    }
    return EH_OK;
}

static eh_status run_step(const eh_normalizer_step *step, eh_normalizer_work *work, text_span *span, eh_aligned *fresh)
{
    switch (step->kind) {
    case STRIP:
        strip(step, span);
        return EH_OK;
    case REPLACE:
        return replace(step, span, fresh);
    case BERT:
        EH_TRY(eh_bert_normalizer_run(&step->bert, work, span->source, span->begin, span->end, fresh));
        break;
    case PRECOMPILED:
        EH_TRY(eh_precompiled_run(&step->map, span->source, span->begin, span->end, fresh));
        break;
    case LOWER_CASE:
        EH_TRY(lower_case(span, fresh));
        break;
    case PREPEND:
        EH_TRY(prepend(step, span, fresh));
        break;
    case NFC:
    case NFD:
    case NFKC:
    case NFKD:
        EH_TRY(eh_form_run((eh_form)(step->kind - NFC), work, span->source, span->begin, span->end, fresh));
        break;
    case STRIP_ACCENTS:
        EH_TRY(strip_accents(span, fresh));
        break;
    case NMT:
        EH_TRY(nmt(span, fresh));
        break;
    }
    *span = (text_span){{fresh->bytes, fresh->origins}, 0, (uint32_t)fresh->size};
    return EH_OK;
}

eh_status eh_normalizer_run(const eh_normalizer *normalizer, eh_normalizer_work *work, eh_source source, uint32_t begin,
                            uint32_t end, eh_aligned *text)
{
    text_span span = {source, begin, end};
    for (int64_t i = 0; i < normalizer->count; i++) {
        eh_aligned *fresh = &work->buffers[i & 1];
        if (span.source.bytes == fresh->bytes && span.source.bytes != NULL) // steps between left the text where it was
            fresh = &work->buffers[1 - (i & 1)];
        fresh->size = 0;
        EH_TRY(run_step(&normalizer->steps[i], work, &span, fresh));
    }
    return append(span, text);
}

void eh_normalizer_work_deinit(eh_normalizer_work *work)
{
    for (int i = 0; i < 2; i++) eh_aligned_deinit(&work->buffers[i]);
    eh_free(&work->characters);
    eh_free(&work->moved);
    eh_free(&work->origins);
    *work = (eh_normalizer_work){0};
}
