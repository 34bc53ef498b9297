// What the two formats of prompt templates in tab-separated files share.
#ifndef EH_DATASET_TEMPLATES_TSV_H
#define EH_DATASET_TEMPLATES_TSV_H

#include "dataset/dataset.h"

// Yields a record per row: its number as id, then the columns of these names in this order. EH_INPUT if one is missing.
EH_CHECKED eh_status eh_read_tsv_columns(const char *path, const char *const *names, int64_t count,
                                         eh_records *records);

#endif
