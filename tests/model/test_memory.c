// Memory of models that are not trained, in a process of its own for each: what opening takes next to the files' size,
// and what scoring and generation take next to what was predicted.
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory.h"
#include "model/generate.h"
#include "model/memory.h"
#include "support/cmocka.h"
#include "support/folder.h"

#define MIB 1048576.0

// 25 to 45 MB in fp32. BERT's queries, keys and values are joined, so they are copied out of the file.
static const char *const configs[] = {
    "{\"model_type\":\"bloom\",\"vocab_size\":20000,\"hidden_size\":320,\"n_head\":5,\"n_layer\":3}",
    "{\"model_type\":\"gpt2\",\"vocab_size\":20001,\"n_embd\":320,\"n_head\":5,\"n_layer\":3,\"n_positions\":256}",
    "{\"model_type\":\"bert\",\"vocab_size\":20000,\"hidden_size\":320,\"num_attention_heads\":5,"
    "\"num_hidden_layers\":3,\"intermediate_size\":1280}",
    "{\"model_type\":\"t5\",\"vocab_size\":20000,\"d_model\":320,\"d_kv\":64,\"d_ff\":640,\"num_heads\":5,"
    "\"num_layers\":3,\"pad_token_id\":0,\"eos_token_id\":1,\"feed_forward_proj\":\"gated-gelu\","
    "\"tie_word_embeddings\":false}",
};

// Lets the greatest resident size begin anew; false where the system does not let us.
static bool forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL)
        return false;
    const bool written = fputs("5", file) >= 0;
    return (fclose(file) == 0) && written;
}

static double peak_bytes(void)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %lf", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return 1024 * kib;
}

typedef struct {
    double predicted, opening, opened, working; // bytes beyond what the process had before
    bool skipped, ok;
} measurement;
typedef struct {
    const char *folder;
    eh_dtype compute;
    bool generates;
} task;

static eh_status ignore(void *context, const eh_generated *text)
{
    (void)context;
    (void)text;
    return EH_OK;
}

enum { TOKENS = 512, SEQUENCES = 16, NEW = 24 };

// A batch that fills its limits; all of its positions have labels.
static eh_status score(eh_model *model, eh_inference_use *use)
{
    static int32_t ids[TOKENS], rows[TOKENS], labels[TOKENS];
    static float log_probabilities[TOKENS];
    int64_t offsets[SEQUENCES + 1];
    for (int32_t i = 0; i < TOKENS; i++) {
        ids[i] = labels[i] = 7 + i * 31 % 19000;
        rows[i] = i;
    }
    for (int s = 0; s <= SEQUENCES; s++) offsets[s] = s * (TOKENS / SEQUENCES);
    const bool decodes = eh_model_kind_of(model) == EH_ENCODER_DECODER;
    const eh_batch batch = {.sequence_count = SEQUENCES,
                            .input_ids = ids,
                            .input_offsets = offsets,
                            .decoder_ids = decodes ? ids : NULL,
                            .decoder_offsets = decodes ? offsets : NULL,
                            .label_count = TOKENS,
                            .label_rows = rows,
                            .label_ids = labels};
    use->batch = (eh_batch_limits){TOKENS, decodes ? TOKENS : 0, SEQUENCES, TOKENS};
    EH_TRY(eh_model_reserve(model, &use->batch));
    return eh_model_score(model, &batch, log_probabilities);
}

static eh_status generate(eh_model *model, eh_inference_use *use)
{
    static int32_t ids[TOKENS];
    int64_t offsets[SEQUENCES + 1], items[SEQUENCES];
    const int64_t length = TOKENS / SEQUENCES;
    for (int32_t i = 0; i < TOKENS; i++) ids[i] = 7 + i * 31 % 19000;
    for (int s = 0; s <= SEQUENCES; s++) offsets[s] = s * length;
    for (int s = 0; s < SEQUENCES; s++) items[s] = s;
    const eh_generation settings = {
        .max_new_tokens = NEW, .samples = 1, .temperature = 1, .top_p = 1, .repetition_penalty = 1, .eos = -1};
    const bool decodes = eh_model_kind_of(model) == EH_ENCODER_DECODER;
    *use = (eh_inference_use){.slots = SEQUENCES,
                              .logit_rows = SEQUENCES,
                              .greedy = true,
                              .slot_rows = (decodes ? 1 : length) + NEW,
                              .source_rows = decodes ? length : 0,
                              .prompts = {decodes ? length : TOKENS, decodes ? SEQUENCES : 0, SEQUENCES, SEQUENCES}};
    assert_int_equal(eh_generation_slots(SEQUENCES, 0), SEQUENCES);
    return eh_generate(model, &settings, SEQUENCES, ids, offsets, items, ignore, NULL);
}

