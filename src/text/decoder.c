#define _GNU_SOURCE
#include "text/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "text/byte_alphabet.h"
#include "text/utf8.h"

// --- Reading the description ---

static eh_status keep_text(eh_decoder_step *step, const json_t *value, const char *what)
{
    if (!json_is_string(value))
        return eh_error(EH_INPUT, "decoder: %s must be a text", what);
    step->text_size = json_string_length(value);
    return eh_copy_bytes(json_string_value(value), step->text_size, &step->text);
}

static eh_status read_replace(const json_t *description, eh_decoder_step *step)
{
    const json_t *pattern = json_object_get(description, "pattern");
    const json_t *expression = json_object_get(pattern, "Regex"), *text = json_object_get(pattern, "String");
    EH_TRY(keep_text(step, json_object_get(description, "content"), "Replace: content"));
    if (json_is_string(expression))
        return eh_pattern_open(json_string_value(expression), &step->pattern);
    if (json_is_string(text))
        return eh_pattern_open_literal(json_string_value(text), json_string_length(text), &step->pattern);
    return eh_error(EH_INPUT, "decoder: Replace needs a pattern {\"Regex\": ...} or {\"String\": ...}");
}

static eh_status read_step(const json_t *description, const char *type, eh_decoder_step *step)
{
    switch (step->kind) {
    case EH_DECODE_METASPACE: {
        const char *scheme = json_string_value(json_object_get(description, "prepend_scheme"));
        step->drop_first = !(scheme != NULL && strcmp(scheme, "never") == 0) &&
                           !json_is_false(json_object_get(description, "add_prefix_space"));
        return keep_text(step, json_object_get(description, "replacement"), "Metaspace: replacement");
    }
    case EH_DECODE_WORDPIECE:
        step->clean_up = !json_is_false(json_object_get(description, "cleanup"));
        return keep_text(step, json_object_get(description, "prefix"), "WordPiece: prefix");
    case EH_DECODE_REPLACE:
        return read_replace(description, step);
    case EH_DECODE_STRIP:
        step->left = json_integer_value(json_object_get(description, "start"));
        step->right = json_integer_value(json_object_get(description, "stop"));
        return keep_text(step, json_object_get(description, "content"), "Strip: content");
    default:
        (void)type;
        return EH_OK;
    }
}

static eh_status add_described(const json_t *description, int depth, eh_decoder *decoder)
{
    static const char *const names[] = {"ByteLevel",    "Metaspace", "WordPiece", "Replace",
                                        "ByteFallback", "Fuse",      "Strip"};
    const char *type = json_string_value(json_object_get(description, "type"));
    if (type == NULL)
        return eh_error(EH_INPUT, "decoder: there is no type");
    if (strcmp(type, "Sequence") == 0 && depth < 8) {
        const json_t *list = json_object_get(description, "decoders");
        for (size_t i = 0; i < json_array_size(list); i++)
            EH_TRY(add_described(json_array_get(list, i), depth + 1, decoder));
        return EH_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(type, names[i]) != 0)
            continue;
        const eh_decoder_step step = {.kind = (eh_decoder_kind)i};
        EH_TRY(EH_APPEND(&decoder->steps, &decoder->count, &decoder->capacity, step));
        return read_step(description, type, &decoder->steps[decoder->count - 1]);
    }
    return eh_error(EH_INPUT,
                    "decoder: %s is not supported: Sequence, ByteLevel, Metaspace, WordPiece, Replace, ByteFallback, "
                    "Fuse and Strip are",
                    type);
}

eh_status eh_decoder_init(const json_t *description, eh_decoder *decoder)
{
    if (description == NULL || json_is_null(description))
        return EH_OK;
    return add_described(description, 0, decoder);
}

void eh_decoder_deinit(eh_decoder *decoder)
{
    for (int64_t i = 0; i < decoder->count; i++) {
        eh_free(&decoder->steps[i].text);
        eh_pattern_close(&decoder->steps[i].pattern);
    }
    eh_free(&decoder->steps);
    *decoder = (eh_decoder){0};
}

// --- Lists of texts ---

// Ends the token whose bytes have just been appended.
static eh_status end_token(eh_token_texts *texts)
{
    if (texts->bytes.size >= UINT32_MAX)
        return eh_error(EH_INPUT, "a decoded text has more than 4 GiB");
    const uint32_t end = (uint32_t)texts->bytes.size;
    return EH_APPEND(&texts->ends, &texts->count, &texts->capacity, end);
}

