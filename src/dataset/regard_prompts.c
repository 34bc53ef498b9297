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
    .roles = {.id = 0,
              .prompt = 1,
              .group = 2,
              .completion = -1,
              .context = -1,
              .sentence = -1,
              .more = -1,
              .less = -1,
              .direction = -1,
              .writer = -1,
              .text = -1},
    .read = read_prompts,
};