static eh_status measure(const task *t, measurement *m)
{
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    eh_inference_use use = {.slots = 0};
    EH_TRY(eh_backend_open("cpu", 0, 1, &backend));
    m->skipped = !forget_peak();
    const double before = (double)eh_resident_bytes();
    EH_TRY(eh_model_open(backend, t->folder, t->compute, EH_FOR_INFERENCE, &model));
    m->opening = peak_bytes() - before;
    m->opened = (double)eh_resident_bytes() - before;
    EH_TRY(t->generates ? generate(model, &use) : score(model, &use));
    m->working = peak_bytes() - before;
    const eh_inference_memory memory = eh_model_inference_memory(model, true, &use);
    m->predicted = (double)eh_inference_memory_sum(&memory);
    eh_model_close(&model);
    eh_backend_close(&backend);
    m->ok = true;
    return EH_OK;
}

static measurement in_a_process(const task *t)
{
    measurement m = {0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (measure(t, &m) != EH_OK)
            fprintf(stderr, "%s\n", eh_error_message());
        _exit(write(ends[1], &m, sizeof m) == sizeof m ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &m, sizeof m), sizeof m);
    close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(m.ok);
    if (m.skipped || getenv("EVENHAND_SANITIZED") != NULL) {
        printf("SKIPPED TEST: resident sizes can't be measured here\n");
        skip();
    }
    return m;
}

static double files_bytes(const char *folder)
{
    glob_t files;
    double sum = 0;
    assert_int_equal(glob(eh_test_path(folder, "*.safetensors"), 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct stat about;
        assert_int_equal(stat(files.gl_pathv[i], &about), 0);
        sum += (double)about.st_size;
    }
    globfree(&files);
    return sum;
}

// The folder of a model with random weights; shard_bytes 0: one file.
static char *make_folder(const char *config, uint64_t shard_bytes)
{
    char *folder = eh_test_folder_new();
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
    assert_int_equal(eh_model_new(backend, config, 5, EH_F32, EH_FOR_INFERENCE, &model), EH_OK);
    assert_int_equal(shard_bytes == 0 ? eh_model_save(model, folder, NULL)
                                      : eh_model_save_shards(model, folder, NULL, shard_bytes),
                     EH_OK);
    eh_model_close(&model);
    eh_backend_close(&backend);
    return folder;
}

enum { CONFIGS = sizeof configs / sizeof *configs };
static char *folders[CONFIGS];

static int make_folders(void **state)
{
    (void)state;
    for (int c = 0; c < CONFIGS; c++) folders[c] = make_folder(configs[c], c == 1 ? 8 << 20 : 0);
    return 0;
}

static int remove_folders(void **state)
{
    (void)state;
    for (int c = 0; c < CONFIGS; c++) eh_test_folder_remove(&folders[c]);
    return 0;
}

static void test_opening_takes_the_files_size_and_five_per_cent(void **state)
{
    (void)state;
    for (int c = 0; c < CONFIGS; c++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            const measurement m = in_a_process(&(task){.folder = folders[c], .compute = bf16 ? EH_BF16 : EH_F32});
            const double size = files_bytes(folders[c]);
            printf("%.40s, %s: files %.1f MiB, opening %.1f, opened %.1f\n", configs[c], bf16 ? "bf16" : "fp32",
                   size / MIB, m.opening / MIB, m.opened / MIB);
            assert_true(size > 20 * MIB);
            assert_true(m.opening <= 1.05 * size && m.opened <= 1.05 * size);
            assert_true(m.opened >= (bf16 ? 0.45 : 0.95) * size); // else nothing was read
            assert_true(!bf16 || m.opening <= 0.6 * size);        // converted a piece at a time
        }
}

static void test_what_scoring_and_generation_take_is_predicted(void **state)
{
    (void)state;
    for (int c = 0; c < CONFIGS; c++)
        for (int bf16 = 0; bf16 < 2; bf16++)
            for (int generates = 0; generates < 2; generates++) {
                if (generates && c == 2)
                    continue;
                const measurement m = in_a_process(&(task){folders[c], bf16 ? EH_BF16 : EH_F32, generates});
                printf("%.40s, %s, %s: predicted %.1f MiB, measured %.1f\n", configs[c], bf16 ? "bf16" : "fp32",
                       generates ? "generation" : "scoring", m.predicted / MIB, m.working / MIB);
                assert_true(m.working > 0.95 * m.predicted && m.working < 1.05 * m.predicted);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_takes_the_files_size_and_five_per_cent),
        cmocka_unit_test(test_what_scoring_and_generation_take_is_predicted),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