eh_status eh_token_texts_add(eh_token_texts *texts, const char *bytes, size_t size)
{
    EH_TRY(eh_string_append(&texts->bytes, bytes, size));
    return end_token(texts);
}

void eh_token_texts_deinit(eh_token_texts *texts)
{
    eh_string_deinit(&texts->bytes);
    eh_free(&texts->ends);
    *texts = (eh_token_texts){0};
}

static const char *token_at(const eh_token_texts *texts, int64_t index, size_t *size)
{
    const uint32_t begin = index > 0 ? texts->ends[index - 1] : 0;
    *size = texts->ends[index] - begin;
    return texts->bytes.bytes != NULL ? texts->bytes.bytes + begin : "";
}

// --- Steps ---

// Appends bytes with U+FFFD for what is malformed.
static eh_status append_repaired(eh_string *text, const char *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        const size_t good = eh_utf8_valid_prefix(bytes + at, size - at);
        EH_TRY(eh_string_append(text, bytes + at, good));
        at += good;
        if (at < size) {
            EH_TRY(eh_string_append(text, "\xEF\xBF\xBD", 3));
            at += eh_utf8_malformed(bytes + at, size - at);
        }
    }
    return EH_OK;
}

// All tokens become one. A token that has a letter outside the alphabet (an added one) stands for itself.
static eh_status byte_level(const eh_token_texts *in, eh_token_texts *out)
{
    char *all = NULL;
    EH_TRY(EH_ALLOC(in->bytes.size, &all));
    size_t total = 0;
    for (int64_t i = 0; i < in->count; i++) {
        size_t size, written;
        const char *token = token_at(in, i, &size);
        if (!eh_letters_to_bytes(token, size, all + total, &written)) {
            memcpy(all + total, token, size);
            written = size;
        }
        total += written;
    }
    eh_status status = append_repaired(&out->bytes, all, total);
    eh_free(&all);
    return status == EH_OK ? end_token(out) : status;
}

static eh_status metaspace(const eh_decoder_step *step, const char *token, size_t size, bool first, eh_string *text)
{
    while (size > 0) {
        const char *at = memmem(token, size, step->text, step->text_size);
        const size_t before = at != NULL ? (size_t)(at - token) : size;
        EH_TRY(eh_string_append(text, token, before));
        if (at == NULL)
            break;
        if (!first || !step->drop_first)
            EH_TRY(eh_string_append(text, " ", 1));
        token = at + step->text_size;
        size -= before + step->text_size;
    }
    return EH_OK;
}

static eh_status replace_all(eh_string *text, size_t from, const char *old, const char *fresh)
{
    eh_string result = {0};
    eh_status status = EH_OK;
    const char *at = text->bytes + from, *end = text->bytes + text->size;
    if (memmem(at, (size_t)(end - at), old, strlen(old)) == NULL)
        return EH_OK;
    while (status == EH_OK) {
        const char *found = memmem(at, (size_t)(end - at), old, strlen(old));
        status = eh_string_append(&result, at, (size_t)((found != NULL ? found : end) - at));
        if (found == NULL || status != EH_OK)
            break;
        status = eh_string_append_text(&result, fresh);
        at = found + strlen(old);
    }
    if (status == EH_OK) {
        text->size = from;
        status = eh_string_append(text, result.bytes, result.size);
    }
    eh_string_deinit(&result);
    return status;
}

// Each token by itself, as the reference does it, so that only what lies in one token is ever changed.
static eh_status clean_up(eh_string *text, size_t from)
{
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) EH_TRY(replace_all(text, from, pairs[i][0], pairs[i][1]));
    return EH_OK;
}

static eh_status wordpiece(const eh_decoder_step *step, const char *token, size_t size, bool first, eh_string *text)
{
    const size_t from = text->size;
    const bool continues = size >= step->text_size && memcmp(token, step->text, step->text_size) == 0;
    if (first)
        EH_TRY(eh_string_append(text, token, size));
    else if (continues)
        EH_TRY(eh_string_append(text, token + step->text_size, size - step->text_size));
    else {
        EH_TRY(eh_string_append(text, " ", 1));
        EH_TRY(eh_string_append(text, token, size));
    }
    return step->clean_up && text->size > from ? clean_up(text, from) : EH_OK;
}

