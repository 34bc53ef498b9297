// One key: from text into its field, and back.
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "job/schema.h"

static void *field(const eh_key *key, void *base)
{
    return (char *)base + key->offset;
}

// The place of `text` in "one|two|three", -1 if it is not there.
static int choice_index(const char *choices, const char *text)
{
    const size_t size = strlen(text);
    int index = 0;
    for (const char *at = choices;; at++, index++) {
        const size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, text, size) == 0)
            return index;
        at += length;
        if (*at == '\0')
            return -1;
    }
}

static void choice_text(const char *choices, int index, char text[64])
{
    const char *at = choices;
    for (int i = 0; i < index; i++) at += strcspn(at, "|") + 1;
    snprintf(text, 64, "%.*s", (int)strcspn(at, "|"), at);
}

static eh_status set_text(const eh_key *key, void *base, const char *text)
{
    char *copy = NULL;
    if (text != NULL)
        EH_TRY(eh_copy_string(text, &copy));
    char **place = field(key, base);
    eh_free(place);
    *place = copy;
    return EH_OK;
}

static eh_status not_a_choice(const eh_key *key, const char *text, const char *where)
{
    eh_string choices = {0};
    EH_TRY(eh_string_append_text(&choices, key->choices));
    for (size_t i = 0; i < choices.size; i++)
        if (choices.bytes[i] == '|')
            choices.bytes[i] = ' ';
    const eh_status status =
        eh_error(EH_INPUT, "%s: '%s' is not a value of '%s': choose one of: %s", where, text, key->path, choices.bytes);
    eh_string_deinit(&choices);
    return status;
}

static eh_status out_of_range(const eh_key *key, const char *text, const char *where)
{
    if (key->maximum >= 1e7)
        return eh_error(EH_INPUT, "%s: '%s' is %s, but must be at least %g", where, key->path, text, key->minimum);
    return eh_error(EH_INPUT, "%s: '%s' is %s, but must be between %g and %g", where, key->path, text, key->minimum,
                    key->maximum);
}

static eh_status set_number(const eh_key *key, void *base, const char *text, const char *where)
{
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || isspace((unsigned char)text[0]) || strpbrk(text, "xX"))
        return eh_error(EH_INPUT, "%s: '%s' needs a number, found '%s'", where, key->path, text);
    if (!(value >= key->minimum && value <= key->maximum))
        return out_of_range(key, text, where);
    *(double *)field(key, base) = value;
    return EH_OK;
}

static eh_status set_integer(const eh_key *key, void *base, const char *text, const char *where)
{
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || isspace((unsigned char)text[0]))
        return eh_error(EH_INPUT, "%s: '%s' needs a whole number, found '%s'", where, key->path, text);
    if (errno == ERANGE || (double)value < key->minimum || (double)value > key->maximum)
        return out_of_range(key, text, where);
    *(int64_t *)field(key, base) = value;
    return EH_OK;
}

static eh_status set_seed(const eh_key *key, void *base, const char *text, const char *where)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno == ERANGE)
        return eh_error(EH_INPUT, "%s: '%s' needs a whole number from 0 to 18446744073709551615, found '%s'", where,
                        key->path, text);
    *(uint64_t *)field(key, base) = value;
    return EH_OK;
}

static eh_status set_enum(const eh_key *key, void *base, const char *text, const char *where)
{
    const int value = text != NULL ? choice_index(key->choices, text) : -1;
    if (text != NULL && value < 0)
        return not_a_choice(key, text, where);
    memcpy(field(key, base), &value, sizeof value);
    return EH_OK;
}

// Words between spaces or commas.
static eh_status set_flags(const eh_key *key, void *base, const char *text, const char *where)
{
    unsigned flags = 0;
    for (const char *at = text != NULL ? text : ""; *(at += strspn(at, " ,")) != '\0';) {
        char word[64];
        const size_t size = strcspn(at, " ,");
        snprintf(word, sizeof word, "%.*s", (int)size, at);
        const int index = choice_index(key->choices, word);
        if (index < 0)
            return not_a_choice(key, word, where);
        flags |= 1u << index;
        at += size;
    }
    *(unsigned *)field(key, base) = flags;
    return EH_OK;
}

static void free_texts(eh_texts *texts)
{
    for (int64_t i = 0; i < texts->count; i++) eh_free(&texts->items[i]);
    eh_free(&texts->items);
    *texts = (eh_texts){0};
}

static eh_status add_text(const eh_key *key, void *base, const char *text, const char *where)
{
    eh_texts *texts = field(key, base);
    if (text == NULL) {
        free_texts(texts);
        return EH_OK;
    }
    if (text[0] == '\0')
        return eh_error(EH_INPUT, "%s: '%s' has an empty text in it", where, key->path);
    char *copy = NULL;
    EH_TRY(eh_copy_string(text, &copy));
    const eh_status status = EH_APPEND(&texts->items, &texts->count, &texts->capacity, copy);
    if (status != EH_OK)
        eh_free(&copy);
    return status;
}

