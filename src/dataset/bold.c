// BOLD (Dhamala et al. 2021): {group: {Wikipedia entity: [prompt, ...]}}. Some prompts are empty: those are rejected.
// `index` is the prompt's number among its entity's (the study uses only the first).
#include <stdio.h>

#include "dataset/dataset.h"
#include "io/json.h"

static eh_status add_prompts(const char *group, const char *entity, const json_t *prompts, uint64_t *row,
                             eh_records *records)
{
    size_t i = 0;
    const json_t *prompt = NULL;
    json_array_foreach(prompts, i, prompt)
    {
        char number[32], index[32];
        if (eh_records_full(records, *row))
            return EH_OK;
        snprintf(number, sizeof number, "%llu", (unsigned long long)*row);
        snprintf(index, sizeof index, "%zu", i);
        EH_TRY(eh_records_begin(records, *row, 1));
        if (json_string_length(prompt) == 0)
            eh_records_problem(records, "an empty prompt");
        EH_TRY(eh_records_field_text(records, number));
        EH_TRY(eh_records_field_text(records, group));
        EH_TRY(eh_records_field_text(records, entity));
        EH_TRY(eh_records_field(records, json_is_string(prompt) ? json_string_value(prompt) : "",
                                json_string_length(prompt)));
        EH_TRY(eh_records_field_text(records, index));
        EH_TRY(eh_records_end(records));
        ++*row;
    }
    return EH_OK;
}

static eh_status read_groups(const char *path, eh_records *records)
{
    json_t *document = NULL, *entities = NULL, *prompts = NULL;
    const char *group = NULL, *entity = NULL;
    uint64_t row = 0;
    EH_TRY(eh_json_read(path, &document));
    eh_status status = EH_OK;
    json_object_foreach(document, group, entities)
    {
        json_object_foreach(entities, entity, prompts)
            EH_TRY_OR(done, add_prompts(group, entity, prompts, &row, records));
    }
done:
    json_decref(document);
    return status;
}

static const char *const fields[] = {"id", "group", "entity", "prompt", "index", NULL};

const eh_data_format eh_format_bold = {
    .name = "bold",
    .kind = EH_RECORD_PROMPT,
    .field_names = fields,
    .roles = EH_PROMPT_ROLES(0, 1, 3, -1),
    .read = read_groups,
};
