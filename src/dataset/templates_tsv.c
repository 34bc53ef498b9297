#include "dataset/templates_tsv.h"

#include <stdio.h>

#include "io/csv.h"

eh_status eh_read_tsv_columns(const char *path, const char *const *names, int64_t count, eh_records *records)
{
    eh_csv *csv = NULL;
    int64_t columns[EH_RECORD_FIELDS];
    eh_status status = EH_OK;
    EH_ASSERT(count < EH_RECORD_FIELDS);
    EH_TRY_OR(done, eh_csv_open(path, '\t', EH_CSV_PLAIN, &csv));
    EH_TRY_OR(done, eh_csv_columns(csv, names, count, columns));
    for (bool more = true;;) {
        eh_csv_row row;
        char id[32];
        EH_TRY_OR(done, eh_csv_next(csv, &row, &more));
        if (!more || eh_records_full(records, (uint64_t)row.row))
            break;
        if (row.problem != NULL) {
            EH_TRY_OR(done, eh_records_reject(records, (uint64_t)row.row, row.line, row.problem));
            continue;
        }
        snprintf(id, sizeof id, "%lld", (long long)row.row);
        EH_TRY_OR(done, eh_records_begin(records, (uint64_t)row.row, row.line));
        EH_TRY_OR(done, eh_records_field_text(records, id));
        for (int64_t c = 0; c < count; c++) EH_TRY_OR(done, eh_records_field_text(records, row.fields[columns[c]]));
        EH_TRY_OR(done, eh_records_end(records));
    }
done:
    eh_csv_close(&csv);
    return status;
}
