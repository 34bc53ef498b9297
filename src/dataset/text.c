// Plain text, one document a line.
#include "dataset/dataset.h"

static eh_status read_line(const char *line, size_t size, uint64_t row, int64_t line_number, eh_records *records)
{
    EH_TRY(eh_records_begin(records, row, line_number));
    if (size == 0)
        eh_records_problem(records, "an empty line");
    EH_TRY(eh_records_field(records, line, size));
    return eh_records_end(records);
}

static const char *const fields[] = {"text", NULL};

const eh_data_format eh_format_text = {
    .name = "text",
    .kind = EH_RECORD_TEXT,
    .field_names = fields,
    .roles = {.id = -1,
              .group = -1,
              .context = -1,
              .sentence = -1,
              .more = -1,
              .less = -1,
              .direction = -1,
              .writer = -1,
              .prompt = -1,
              .completion = -1,
              .text = 0},
    .read_line = read_line,
};
