// Which files hold a model's weights.
#include "model/folder.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/pickle.h"
#include "io/safetensors.h"

static eh_status join(const char *folder, const char *name, eh_string *path)
{
    eh_string_clear(path);
    return eh_string_printf(path, "%s/%s", folder, name);
}

eh_status eh_folder_read_config(const char *folder, eh_string *path, eh_string *config)
{
    eh_mapped_file file;
    EH_TRY(join(folder, "config.json", path));
    EH_TRY(eh_mapped_file_open(path->bytes, &file));
    eh_status status = EH_OK;
    if (file.size > (16u << 20))
        status = eh_error(EH_INPUT, "%s: %zu bytes are too many for a configuration", path->bytes, file.size);
    if (status == EH_OK)
        status = eh_string_append(config, (const char *)file.bytes, file.size);
    if (status == EH_OK && config->bytes == NULL)
        status = eh_error(EH_INPUT, "%s: is empty", path->bytes);
    eh_mapped_file_close(&file);
    return status;
}

eh_status eh_folder_check_name(const char *where, const char *name)
{
    if (*name == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return eh_error(EH_INPUT, "%s: shard '%s' is not a file of this folder", where, name);
    return EH_OK;
}

static eh_status open_file(const char *path, bool is_pickle, eh_stored_tensors *stored)
{
    return is_pickle ? eh_torch_file_open(path, stored) : eh_safetensors_open(path, stored);
}

static bool is_open(const eh_stored_tensors *stored, const char *path)
{
    for (int64_t i = 0; i < stored->file_count; i++)
        if (strcmp(stored->files[i].path, path) == 0)
            return true;
    return false;
}

// The index says which shard holds which tensor; what it says must be so.
static eh_status open_shards(const char *folder, const char *index_path, bool is_pickle, eh_stored_tensors *stored)
{
    eh_string path = {0};
    json_error_t problem;
    json_t *index = json_load_file(index_path, 0, &problem);
    json_t *map = json_object_get(index, "weight_map"), *value;
    eh_status status = EH_OK;
    const char *name;
    if (!json_is_object(map) || json_object_size(map) == 0) {
        status = eh_error(EH_INPUT, "%s: has no \"weight_map\": %s", index_path, index == NULL ? problem.text : "");
        goto done;
    }
    json_object_foreach(map, name, value)
    {
        if (!json_is_string(value)) {
            status = eh_error(EH_INPUT, "%s: the file of tensor '%s' is not a text", index_path, name);
            goto done;
        }
        EH_TRY_OR(done, eh_folder_check_name(index_path, json_string_value(value)));
        EH_TRY_OR(done, join(folder, json_string_value(value), &path));
        if (!is_open(stored, path.bytes))
            EH_TRY_OR(done, open_file(path.bytes, is_pickle, stored));
    }
    EH_TRY_OR(done, eh_stored_tensors_sort(stored));
    json_object_foreach(map, name, value)
    {
        const eh_stored_tensor *tensor = eh_stored_tensors_find(stored, name);
        EH_TRY_OR(done, join(folder, json_string_value(value), &path));
        if (tensor == NULL || strcmp(stored->files[tensor->file].path, path.bytes) != 0) {
            status = eh_error(EH_INPUT, "%s: tensor '%s' is not in %s", index_path, name, path.bytes);
            goto done;
        }
    }
done:
    json_decref(index);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_folder_open_weights(const char *folder, eh_stored_tensors *stored)
{
    static const struct {
        const char *name;
        bool is_index, is_pickle;
    } files[] = {{"model.safetensors", false, false},
                 {"model.safetensors.index.json", true, false},
                 {"pytorch_model.bin", false, true},
                 {"pytorch_model.bin.index.json", true, true}};
    eh_string path = {0};
    eh_status status = EH_OK;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        EH_TRY_OR(done, join(folder, files[i].name, &path));
        if (access(path.bytes, F_OK) != 0)
            continue;
        if (files[i].is_index) {
            status = open_shards(folder, path.bytes, files[i].is_pickle, stored);
        } else {
            EH_TRY_OR(done, open_file(path.bytes, files[i].is_pickle, stored));
            status = eh_stored_tensors_sort(stored);
        }
        goto done;
    }
    status = eh_error(EH_INPUT, "%s: has no weights: looked for model.safetensors, pytorch_model.bin and their indices",
                      folder);
done:
    eh_string_deinit(&path);
    return status;
}
