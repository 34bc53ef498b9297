// `evenhand conform`: every model of the folder, every check that its expected file allows.
#include "model/conform.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "model/conform_internal.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Names of the folder's entries, sorted, without the hidden ones.
static eh_status list_folder(const char *path, char ***names, int64_t *count)
{
    int64_t capacity = 0;
    eh_status status = EH_OK;
    DIR *folder = opendir(path);
    *names = NULL;
    *count = 0;
    if (folder == NULL)
        return eh_error(EH_INPUT, "%s: there is no such folder; `conform` needs models/ and expected/ in it", path);
    for (struct dirent *entry = readdir(folder); entry != NULL && status == EH_OK; entry = readdir(folder)) {
        char *name = NULL;
        if (entry->d_name[0] == '.')
            continue;
        status = eh_copy_string(entry->d_name, &name);
        if (status == EH_OK)
            status = EH_APPEND(names, count, &capacity, name);
    }
    closedir(folder);
    if (*count > 1)
        qsort(*names, (size_t)*count, sizeof **names, compare_names);
    return status;
}

static void try_check(eh_conform *conform, const char *name, eh_status status)
{
    if (status != EH_OK)
        eh_conform_report_error(conform, name);
}

static eh_status check_model(eh_conform *conform)
{
    eh_model *model = NULL;
    EH_TRY(eh_model_open(conform->backend, conform->folder, EH_F32, EH_FOR_INFERENCE, &model));
    try_check(conform, "forward", eh_conform_forward(conform, model));
    try_check(conform, "scores", eh_conform_scores(conform, model));
    try_check(conform, "generate", eh_conform_generate(conform, model));
    eh_model_close(&model);
    try_check(conform, "hidden_states", eh_conform_hidden(conform));
    try_check(conform, "train", eh_conform_train(conform));
    try_check(conform, "tokenizer", eh_conform_text(conform));
    return EH_OK;
}

static eh_status check_one(const char *folder, const char *name, eh_backend *backend, FILE *out,
                           eh_conform_result *result)
{
    eh_string model = {0}, expected = {0};
    eh_conform conform = {.name = name, .backend = backend, .file = -1, .out = out, .result = result};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&model, "%s/models/%s", folder, name));
    EH_TRY_OR(done, eh_string_printf(&expected, "%s/expected/%s.h5", folder, name));
    conform.folder = model.bytes;
    try_check(&conform, "open", eh_hdf5_open(expected.bytes, &conform.file));
    if (conform.file >= 0)
        try_check(&conform, "open", check_model(&conform));
done:
    eh_hdf5_close(&conform.file);
    eh_string_deinit(&model);
    eh_string_deinit(&expected);
    return status;
}

eh_status eh_conform_run(const char *folder, const char *device, int threads, const char *only, FILE *out,
                         eh_conform_result *result)
{
    eh_string models = {0};
    char **names = NULL;
    int64_t count = 0;
    eh_backend *backend = NULL;
    eh_status status = EH_OK;
    *result = (eh_conform_result){0};
    EH_TRY_OR(done, eh_string_printf(&models, "%s/models", folder));
    EH_TRY_OR(done, list_folder(models.bytes, &names, &count));
    EH_TRY_OR(done, eh_backend_open(device, 0, threads, &backend));
    for (int64_t i = 0; i < count; i++)
        if (only == NULL || strstr(names[i], only) != NULL)
            EH_TRY_OR(done, check_one(folder, names[i], backend, out, result));
    fprintf(out, "%lld passed, %lld failed\n", (long long)result->passed, (long long)result->failed);
    if (result->passed + result->failed == 0)
        status = eh_error(EH_INPUT, "%s: holds no model to check", models.bytes);
done:
    eh_backend_close(&backend);
    for (int64_t i = 0; i < count; i++) eh_free(&names[i]);
    eh_free(&names);
    eh_string_deinit(&models);
    return status;
}
