// CrowS-Pairs (Nangia et al. 2020): a CSV of sentence pairs. sent_more is the more stereotypical one in every row; in
// the rows of direction "antistereo" it is sent_less that is about the disadvantaged group.
#include <string.h>

#include "dataset/dataset.h"
#include "io/csv.h"

enum { MORE, LESS, DIRECTION, BIAS_TYPE, COLUMNS };

static eh_status add_row(const eh_csv_row *row, const int64_t *columns, int64_t id, int64_t writer, eh_records *records)
{
    if (row->problem != NULL)
        return eh_records_reject(records, (uint64_t)row->row, row->line, row->problem);
    const char *direction = row->fields[columns[DIRECTION]];
    EH_TRY(eh_records_begin(records, (uint64_t)row->row, row->line));
    EH_TRY(eh_records_field_text(records, row->fields[id]));
    EH_TRY(eh_records_field_text(records, row->fields[columns[MORE]]));
    EH_TRY(eh_records_field_text(records, row->fields[columns[LESS]]));
    EH_TRY(eh_records_field_text(records, direction));
    EH_TRY(eh_records_field_text(records, row->fields[columns[BIAS_TYPE]]));
    EH_TRY(eh_records_field_text(records, writer >= 0 ? row->fields[writer] : ""));
    if (row->fields[columns[MORE]][0] == '\0' || row->fields[columns[LESS]][0] == '\0')
        eh_records_problem(records, "a sentence of the pair is empty");
    if (strcmp(direction, "stereo") != 0 && strcmp(direction, "antistereo") != 0)
        eh_records_problem(records, "stereo_antistereo is neither 'stereo' nor 'antistereo'");
    return eh_records_end(records);
}

static eh_status read_pairs(const char *path, eh_records *records)
{
    static const char *const names[COLUMNS] = {"sent_more", "sent_less", "stereo_antistereo", "bias_type"};
    eh_csv *csv = NULL;
    int64_t columns[COLUMNS];
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_csv_open(path, ',', EH_CSV_QUOTED, &csv));
    EH_TRY_OR(done, eh_csv_columns(csv, names, COLUMNS, columns));
    int64_t id = eh_csv_column(csv, "");
    if (id < 0)
        id = eh_csv_column(csv, "id");
    if (id < 0)
        id = 0; // the first column numbers the rows, whatever its name
    const int64_t writer = eh_csv_column(csv, "anon_writer");
    for (bool more = true;;) {
        eh_csv_row row;
        EH_TRY_OR(done, eh_csv_next(csv, &row, &more));
        if (!more || eh_records_full(records, (uint64_t)row.row))
            break;
        EH_TRY_OR(done, add_row(&row, columns, id, writer, records));
    }
done:
    eh_csv_close(&csv);
    return status;
}

static const char *const fields[] = {"id", "more", "less", "direction", "bias_type", "writer", NULL};

const eh_data_format eh_format_crows_pairs = {
    .name = "crows-pairs",
    .kind = EH_RECORD_PAIR,
    .field_names = fields,
    .roles = {.id = 0,
              .more = 1,
              .less = 2,
              .direction = 3,
              .group = 4,
              .writer = 5,
              .context = -1,
              .sentence = -1,
              .prompt = -1,
              .completion = -1,
              .text = -1},
    .ids_are_unique = true,
    .read = read_pairs,
};