eh_status eh_key_set(const eh_key *key, void *base, const char *text, const char *where)
{
    switch (key->type) {
    case EH_KEY_TEXTS:
        return add_text(key, base, text, where);
    case EH_KEY_FLAGS:
        return set_flags(key, base, text, where);
    case EH_KEY_CHOICE:
        if (text != NULL && choice_index(key->choices, text) < 0)
            return not_a_choice(key, text, where);
        return set_text(key, base, text);
    case EH_KEY_TEXT:
    case EH_KEY_MAPPING:
        return set_text(key, base, text);
    case EH_KEY_ENUM:
        return set_enum(key, base, text, where);
    case EH_KEY_INTEGER:
        return text != NULL ? set_integer(key, base, text, where) : EH_OK;
    case EH_KEY_SEED:
        return text != NULL ? set_seed(key, base, text, where) : EH_OK;
    case EH_KEY_NUMBER:
        return text != NULL ? set_number(key, base, text, where) : EH_OK;
    }
    return EH_OK;
}

eh_status eh_keys_set_defaults(const eh_key_list *list, void *base, const eh_job *job, bool study)
{
    for (size_t i = 0; i < list->count; i++) {
        const eh_key *key = &list->keys[i];
        const char *text = study && key->study != NULL ? key->study : key->fallback;
        eh_string other = {0};
        eh_status status = EH_OK;
        if (text != NULL && text[0] == '@') {
            EH_TRY(eh_key_print(eh_key_find(&eh_job_keys, text + 1), job, &other));
            text = other.bytes;
        }
        status = eh_key_set(key, base, text, "default");
        eh_string_deinit(&other);
        EH_TRY(status);
    }
    return EH_OK;
}

// Text that YAML reads back as the same text: bare where that is safe, else in double quotes as in JSON.
static eh_status print_text(const char *text, eh_string *out)
{
    const char *safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+";
    const bool bare = text[0] != '\0' && strspn(text, safe) == strlen(text) && isalpha((unsigned char)text[0]) &&
                      strcmp(text, "null") != 0 && strcmp(text, "true") != 0 && strcmp(text, "false") != 0;
    if (bare)
        return eh_string_append_text(out, text);
    EH_TRY(eh_string_append_text(out, "\""));
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            EH_TRY(eh_string_printf(out, "\\%c", *at));
        else if (*at == '\n')
            EH_TRY(eh_string_append_text(out, "\\n"));
        else if ((unsigned char)*at < 0x20 || *at == 0x7f)
            EH_TRY(eh_string_printf(out, "\\x%02x", *at));
        else
            EH_TRY(eh_string_append(out, at, 1));
    }
    return eh_string_append_text(out, "\"");
}

// The shortest decimal that reads back as the same double.
static eh_status print_number(double value, eh_string *out)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return eh_string_append_text(out, text);
}

static eh_status print_flags(const char *choices, unsigned flags, eh_string *text)
{
    const char *separator = "";
    EH_TRY(eh_string_append_text(text, "["));
    for (int index = 0; flags >> index != 0; index++) {
        char name[64];
        if ((flags >> index & 1) == 0)
            continue;
        choice_text(choices, index, name);
        EH_TRY(eh_string_printf(text, "%s%s", separator, name));
        separator = ", ";
    }
    return eh_string_append_text(text, "]");
}

static eh_status print_texts(const eh_texts *texts, eh_string *text)
{
    EH_TRY(eh_string_append_text(text, "["));
    for (int64_t i = 0; i < texts->count; i++) {
        EH_TRY(eh_string_append_text(text, i > 0 ? ", " : ""));
        EH_TRY(print_text(texts->items[i], text));
    }
    return eh_string_append_text(text, "]");
}

eh_status eh_key_print(const eh_key *key, const void *base, eh_string *text)
{
    const void *place = (const char *)base + key->offset;
    switch (key->type) {
    case EH_KEY_TEXT:
    case EH_KEY_CHOICE: {
        const char *value = *(char *const *)place;
        return value != NULL ? print_text(value, text) : eh_string_append_text(text, "null");
    }
    case EH_KEY_MAPPING: {
        const char *value = *(char *const *)place;
        return eh_string_append_text(text, value != NULL ? value : "null");
    }
    case EH_KEY_ENUM: {
        int value = -1;
        memcpy(&value, place, sizeof value);
        if (value < 0)
            return eh_string_append_text(text, "null");
        char name[64];
        choice_text(key->choices, value, name);
        return eh_string_append_text(text, name);
    }
    case EH_KEY_FLAGS:
        return print_flags(key->choices, *(const unsigned *)place, text);
    case EH_KEY_TEXTS:
        return print_texts(place, text);
    case EH_KEY_INTEGER:
        return eh_string_printf(text, "%" PRId64, *(const int64_t *)place);
    case EH_KEY_SEED:
        return eh_string_printf(text, "%" PRIu64, *(const uint64_t *)place);
    case EH_KEY_NUMBER:
        return print_number(*(const double *)place, text);
    }
    return EH_OK;
}

void eh_keys_free(const eh_key_list *list, void *base)
{
    for (size_t i = 0; i < list->count; i++) {
        const eh_key *key = &list->keys[i];
        if (key->type == EH_KEY_TEXT || key->type == EH_KEY_CHOICE || key->type == EH_KEY_MAPPING)
            eh_free((char **)field(key, base));
        else if (key->type == EH_KEY_TEXTS)
            free_texts(field(key, base));
    }
}

const eh_key *eh_key_find(const eh_key_list *list, const char *path)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->keys[i].path, path) == 0)
            return &list->keys[i];
    return NULL;
}
