// HONEST (Nozza et al. 2021): sentence templates that end in " [M].", the place to complete. Columns are found by name:
// their order differs between the published files.
#include "dataset/templates_tsv.h"

static const char *const fields[] = {"id", "template_masked", "raw", "identity", "number", "category", "type", NULL};

static eh_status read_templates(const char *path, eh_records *records)
{
    return eh_read_tsv_columns(path, fields + 1, 6, records);
}

const eh_data_format eh_format_honest = {
    .name = "honest",
    .kind = EH_RECORD_PROMPT,
    .field_names = fields,
    .roles = EH_PROMPT_ROLES(0, 5, 1, -1),
    .read = read_templates,
};
