// HDF5 shards of tokenized examples, layout version 1 (DESIGN section 4, data/FORMATS.md). A data set's shards hold its
// examples in one order that depends on the job alone, never on the number of ranks.
#ifndef EH_IO_SHARD_H
#define EH_IO_SHARD_H

#include <stdbool.h>
#include <stddef.h>
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
    char **field_names;        // NULL-terminated: what the fields of `text` are ("id", "more", "less", ...)
    int64_t capacity[6];       // of the arrays, for eh_examples_add
} eh_examples;

typedef enum { EH_SPLIT_TRAIN = 0, EH_SPLIT_HOLDOUT = 1, EH_SPLIT_EVALUATE = 2 } eh_split;

void eh_examples_deinit(eh_examples *examples);
void eh_examples_clear(eh_examples *examples); // keeps the memory and the names

// One example, borrowed; the ids are the tokenizer's.
typedef struct {
    const int32_t *input, *target;
    int64_t input_count, target_count;
    const int32_t *candidate_ids;     // all candidates, one after another
    const int64_t *candidate_lengths; // [candidate_count]
    const int8_t *labels;             // [candidate_count]
    int64_t candidate_count;
    uint16_t group;
    uint64_t source_row;
    eh_split split;
    const char *text; // fields separated by '\x1f'
    size_t text_size;
} eh_example;

// Appends a copy. group_names and field_names are the caller's to set.
EH_CHECKED eh_status eh_examples_add(eh_examples *examples, const eh_example *example);
// Appends the examples [first, first + count) of `from`, but not its names.
EH_CHECKED eh_status eh_examples_add_range(eh_examples *examples, const eh_examples *from, int64_t first,
                                           int64_t count);
// Field `name` of the text of example i, borrowed, not NUL-terminated. False if there is no such field.
bool eh_examples_field(const eh_examples *examples, int64_t i, const char *name, const char **field, size_t *size);

// How the shards came to be: root attributes.
typedef struct {
    const char *name;        // of the data set in the job
    const char *data_format; // "crows-pairs", ...
    const char *task, *template_text;
    const char *layout; // how targets belong to inputs: "append", "overlay", "masked", "seq2seq", "none"
    const char *tokenizer_sha256, *source_sha256, *job; // job: the resolved YAML
    const char *key; // digest of everything that the contents depend on: equal key, equal shards
    uint64_t seed;
} eh_shard_origin;

// Writes shards from examples that come in pieces, so that a data set may be larger than memory: each rank holds about
// one piece and three shards. Example i is in shard floor((tokens before i) / (tokens of a shard)): a function of the
// examples alone. Shard s is written by rank s mod size, with the serial driver: no rank waits for another's chunks,
// and the files are the same, byte for byte, on any number of ranks.
typedef struct eh_shard_writer eh_shard_writer;
// `shard_bytes` of tokens a shard (0: 4 MiB). `origin` and `field_names` (NULL-terminated) are borrowed until the end.
// Clears what a killed run left behind. Collective.
EH_CHECKED eh_status eh_shard_writer_open(eh_comm *comm, const char *folder, const eh_shard_origin *origin,
                                          const char *const *field_names, uint64_t shard_bytes,
                                          eh_shard_writer **writer);
// The next examples of the data set, those of rank 0 first, then rank 1's, ...; any rank may bring none. Collective,
// agrees on failure.
EH_CHECKED eh_status eh_shard_writer_add(eh_shard_writer *writer, const eh_examples *examples);
// Writes the rest, flushes, replaces the data set's old shards. group_names: NULL-terminated, the same on all ranks.
// Collective, agrees on failure; then the old shards are as they were.
EH_CHECKED eh_status eh_shard_writer_finish(eh_shard_writer *writer, const char *const *group_names,
                                            int64_t *shard_count);
// Removes what was not finished.
void eh_shard_writer_close(eh_shard_writer **writer);

// The same for examples that are all there, with their own group and field names (equal on all ranks).
// Writes FOLDER/<name>-00000-of-0000S.h5 from every rank's own `examples` (the data set's order = rank order), beside
// their final names first and renamed when complete. S from `shard_bytes` of tokens (0: 4 MiB). Collective.
EH_CHECKED eh_status eh_shards_write(eh_comm *comm, const char *folder, const eh_shard_origin *origin,
                                     const eh_examples *examples, uint64_t shard_bytes);
// True in *fresh if complete shards with this key are there. Not collective.
EH_CHECKED eh_status eh_shards_are_fresh(const char *folder, const char *name, const char *key, bool *fresh);
// Reads all shards of a data set. What the file says is checked (offsets ascend, sizes agree): EH_INPUT with file and
// data set. Not collective.
EH_CHECKED eh_status eh_shards_read(const char *folder, const char *name, eh_examples *examples);
// The same of a single file.
EH_CHECKED eh_status eh_shard_read_file(const char *path, eh_examples *examples);
// One attribute of the data set's first shard as text (eh_free): "data_format", "task", "layout", "key", ...
EH_CHECKED eh_status eh_shards_attribute(const char *folder, const char *name, const char *attribute, char **value);
// The paths of a complete set of shards in order, NULL-terminated (eh_hdf5_free_texts); EH_INPUT if there is none.
EH_CHECKED eh_status eh_shards_find(const char *folder, const char *name, char ***paths, int64_t *count);

#endif
