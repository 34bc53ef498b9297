// The shards of a data set as a whole: which there are, whether they are fresh, all their examples.
#include "io/shard.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "io/shard_internal.h"

eh_status eh_shards_find(const char *folder, const char *name, char ***paths, int64_t *count)
{
    DIR *entries = opendir(folder);
    if (entries == NULL)
        return eh_error(EH_INPUT, "%s: %s: data set '%s' has no shards: run tokenize first", folder, strerror(errno),
                        name);
    int64_t found = 0, expected = 0, shard = 0, of = 0;
    eh_status status = EH_OK;
    for (struct dirent *entry; status == EH_OK && (entry = readdir(entries)) != NULL;) {
        if (!eh_shard_name_parse(entry->d_name, name, &shard, &of))
            continue;
        if (found > 0 && of != expected)
            status = eh_error(EH_INPUT,
                              "%s: shards of '%s' in two sets, of %" PRId64 " and of %" PRId64 ": run tokenize again",
                              folder, name, expected, of);
        expected = of;
        found++;
    }
    closedir(entries);
    if (status == EH_OK && (found == 0 || found != expected))
        status = eh_error(EH_INPUT, "%s: %" PRId64 " of %" PRId64 " shards of data set '%s': run tokenize first",
                          folder, found, expected, name);
    EH_TRY(status);
    char **list = NULL;
    eh_string path = {0};
    EH_TRY(EH_ALLOC(found + 1, &list));
    for (int64_t i = 0; i < found && status == EH_OK; i++) {
        status = eh_shard_path(folder, name, i, found, &path);
        if (status == EH_OK)
            status = eh_copy_string(path.bytes, &list[i]);
    }
    eh_string_deinit(&path);
    if (status != EH_OK)
        eh_hdf5_free_texts(&list);
    *paths = list;
    *count = found;
    return status;
}

static eh_status file_attribute(const char *path, const char *attribute, char **value)
{
    hid_t file = -1;
    EH_TRY(eh_hdf5_open(path, &file));
    const eh_status status = eh_hdf5_read_text(file, attribute, value);
    eh_hdf5_close(&file);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", path);
}

eh_status eh_shards_attribute(const char *folder, const char *name, const char *attribute, char **value)
{
    char **paths = NULL;
    int64_t count = 0;
    EH_TRY(eh_shards_find(folder, name, &paths, &count));
    const eh_status status = file_attribute(paths[0], attribute, value);
    eh_hdf5_free_texts(&paths);
    return status;
}

// Every shard must come from the same run of tokenize.
static eh_status check_keys(char **paths, const char *expected, bool *equal)
{
    char *first = NULL;
    eh_status status = EH_OK;
    *equal = true;
    for (; *paths != NULL && status == EH_OK && *equal; paths++) {
        char *key = NULL;
        EH_TRY_OR(done, file_attribute(*paths, "key", &key));
        if (expected != NULL || first != NULL)
            *equal = strcmp(key, expected != NULL ? expected : first) == 0;
        if (first == NULL) {
            first = key;
            key = NULL;
        }
        eh_free(&key);
    }
done:
    eh_free(&first);
    return status;
}

eh_status eh_shards_are_fresh(const char *folder, const char *name, const char *key, bool *fresh)
{
    char **paths = NULL;
    int64_t count = 0;
    bool equal = false;
    // A set that is missing, incomplete or unreadable is not fresh, whatever the reason.
    eh_status status = eh_shards_find(folder, name, &paths, &count);
    if (status == EH_OK)
        status = check_keys(paths, key, &equal);
    eh_hdf5_free_texts(&paths);
    *fresh = status == EH_OK && equal;
    if (status == EH_INPUT) {
        eh_error_clear();
        status = EH_OK;
    }
    return status;
}

eh_status eh_shard_read_file(const char *path, eh_examples *examples)
{
    *examples = (eh_examples){0};
    eh_status status = eh_examples_prepare(examples);
    if (status == EH_OK)
        status = eh_shard_file_read(path, examples);
    if (status != EH_OK)
        eh_examples_deinit(examples);
    return status;
}

eh_status eh_shards_read(const char *folder, const char *name, eh_examples *examples)
{
    char **paths = NULL;
    int64_t count = 0;
    bool equal = false;
    eh_status status = EH_OK;
    *examples = (eh_examples){0};
    EH_TRY_OR(done, eh_shards_find(folder, name, &paths, &count));
    EH_TRY_OR(done, check_keys(paths, NULL, &equal));
    if (!equal) {
        status = eh_error(EH_INPUT, "%s: the shards are of two runs: run tokenize again", folder);
        goto done;
    }
    EH_TRY_OR(done, eh_examples_prepare(examples));
    for (int64_t i = 0; i < count; i++) EH_TRY_OR(done, eh_shard_file_read(paths[i], examples));
done:
    eh_hdf5_free_texts(&paths);
    if (status != EH_OK)
        eh_examples_deinit(examples);
    return status == EH_OK ? EH_OK : eh_error_context(status, "data set '%s'", name);
}
