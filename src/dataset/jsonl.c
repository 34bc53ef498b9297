// JSON lines: `prompt`, and optionally `completion`, `id`, `group`.
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
    EH_TRY_OR(done, eh_records_end(records));
done:
    json_decref(value);
    return status;
}

static const char *const fields[] = {"id", "group", "prompt", "completion", NULL};

const eh_data_format eh_format_jsonl = {
    .name = "jsonl",
    .kind = EH_RECORD_PROMPT,
    .field_names = fields,
    .roles = EH_PROMPT_ROLES(0, 1, 2, 3),
    .ids_are_unique = true,
    .read_line = read_line,
};