static eh_status replace(const eh_decoder_step *step, const char *token, size_t size, eh_string *text)
{
    uint32_t done = 0;
    for (uint32_t from = 0; from < size;) {
        bool found = false;
        uint32_t begin = 0, end = 0;
        EH_TRY(eh_pattern_find(step->pattern, token, 0, (uint32_t)size, from, &found, &begin, &end));
        if (!found)
            break;
        EH_TRY(eh_string_append(text, token + done, begin - done));
        EH_TRY(eh_string_append(text, step->text, step->text_size));
        done = end;
        from = end;
        if (end == begin && end < size) { // an empty match: look on behind the next character
            uint32_t character;
            (void)eh_utf8_read(token + end, &character);
            from += character;
        }
        if (end == begin && end == size)
            break;
    }
    return eh_string_append(text, token + done, size - done);
}

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

// <0x41> is a byte: its value, or -1.
static int byte_of(const char *token, size_t size)
{
    if (size != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    const int high = hexadecimal(token[3]), low = hexadecimal(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// A run of byte tokens becomes the text it encodes, or one U+FFFD for each if it is malformed.
static eh_status byte_fallback(const eh_token_texts *in, eh_token_texts *out)
{
    for (int64_t i = 0; i < in->count;) {
        size_t size;
        const char *token = token_at(in, i, &size);
        if (byte_of(token, size) < 0) {
            EH_TRY(eh_token_texts_add(out, token, size));
            i++;
            continue;
        }
        const size_t from = out->bytes.size;
        for (; i < in->count; i++) {
            token = token_at(in, i, &size);
            const char byte = (char)byte_of(token, size);
            if (byte_of(token, size) < 0)
                break;
            EH_TRY(eh_string_append(&out->bytes, &byte, 1));
        }
        const size_t count = out->bytes.size - from;
        if (eh_utf8_valid_prefix(out->bytes.bytes + from, count) == count) {
            EH_TRY(end_token(out));
            continue;
        }
        out->bytes.size = from;
        for (size_t k = 0; k < count; k++) EH_TRY(eh_token_texts_add(out, "\xEF\xBF\xBD", 3));
    }
    return EH_OK;
}

static eh_status strip(const eh_decoder_step *step, const char *token, size_t size, eh_string *text)
{
    const size_t one = step->text_size;
    for (int64_t i = 0; i < step->left && one > 0 && size >= one && memcmp(token, step->text, one) == 0; i++) {
        token += one;
        size -= one;
    }
    for (int64_t i = 0; i < step->right && one > 0 && size >= one && memcmp(token + size - one, step->text, one) == 0;
         i++)
        size -= one;
    return eh_string_append(text, token, size);
}

static eh_status run_step(const eh_decoder_step *step, const eh_token_texts *in, eh_token_texts *out)
{
    if (step->kind == EH_DECODE_BYTE_LEVEL)
        return byte_level(in, out);
    if (step->kind == EH_DECODE_BYTE_FALLBACK)
        return byte_fallback(in, out);
    for (int64_t i = 0; i < in->count; i++) {
        size_t size;
        const char *token = token_at(in, i, &size);
        eh_status status = EH_OK;
        if (step->kind == EH_DECODE_METASPACE)
            status = metaspace(step, token, size, i == 0, &out->bytes);
        else if (step->kind == EH_DECODE_WORDPIECE)
            status = wordpiece(step, token, size, i == 0, &out->bytes);
        else if (step->kind == EH_DECODE_REPLACE)
            status = replace(step, token, size, &out->bytes);
        else if (step->kind == EH_DECODE_STRIP)
            status = strip(step, token, size, &out->bytes);
        else
            status = eh_string_append(&out->bytes, token, size);
        if (status == EH_OK && (step->kind != EH_DECODE_FUSE || i + 1 == in->count))
            status = end_token(out);
        if (status != EH_OK)
            return status;
    }
    return EH_OK;
}

eh_status eh_decoder_run(const eh_decoder *decoder, eh_token_texts *texts, eh_string *text)
{
    eh_string_clear(text);
    EH_TRY(eh_string_append(text, "", 0)); // so that there is a NUL even if there is no text
    if (decoder->count == 0) {
        for (int64_t i = 0; i < texts->count; i++) {
            size_t size;
            const char *token = token_at(texts, i, &size);
            if (i > 0)
                EH_TRY(eh_string_append(text, " ", 1));
            EH_TRY(eh_string_append(text, token, size));
        }
        return EH_OK;
    }
    for (int64_t i = 0; i < decoder->count; i++) {
        eh_token_texts next = {0};
        const eh_status status = run_step(&decoder->steps[i], texts, &next);
        eh_token_texts_deinit(texts);
        *texts = next;
        EH_TRY(status);
    }
    return eh_string_append(text, texts->bytes.bytes != NULL ? texts->bytes.bytes : "", texts->bytes.size);
}
