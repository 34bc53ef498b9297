// A data set of the job, from its file to its shards: read, split, make examples, write; every rank a slice of the
// rows.
#ifndef EH_DATASET_PREPARE_H
#define EH_DATASET_PREPARE_H

#include "comm/comm.h"
#include "core/log.h"
#include "core/status.h"
#include "dataset/text_model.h"
#include "job/job.h"

typedef struct {
    eh_comm *comm;
    const eh_log *log;
    const eh_job *job;
    const eh_text_model *model;
    const char *folder;   // of the shards
    uint64_t shard_bytes; // 0: the default
    int64_t block_bytes;  // of a text file, a rank's piece at a time; 0: the default
} eh_prepare_settings;

// Writes FOLDER/NAME-*.h5 and FOLDER/NAME-rejected.csv, or nothing if they are there already and up to date (same file,
// same tokenizer, same settings). Logs what there is. Collective; all ranks get the same status.
EH_CHECKED eh_status eh_prepare_data_set(const eh_prepare_settings *settings, const eh_job_data *data);

#endif
