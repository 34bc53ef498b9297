// What the files of the shard format share: examples as one block of bytes, and one shard's file.
#ifndef EH_IO_SHARD_INTERNAL_H
#define EH_IO_SHARD_INTERNAL_H

#include "core/string.h"
#include "io/shard.h"

// Appends the examples [first, first + count) as bytes, for another rank of the same kind of machine.
EH_CHECKED eh_status eh_examples_pack(const eh_examples *examples, int64_t first, int64_t count, eh_string *bytes);
// Appends what eh_examples_pack made; *used says how many bytes it was.
EH_CHECKED eh_status eh_examples_unpack(const char *bytes, size_t size, size_t *used, eh_examples *examples);
// Makes the offset arrays of an empty one, so that offsets[0] is there.
EH_CHECKED eh_status eh_examples_prepare(eh_examples *examples);

// One shard as a file of its own, without the attributes that are known only at the end.
EH_CHECKED eh_status eh_shard_file_write(const char *path, const eh_shard_origin *origin,
                                         const char *const *field_names, int64_t shard, const eh_examples *examples);
// Adds them ("groups", "shard_count") and flushes the file to the disk.
EH_CHECKED eh_status eh_shard_file_complete(const char *path, const char *const *group_names, int64_t shard_count);
// Appends a shard's examples, checked. The first one sets the names, the others must have the same.
EH_CHECKED eh_status eh_shard_file_read(const char *path, eh_examples *examples);

// Whether a file name is NAME-<shard>-of-<count>.h5.
bool eh_shard_name_parse(const char *file, const char *name, int64_t *shard, int64_t *count);
// FOLDER/NAME-<shard>-of-<count>.h5
EH_CHECKED eh_status eh_shard_path(const char *folder, const char *name, int64_t shard, int64_t count, eh_string *path);

#endif
