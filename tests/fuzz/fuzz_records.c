// libFuzzer: any bytes as a file of each data format (JSON, JSON lines, CSV, text).
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataset/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/evenhand-fuzz-records-%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    for (const eh_data_format *const *format = eh_data_formats(); *format != NULL; format++) {
        eh_records records = {0};
        if (eh_records_read(*format, path, 0, &records) == EH_OK)
            for (int64_t i = 0; i < records.count; i++)
                for (int f = 0; f < EH_RECORD_FIELDS; f++) {
                    const eh_text field = eh_record_field(&records, &records.records[i], f);
                    if (field.size > records.text.size)
                        abort();
                }
        eh_records_deinit(&records);
    }
    unlink(path);
    return 0;
}
