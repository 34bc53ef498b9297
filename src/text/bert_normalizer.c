// BERT's normalizer: control characters go, white space becomes spaces, ideographs get spaces around them, accents go,
// upper case becomes lower case.
#include "text/normalizer_steps.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

static bool flag(const json_t *description, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(description, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

eh_status eh_bert_normalizer_init(const json_t *description, eh_bert_normalizer *bert)
{
    bert->clean = flag(description, "clean_text", true);
    bert->chinese = flag(description, "handle_chinese_chars", true);
    bert->lower_case = flag(description, "lowercase", true);
    bert->strip_accents = flag(description, "strip_accents", bert->lower_case);
    for (uint32_t c = 0; c < 128; c++) {
        uint32_t becomes = c;
        if (bert->clean && (c == '\t' || c == '\n' || c == '\r'))
            becomes = ' ';
        else if (bert->clean && eh_is_bert_control(c))
            becomes = 0;
        else if (bert->lower_case && c >= 'A' && c <= 'Z')
            becomes = c + 'a' - 'A';
        bert->ascii[c] = (uint8_t)becomes;
    }
    return EH_OK;
}

// One character after clean_text and handle_chinese_chars; returns how many were written.
static int clean(const eh_bert_normalizer *bert, uint32_t code_point, eh_origin origin, eh_character out[3])
{
    if (bert->clean) {
        if (code_point == EH_REPLACEMENT || eh_is_bert_control(code_point))
            return 0;
        if (eh_is_space(code_point))
            code_point = ' ';
    }
    if (!bert->chinese || !eh_is_bert_chinese(code_point)) {
        out[0] = (eh_character){code_point, origin};
        return 1;
    }
    out[0] = out[2] = (eh_character){' ', origin};
    out[1] = (eh_character){code_point, origin};
    return 3;
}

// A run of characters outside ASCII. What happens in it does not depend on the ASCII around it.
static eh_status put_run(const eh_bert_normalizer *bert, eh_normalizer_work *work, eh_source source, uint32_t begin,
                         uint32_t end, eh_aligned *text)
{
    int64_t count = 0;
    EH_TRY(eh_characters_reserve(work, 3 * (int64_t)(end - begin)));
    for (uint32_t at = begin, size; at < end; at += size) {
        const uint32_t code_point = eh_utf8_read(source.bytes + at, &size);
        count += clean(bert, code_point, eh_origin_at(source, at), (eh_character *)work->characters + count);
    }
    if (bert->strip_accents)
        EH_TRY(eh_characters_normalize(work, &count, EH_NFD));
    EH_TRY(eh_aligned_reserve(text, 8 * count));
    for (int64_t i = 0; i < count; i++) {
        const eh_character character = ((const eh_character *)work->characters)[i];
        if (bert->strip_accents && eh_is_bert_accent(character.code_point))
            continue;
        uint32_t lower[2] = {character.code_point, 0};
        const int lower_count = bert->lower_case ? eh_lower_case(character.code_point, lower) : 1;
        for (int k = 0; k < lower_count; k++) {
            char bytes[4];
            eh_aligned_put(text, bytes, eh_utf8_write(lower[k], bytes), character.origin);
        }
    }
    return EH_OK;
}

eh_status eh_bert_normalizer_run(const eh_bert_normalizer *bert, eh_normalizer_work *work, eh_source source,
                                 uint32_t begin, uint32_t end, eh_aligned *text)
{
    for (uint32_t at = begin; at < end;) {
        EH_TRY(eh_aligned_reserve(text, end - at));
        int64_t size = text->size;
        for (; at < end && (uint8_t)source.bytes[at] < 0x80; at++) {
            const uint8_t becomes = bert->ascii[(uint8_t)source.bytes[at]];
            text->bytes[size] = (char)becomes;
            text->origins[size] = source.origins != NULL ? source.origins[at] : (eh_origin){at, at + 1};
            size += becomes != 0 || !bert->clean;
        }
        text->size = size;
        const uint32_t run = at;
        while (at < end && (uint8_t)source.bytes[at] >= 0x80) at++;
        if (at > run)
            EH_TRY(put_run(bert, work, source, run, at, text));
    }
    return EH_OK;
}
