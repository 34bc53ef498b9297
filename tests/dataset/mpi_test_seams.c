// A text file that ranks share by byte ranges: no line is lost or doubled, wherever the seams fall.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/memory.h"
#include "dataset/prepare.h"
#include "io/hdf5.h"
#include "io/shard.h"
#include "support/cmocka.h"
#include "support/folder.h"
#include "support/rank_folder.h"
#include "support/ranks.h"

static eh_comm *comm;
static char *folder;

// A word-level tokenizer of one word: what the texts are is in the shards' `text`.
static const char tokenizer_json[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"[UNK]\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
    "\"normalized\": false, \"special\": true},"
    "{\"id\": 1, \"content\": \"</s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
    "\"normalized\": false, \"special\": true}], \"normalizer\": null, \"pre_tokenizer\": {\"type\": "
    "\"BertPreTokenizer\"}, "
    "\"post_processor\": null, \"decoder\": null, \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
    "\"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, "
    "\"vocab\": {\"[UNK]\": 0, \"</s>\": 1, \"a\": 2, \"##a\": 3}}}";

static const char *const lines[] = {"a",
                                    "aaa aaa",
                                    "",
                                    "aaaa\xc3\xa9"
                                    "a",
                                    "a",
                                    "",
                                    "",
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa a",
                                    "a a"};
enum { LINES = sizeof lines / sizeof *lines };

static void write_text(const char *path, const char *end, bool mark, bool last_end, bool packed)
{
    char text[512] = "";
    if (mark)
        strcat(text, "\xef\xbb\xbf");
    for (int i = 0; i < LINES; i++) {
        strcat(text, lines[i]);
        if (i + 1 < LINES || last_end)
            strcat(text, end);
    }
    gzFile file = gzopen(path, packed ? "wb" : "wbT");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), (int)strlen(text));
    assert_int_equal(gzclose(file), Z_OK);
}

static bool lines_are_there(const char *shards)
{
    eh_examples e = {0};
    bool ok = eh_shards_read(shards, "t", &e) == EH_OK;
    int64_t example = 0;
    for (int i = 0; ok && i < LINES; i++) {
        if (*lines[i] == '\0')
            continue;
        const char *field = NULL;
        size_t size = 0;
        ok = eh_examples_field(&e, example, "text", &field, &size) && size == strlen(lines[i]) &&
             memcmp(field, lines[i], size) == 0 && e.source_rows[example] == (uint64_t)i;
        example++;
    }
    ok = ok && example == e.count;
    eh_examples_deinit(&e);
    char *rejected = ok ? eh_test_read(eh_test_path(shards, "t-rejected.csv"), NULL) : NULL;
    ok = ok && strcmp(rejected, "row,line,reason\n2,3,\"an empty line\"\n5,6,\"an empty line\"\n6,7,\"an empty "
                                "line\"\n") == 0;
    free(rejected);
    return ok;
}

static bool prepare(const eh_job *job, const eh_text_model *model, const eh_job_data *data, int64_t block)
{
    char shards[4200];
    snprintf(shards, sizeof shards, "%s/shards-%d", folder, (int)block);
    const eh_log log = eh_log_to_stderr("test", false);
    const eh_prepare_settings settings = {
        .comm = comm, .log = &log, .job = job, .model = model, .folder = shards, .block_bytes = block};
    const bool made = eh_prepare_data_set(&settings, data) == EH_OK;
    if (!made)
        fprintf(stderr, "%s\n", eh_error_message());
    const bool ok = made && lines_are_there(shards);
    if (!ok)
        fprintf(stderr, "blocks of %d bytes of %s\n", (int)block, data->path);
    // The next file's shards are others: the key has the digest of the source.
    return ok && eh_comm_barrier(comm) == EH_OK;
}

