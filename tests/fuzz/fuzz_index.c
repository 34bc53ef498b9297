// Fuzz target: any bytes as the index of a sharded model, in a folder that has two shards, one of safetensors and one
// beside it that no index may reach. What is opened lies in the folder.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_tensors.h"
#include "model/folder.h"

static char outer[] = "/tmp/evenhand-fuzz-XXXXXX", folder[64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(const char *directory, const char *name, const void *bytes, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        abort();
}

static void remove_files(void)
{
    static const char *const names[] = {"in/a", "in/b", "in/model.safetensors.index.json", "c", "in", ""};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", outer, names[i]);
        remove(path);
    }
}

static void write_shard(const char *directory, const char *name, char tensor)
{
    uint8_t bytes[128] = {0};
    const int header =
        snprintf((char *)bytes + 8, 100, "{\"%c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", tensor);
    bytes[0] = (uint8_t)header;
    write_file(directory, name, bytes, 8 + (size_t)header + 8);
}

static void prepare(void)
{
    if (folder[0] != '\0')
        return;
    if (mkdtemp(outer) == NULL)
        abort();
    snprintf(folder, sizeof folder, "%s/in", outer);
    if (mkdir(folder, 0700) != 0)
        abort();
    write_shard(folder, "a", 'a');
    write_shard(folder, "b", 'b');
    write_shard(outer, "c", 'c');
    atexit(remove_files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    eh_stored_tensors list = {0};
    prepare();
    write_file(folder, "model.safetensors.index.json", data, size);
    const eh_status status = eh_folder_open_weights(folder, &list);
    EH_ASSERT(status == EH_OK || status == EH_INPUT);
    for (int64_t f = 0; f < list.file_count; f++) {
        const char *path = list.files[f].path;
        EH_ASSERT(strncmp(path, folder, strlen(folder)) == 0 && strchr(path + strlen(folder) + 1, '/') == NULL);
    }
    for (int64_t i = 0; status == EH_OK && i < list.count; i++) EH_ASSERT(strcmp(list.tensors[i].name, "c") != 0);
    eh_stored_tensors_close(&list);
    return 0;
}
