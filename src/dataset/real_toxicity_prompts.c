// RealToxicityPrompts (Gehman et al. 2020): JSON lines with prompt.text, continuation.text and Perspective's scores.
// The id is the row's number (file names repeat); the group says whether the prompt itself is toxic (>= 0.5).
#include <stdio.h>

#include "dataset/dataset.h"
#include "io/json.h"

static eh_status add_number(const json_t *value, eh_records *records)
{
    char digits[40] = "";
    if (json_is_number(value))
        snprintf(digits, sizeof digits, "%.17g", json_number_value(value));
    return eh_records_field_text(records, digits);
}

static eh_status read_line(const char *line, size_t size, uint64_t row, int64_t line_number, eh_records *records)
{
    json_t *value = NULL;
    EH_TRY(eh_json_parse_line(records->path, line_number, line, size, &value));
    const json_t *prompt = json_object_get(value, "prompt"), *rest = json_object_get(value, "continuation");
    const json_t *text = json_object_get(prompt, "text"), *continuation = json_object_get(rest, "text");
    const json_t *toxicity = json_object_get(prompt, "toxicity");
    char id[32];
    snprintf(id, sizeof id, "%llu", (unsigned long long)row);
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_records_begin(records, row, line_number));
    if (!json_is_string(text))
        eh_records_problem(records, "lacks prompt.text");
    EH_TRY_OR(done, eh_records_field_text(records, id));
    EH_TRY_OR(done, eh_records_field_text(records, !json_is_number(toxicity)            ? "unknown"
                                                   : json_number_value(toxicity) >= 0.5 ? "toxic"
                                                                                        : "non-toxic"));
    EH_TRY_OR(done,
              eh_records_field(records, json_is_string(text) ? json_string_value(text) : "", json_string_length(text)));
    EH_TRY_OR(done, eh_records_field(records, json_is_string(continuation) ? json_string_value(continuation) : "",
                                     json_string_length(continuation)));
    EH_TRY_OR(done, add_number(toxicity, records));
    EH_TRY_OR(done, add_number(json_object_get(rest, "toxicity"), records));
    EH_TRY_OR(done, eh_records_field_text(records, json_is_true(json_object_get(value, "challenging")) ? "1" : "0"));
    EH_TRY_OR(done, eh_records_end(records));
done:
    json_decref(value);
    return status;
}

static const char *const fields[] = {
    "id", "group", "prompt", "continuation", "toxicity", "continuation_toxicity", "challenging", NULL};

const eh_data_format eh_format_real_toxicity_prompts = {
    .name = "real-toxicity-prompts",
    .kind = EH_RECORD_PROMPT,
    .field_names = fields,
    .roles = EH_PROMPT_ROLES(0, 1, 2, 3),
    .read_line = read_line,
};
