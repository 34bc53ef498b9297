// JSON lines: `prompt`, and optionally `completion`, `id`, `group`; for multiple choice `choices`, a list of texts, and
// `answer`: the right one's index from 0, its letter or its text.
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "dataset/dataset.h"
#include "io/json.h"

static eh_status add_key(const json_t *object, const char *key, const char *otherwise, eh_records *records)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_string(value))
        return eh_records_field(records, json_string_value(value), json_string_length(value));
    if (json_is_integer(value)) { // ids are often numbers
        char digits[32];
        snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return eh_records_field_text(records, digits);
    }
    if (value != NULL && !json_is_null(value))
        eh_records_problem(records, "id, group, prompt or completion is not a text");
    return eh_records_field_text(records, otherwise);
}

// The index of the right choice, -1 if `answer` names none.
static json_int_t right_choice(const json_t *choices, const json_t *answer)
{
    const size_t count = json_array_size(choices);
    const char *text = json_string_value(answer);
    for (size_t i = 0; text != NULL && i < count; i++) {
        const char *choice = json_string_value(json_array_get(choices, i));
        if (choice != NULL && strcmp(choice, text) == 0)
            return (json_int_t)i;
    }
    if (text != NULL && text[0] != '\0' && text[1] == '\0' && text[0] >= 'A' && (size_t)(text[0] - 'A') < count)
        return text[0] - 'A';
    const json_int_t index = json_is_integer(answer) ? json_integer_value(answer) : -1;
    return index >= 0 && index < (json_int_t)count ? index : -1;
}

// Two fields: the choices, joined by EH_CHOICE_SEPARATOR, and the index of the right one.
static eh_status add_choices(const json_t *object, eh_records *records)
{
    const json_t *choices = json_object_get(object, "choices"), *choice = NULL;
    const json_int_t answer = right_choice(choices, json_object_get(object, "answer"));
    eh_status status = EH_OK;
    eh_string joined = {0};
    size_t i = 0;
    char index[32] = "";
    json_array_foreach(choices, i, choice)
    {
        const char separator = EH_CHOICE_SEPARATOR, *text = json_string_value(choice);
        if (text == NULL || text[0] == '\0' || strchr(text, separator) != NULL)
            eh_records_problem(records, "a choice is not a text");
        if (i > 0)
            EH_TRY_OR(done, eh_string_append(&joined, &separator, 1));
        EH_TRY_OR(done, eh_string_append(&joined, text == NULL ? "" : text, json_string_length(choice)));
    }
    if (choices != NULL && (json_array_size(choices) < 2 || answer < 0))
        eh_records_problem(records, "'choices' must be a list of texts, and 'answer' one of them");
    if (choices != NULL)
        snprintf(index, sizeof index, "%" JSON_INTEGER_FORMAT, answer);
    EH_TRY_OR(done, eh_records_field(records, joined.bytes == NULL ? "" : joined.bytes, joined.size));
    status = eh_records_field_text(records, index);
done:
    eh_string_deinit(&joined);
    return status;
}

static eh_status read_line(const char *line, size_t size, uint64_t row, int64_t line_number, eh_records *records)
{
    json_t *value = NULL;
    EH_TRY(eh_json_parse_line(records->path, line_number, line, size, &value));
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_records_begin(records, row, line_number));
    if (!json_is_string(json_object_get(value, "prompt")))
        eh_records_problem(records, "lacks 'prompt'");
    EH_TRY_OR(done, add_key(value, "id", "", records));
    EH_TRY_OR(done, add_key(value, "group", "all", records));
    EH_TRY_OR(done, add_key(value, "prompt", "", records));
    EH_TRY_OR(done, add_key(value, "completion", "", records));
    EH_TRY_OR(done, add_choices(value, records));
    EH_TRY_OR(done, eh_records_end(records));
done:
    json_decref(value);
    return status;
}

static const char *const fields[] = {"id", "group", "prompt", "completion", "choices", "answer", NULL};

const eh_data_format eh_format_jsonl = {
    .name = "jsonl",
    .kind = EH_RECORD_PROMPT,
    .field_names = fields,
    .roles = EH_PROMPT_ROLES(0, 1, 2, 3),
    .ids_are_unique = true,
    .read_line = read_line,
};