static void test_no_line_is_lost_or_doubled_at_any_seam(void **state)
{
    (void)state;
    char path[4200], tokenizer[4200];
    snprintf(tokenizer, sizeof tokenizer, "%s/tokenizer.json", folder);
    if (eh_comm_rank(comm) == 0)
        eh_test_write_text(tokenizer, tokenizer_json);
    bool ok = eh_comm_barrier(comm) == EH_OK;
    const char *job_text = "model: {architecture: bloom, config: {model_type: bloom, vocab_size: 4}, tokenizer: x}\n";
    eh_job job = {0};
    eh_text_model model = {0};
    ok = ok && eh_job_parse("test.yaml", job_text, strlen(job_text), NULL, 0, &job) == EH_OK;
    char *kept = job.model.tokenizer;
    job.model.tokenizer = tokenizer;
    ok = ok && eh_text_model_open(&job.model, &model) == EH_OK;
    if (!ok)
        fprintf(stderr, "%s\n", eh_error_message());
    assert_all_ranks(ok);
    for (int kind = 0; kind < 5; kind++) {
        snprintf(path, sizeof path, "%s/text-%d%s", folder, kind, kind == 4 ? ".gz" : "");
        if (eh_comm_rank(comm) == 0)
            write_text(path, kind == 1 || kind == 3 ? "\r\n" : "\n", kind >= 2, kind != 2, kind == 4);
        ok = eh_comm_barrier(comm) == EH_OK;
        const eh_job_data data = {.name = "t", .format = "text", .path = path, .use = EH_USE_TRAIN, .task = EH_TASK_LM};
        for (int64_t block = 1; block <= 90 && ok; block += block < 40 ? 1 : 10)
            ok = eh_test_all_ranks(prepare(&job, &model, &data, block));
        assert_all_ranks(ok);
    }
    job.model.tokenizer = kept;
    eh_text_model_close(&model);
    eh_job_deinit(&job);
}

// Every other line is rejected. What one rank holds depends on the block, not on the file.
static void test_memory_does_not_grow_with_the_text(void **state)
{
    (void)state;
    if (eh_comm_size(comm) > 2 || getenv("EVENHAND_SANITIZED") != NULL) // it takes its time; sanitizers keep memory
        return;
    char path[4200], shards[4200], tokenizer[4200];
    snprintf(path, sizeof path, "%s/long", folder);
    snprintf(shards, sizeof shards, "%s/long-shards", folder);
    snprintf(tokenizer, sizeof tokenizer, "%s/tokenizer.json", folder);
    const char *job_text = "model: {architecture: bloom, config: {model_type: bloom, vocab_size: 4}, tokenizer: x}\n";
    eh_job job = {0};
    eh_text_model model = {0};
    bool ok = eh_job_parse("test.yaml", job_text, strlen(job_text), NULL, 0, &job) == EH_OK;
    char *kept = job.model.tokenizer;
    job.model.tokenizer = tokenizer;
    ok = ok && eh_text_model_open(&job.model, &model) == EH_OK;
    job.model.tokenizer = kept;
    const eh_log log = eh_log_to_stderr("test", false);
    const eh_job_data data = {.name = "t", .format = "text", .path = path, .use = EH_USE_TRAIN, .task = EH_TASK_LM};
    const eh_prepare_settings settings = {.comm = comm,
                                          .log = &log,
                                          .job = &job,
                                          .model = &model,
                                          .folder = shards,
                                          .block_bytes = 1 << 17,
                                          .shard_bytes = 1 << 18};
    size_t peaks[2] = {0, 0};
    for (int size = 0; size < 2; size++) {
        FILE *file = eh_comm_rank(comm) == 0 ? fopen(path, "w") : NULL;
        for (int i = 0; file != NULL && i < (size == 0 ? 40000 : 400000); i++) fputs("aa aaaaaa\n\n", file);
        if (file != NULL)
            fclose(file);
        ok = eh_test_all_ranks(ok && eh_comm_barrier(comm) == EH_OK);
        ok = eh_test_all_ranks(ok && eh_prepare_data_set(&settings, &data) == EH_OK);
        peaks[size] = eh_peak_resident_bytes();
    }
    const size_t growth = peaks[1] - peaks[0];
    if (growth > 12 << 20) // the list of 400,000 rejected rows alone took 45 MB
        fprintf(stderr, "10 times the text took %zu bytes more than %zu\n", growth, peaks[0]);
    eh_text_model_close(&model);
    eh_job_deinit(&job);
    assert_all_ranks(ok && growth <= 12 << 20);
}

static int set_up(void **state)
{
    (void)state;
    return eh_test_rank_folder_new(comm, &folder);
}

static int tear_down(void **state)
{
    (void)state;
    return eh_test_rank_folder_remove(comm, &folder);
}

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_line_is_lost_or_doubled_at_any_seam),
        cmocka_unit_test(test_memory_does_not_grow_with_the_text),
    };
    const int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    eh_comm_end(&comm);
    return failed;
}
