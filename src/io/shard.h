// HDF5 shards of tokenized examples, layout version 1 (DESIGN section 4, data/FORMATS.md). A data set's shards hold its
// examples in one order that depends on the job alone, never on the number of ranks.
#ifndef EH_IO_SHARD_H
#define EH_IO_SHARD_H

#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"

#define EH_SHARD_VERSION 1

// Lists of unequal lengths, one after another: list i is values[offsets[i] .. offsets[i + 1]).
typedef struct {
    uint32_t *values;  // [offsets[count]]
    uint64_t *offsets; // [count + 1]
} eh_ragged_ids;

// The contents of shards, plain arrays, owned by whoever holds the struct (eh_examples_deinit).
typedef struct {
    int64_t count;
    eh_ragged_ids inputs;      // prompt, source or sentence
    eh_ragged_ids targets;     // what the loss is on; empty lists where there is none
    eh_ragged_ids candidates;  // evaluation items: all candidates of all items
    uint64_t *candidate_first; // [count + 1]: candidates of item i are candidate_first[i] .. candidate_first[i + 1]
    int8_t *labels;            // [candidates] gold label (enum of the data set's format)
    uint16_t *groups;          // [count] index into group_names
    uint64_t *source_rows;     // [count]
    char *text;                // original UTF-8 of each example (its own fields separated by '\x1f')
    uint64_t *text_offsets;    // [count + 1]
    uint8_t *splits;           // [count] eh_split
    char **group_names;        // NULL-terminated
} eh_examples;

typedef enum { EH_SPLIT_TRAIN = 0, EH_SPLIT_HOLDOUT = 1, EH_SPLIT_EVALUATE = 2 } eh_split;

void eh_examples_deinit(eh_examples *examples);

// How the shards came to be: root attributes.
typedef struct {
    const char *name;        // of the data set in the job
    const char *data_format; // "crows-pairs", ...
    const char *task, *template_text;
    const char *tokenizer_sha256, *source_sha256, *job; // job: the resolved YAML
    const char *key; // digest of everything that the contents depend on: equal key, equal shards
    uint64_t seed;
} eh_shard_origin;

// Writes FOLDER/<name>-00000-of-0000S.h5 from every rank's own `examples` (the data set's order = rank order), beside
// their final names first and renamed when complete. S from `shard_bytes` of tokens (0: 4 MiB). Collective.
EH_CHECKED eh_status eh_shards_write(eh_comm *comm, const char *folder, const eh_shard_origin *origin,
                                     const eh_examples *examples, uint64_t shard_bytes);
// True in *fresh if complete shards with this key are there. Not collective.
EH_CHECKED eh_status eh_shards_are_fresh(const char *folder, const char *name, const char *key, bool *fresh);
// Reads all shards of a data set. What the file says is checked (offsets ascend, sizes agree): EH_INPUT with file and
// data set. Not collective.
EH_CHECKED eh_status eh_shards_read(const char *folder, const char *name, eh_examples *examples);

#endif
