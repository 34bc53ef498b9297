#include "dataset/template.h"

#include <string.h>

static const char *const names[] = {"{text}", "{answer}", "{more}", "{less}", "{context}"};
enum { TEXT, ANSWER, MORE, LESS, CONTEXT, NAMES };

// The name that begins here, or NAMES.
static int name_at(const char *at)
{
    int n = 0;
    while (n < NAMES && strncmp(at, names[n], strlen(names[n])) != 0) n++;
    return n;
}

eh_status eh_template_check(const char *text)
{
    for (const char *at = text; (at = strchr(at, '{')) != NULL; at++) {
        const size_t letters = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
        if (letters > 0 && at[1 + letters] == '}' && name_at(at) == NAMES)
            return eh_error(EH_INPUT,
                            "prompt: unknown field '%.*s'; there are {text}, {answer}, {more}, {less}, {context}",
                            (int)letters + 2, at);
    }
    return EH_OK;
}

static const eh_text *value_of(const eh_template_values *values, int name)
{
    const eh_text *const all[NAMES] = {&values->text, &values->answer, &values->more, &values->less, &values->context};
    return all[name];
}

// White space at the input's end moves to the front of the target.
static eh_status begin_target(eh_expansion *expansion)
{
    eh_string *input = &expansion->input;
    size_t kept = input->size;
    while (kept > 0 &&
           (input->bytes[kept - 1] == ' ' || input->bytes[kept - 1] == '\n' || input->bytes[kept - 1] == '\t'))
        kept--;
    EH_TRY(eh_string_append(&expansion->target, input->bytes + kept, input->size - kept));
    input->size = kept;
    if (input->bytes != NULL)
        input->bytes[kept] = '\0';
    if (expansion->field_end > (int64_t)kept)
        expansion->field_end = (int64_t)kept;
    return EH_OK;
}

eh_status eh_template_expand(const char *text, const eh_template_values *values, eh_expansion *expansion)
{
    eh_string_clear(&expansion->input);
    eh_string_clear(&expansion->target);
    expansion->field_begin = expansion->field_end = 0;
    eh_string *to = &expansion->input;
    EH_TRY(eh_string_append(to, "", 0));
    EH_TRY(eh_string_append(&expansion->target, "", 0));
    for (const char *at = text; *at != '\0';) {
        const int name = *at == '{' ? name_at(at) : NAMES;
        if (name == NAMES) {
            EH_TRY(eh_string_append(to, at++, 1));
            continue;
        }
        if (name == ANSWER && to == &expansion->input) {
            EH_TRY(begin_target(expansion));
            to = &expansion->target;
        }
        const eh_text *value = value_of(values, name);
        const int64_t begin = (int64_t)to->size;
        EH_TRY(eh_string_append(to, value->bytes, value->size));
        if (to == &expansion->input && expansion->field_end == 0) {
            expansion->field_begin = begin;
            expansion->field_end = (int64_t)to->size;
        }
        at += strlen(names[name]);
    }
    if (to == &expansion->input) {
        EH_TRY(begin_target(expansion));
        if (expansion->target.size == 0)
            EH_TRY(eh_string_append(&expansion->target, " ", 1));
        EH_TRY(eh_string_append(&expansion->target, values->answer.bytes, values->answer.size));
    }
    return EH_OK;
}

void eh_expansion_deinit(eh_expansion *expansion)
{
    eh_string_deinit(&expansion->input);
    eh_string_deinit(&expansion->target);
}
