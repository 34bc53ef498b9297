// Folders in and out: what we save, transformers loads with equal logits, in one file or in shards; what torch.save
// writes, we load; random models are what their seed says.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "model/model.h"
#include "support/cmocka.h"
#include "support/folder.h"

static const char *const models[] = {"bloom-a",     "bloom-b",     "bloom-a-fp16", "gpt2-a",
                                     "gpt2-a-fp16", "t5-a",        "t5-a-bf16",    "bert-mlm",
                                     "bert-nsp",    "bert-regard", "roberta-mlm",  "roberta-toxic"};
enum { MODEL_COUNT = sizeof models / sizeof *models };

static void need_oracle(void)
{
    const char *python = getenv("EVENHAND_PYTHON");
    if (eh_test_shared() == NULL || python == NULL) {
        printf("SKIPPED TEST: no ../shared or no EVENHAND_PYTHON\n");
        skip();
    }
}

static void fixture(const char *name, char path[4096])
{
    snprintf(path, 4096, "%s/oracle/fixtures/models/%s", eh_test_shared(), name);
}

static int python(const char *arguments)
{
    static char command[131072];
    snprintf(command, sizeof command, "\"$EVENHAND_PYTHON\" '%s/tests/model/folders.py' %s 2>&1",
             getenv("EVENHAND_SOURCE"), arguments);
    return system(command);
}

static eh_model *open_model(eh_backend *backend, const char *folder, eh_model_use use)
{
    eh_model *model = NULL;
    if (eh_model_open(backend, folder, EH_F32, use, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    return model;
}

static eh_backend *open_backend(void)
{
    eh_backend *backend = NULL;
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
    return backend;
}

// One folder per model; `arguments` lists fixture and folder by turns.
static void make_folders(const char *mode, char *folders[MODEL_COUNT], char arguments[65536])
{
    size_t used = (size_t)snprintf(arguments, 65536, "%s", mode);
    for (int i = 0; i < MODEL_COUNT; i++) {
        char from[4096];
        fixture(models[i], from);
        folders[i] = eh_test_folder_new();
        used += (size_t)snprintf(arguments + used, 65536 - used, " '%s' '%s'", from, folders[i]);
    }
}

static void expect_equal_digests(eh_backend *backend, char *folders[MODEL_COUNT])
{
    for (int i = 0; i < MODEL_COUNT; i++) {
        char from[4096], digest[65], again[65];
        fixture(models[i], from);
        eh_model *model = open_model(backend, from, EH_FOR_INFERENCE);
        eh_model *other = open_model(backend, folders[i], EH_FOR_INFERENCE);
        assert_int_equal(eh_model_digest(model, digest), EH_OK);
        assert_int_equal(eh_model_digest(other, again), EH_OK);
        assert_string_equal(digest, again);
        eh_model_close(&model);
        eh_model_close(&other);
        eh_test_folder_remove(&folders[i]);
    }
}

static void save_and_compare(uint64_t shard_bytes, const char *expected_file)
{
    need_oracle();
    static char arguments[65536];
    char *folders[MODEL_COUNT];
    eh_backend *backend = open_backend();
    make_folders("same", folders, arguments);
    for (int i = 0; i < MODEL_COUNT; i++) {
        char from[4096];
        fixture(models[i], from);
        eh_model *model = open_model(backend, from, EH_FOR_TRAINING);
        assert_int_equal(eh_model_save_shards(model, folders[i], from, shard_bytes), EH_OK);
        assert_true(eh_test_exists(eh_test_path(folders[i], expected_file)));
        eh_model_close(&model);
    }
    assert_int_equal(python(arguments), 0);
    expect_equal_digests(backend, folders);
    eh_backend_close(&backend);
}

static void test_transformers_loads_what_we_save(void **state)
{
    (void)state;
    save_and_compare(5000000000u, "model.safetensors");
}

static void test_transformers_loads_shards(void **state)
{
    (void)state;
    save_and_compare(40000, "model.safetensors.index.json");
}

static void test_opens_both_formats_of_torch_save(void **state)
{
    (void)state;
    need_oracle();
    static char arguments[65536];
    static const char *const formats[] = {"zip", "older"};
    eh_backend *backend = open_backend();
    for (int f = 0; f < 2; f++) {
        char *folders[MODEL_COUNT], command[16384];
        make_folders(formats[f], folders, arguments);
        assert_int_equal(python(arguments), 0);
        for (int i = 0; i < MODEL_COUNT; i++) {
            char from[4096];
            fixture(models[i], from);
            snprintf(command, sizeof command, "cp '%s/config.json' '%s/'", from, folders[i]);
            assert_int_equal(system(command), 0);
        }
        expect_equal_digests(backend, folders);
    }
    eh_backend_close(&backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers_loads_what_we_save),
        cmocka_unit_test(test_transformers_loads_shards),
        cmocka_unit_test(test_opens_both_formats_of_torch_save),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
