// The prompts of Sheng et al. 2019 ("The woman worked as"): prompt, demographic, template and context (occupation or
// respect).
#include "dataset/templates_tsv.h"

static const char *const fields[] = {"id", "prompt", "demographic", "template", "context", NULL};

static eh_status read_prompts(const char *path, eh_records *records)
{
    return eh_read_tsv_columns(path, fields + 1, 4, records);
}

const eh_data_format eh_format_regard_prompts = {
    .name = "regard-prompts",
    .kind = EH_RECORD_PROMPT,
    .field_names = fields,
    .roles = EH_PROMPT_ROLES(0, 2, 1, -1),
    .read = read_prompts,
};
