// libFuzzer: any bytes as a CSV and a TSV file. clang -fsanitize=fuzzer,address,undefined; tests/fuzz/test_fuzz.sh runs
// it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const char *path, char separator, eh_csv_quoting quoting)
{
    eh_csv *csv = NULL;
    if (eh_csv_open(path, separator, quoting, &csv) != EH_OK)
        return;
    eh_csv_row row;
    size_t bytes = 0;
    for (bool more = true; eh_csv_next(csv, &row, &more) == EH_OK && more;)
        for (int64_t f = 0; f < row.field_count; f++)
            for (const char *at = row.fields[f]; *at != '\0'; at++) bytes++;
    eh_csv_close(&csv);
    if (bytes > (size_t)1 << 40) // uses what was read, so that it is read
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/evenhand-fuzz-csv-%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    read_rows(path, ',', EH_CSV_QUOTED);
    read_rows(path, '\t', EH_CSV_PLAIN);
    unlink(path);
    return 0;
}
