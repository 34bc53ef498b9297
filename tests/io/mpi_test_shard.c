// Shards come back as they were written, are the same bytes on any number of ranks, and refuse what is not consistent.
#include "io/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/philox.h"
#include "core/sha256.h"
#include "io/hdf5.h"
#include "support/cmocka.h"
#include "support/folder.h"
#include "support/rank_folder.h"
#include "support/ranks.h"

enum { EXAMPLES = 60 };

static eh_comm *comm;
static char *folder;

// Example i is a function of i alone.
static eh_status add_example(int64_t i, eh_examples *examples)
{
    int32_t input[40], target[20], candidates[30];
    int64_t lengths[3];
    const int8_t labels[3] = {0, 1, 2};
    const uint64_t draw = eh_random_u64(1, EH_STREAM_TEST, (uint64_t)i);
    eh_example e = {.input = input, .target = target, .candidate_ids = candidates, .candidate_lengths = lengths};
    e.input_count = (int64_t)(draw % 40);
    e.target_count = (int64_t)(draw >> 8 & 15);
    e.candidate_count = (int64_t)(draw >> 16) % 4;
    for (int64_t k = 0; k < 40; k++) input[k] = (int32_t)(i * 100 + k);
    for (int64_t k = 0; k < 20; k++) target[k] = (int32_t)(i * 100 + 50 + k);
    for (int64_t k = 0; k < 30; k++) candidates[k] = (int32_t)(i * 100 + 70 + k);
    for (int64_t c = 0; c < 3; c++) lengths[c] = (int64_t)(draw >> (20 + 4 * c) & 7);
    e.labels = labels;
    e.group = (uint16_t)(draw >> 40 & 1);
    e.source_row = (uint64_t)i * 2;
    e.split = (eh_split)(draw >> 44 & 1);
    char text[64];
    e.text_size = (size_t)snprintf(text, sizeof text, "%lld\x1fsentence %llu\x1f", (long long)i,
                                   (unsigned long long)(draw % 1000));
    e.text = text;
    return eh_examples_add(examples, &e);
}

static eh_status make_examples(int64_t first, int64_t count, eh_examples *examples)
{
    for (int64_t i = first; i < first + count; i++) EH_TRY(add_example(i, examples));
    return EH_OK;
}

static const char *const fields[] = {"id", "sentence", "note", NULL};
static const char *const groups[] = {"one", "two", NULL};
static const eh_shard_origin origin = {.name = "some-data",
                                       .data_format = "pairs",
                                       .task = "lm",
                                       .template_text = "{text}",
                                       .layout = "append",
                                       .tokenizer_sha256 = "t",
                                       .source_sha256 = "s",
                                       .job = "name: x\n",
                                       .key = "the key",
                                       .seed = 5};

static eh_status write_examples(const char *where, int64_t pieces, uint64_t shard_bytes, int64_t *shards)
{
    eh_shard_writer *writer = NULL;
    eh_status status = eh_shard_writer_open(comm, where, &origin, fields, shard_bytes, &writer);
    for (int64_t p = 0; p < pieces && status == EH_OK; p++) {
        const int64_t begin = EXAMPLES * p / pieces, end = EXAMPLES * (p + 1) / pieces;
        int64_t first = 0, count = 0;
        eh_comm_slice(comm, end - begin, &first, &count);
        eh_examples examples = {0};
        status = make_examples(begin + first, count, &examples);
        if (status == EH_OK)
            status = eh_shard_writer_add(writer, &examples);
        eh_examples_deinit(&examples);
    }
    if (status == EH_OK)
        status = eh_shard_writer_finish(writer, groups, shards);
    eh_shard_writer_close(&writer);
    return status;
}

static bool equal_ids(const eh_ragged_ids *a, const eh_ragged_ids *b, int64_t count)
{
    return memcmp(a->offsets, b->offsets, (size_t)(count + 1) * 8) == 0 &&
           memcmp(a->values, b->values, a->offsets[count] * 4) == 0;
}

static bool equal_examples(const eh_examples *a, const eh_examples *b)
{
    const size_t n = (size_t)a->count;
    return a->count == b->count && equal_ids(&a->inputs, &b->inputs, a->count) &&
           equal_ids(&a->targets, &b->targets, a->count) &&
           memcmp(a->candidate_first, b->candidate_first, (n + 1) * 8) == 0 &&
           equal_ids(&a->candidates, &b->candidates, (int64_t)a->candidate_first[n]) &&
           memcmp(a->labels, b->labels, a->candidate_first[n]) == 0 && memcmp(a->groups, b->groups, n * 2) == 0 &&
           memcmp(a->source_rows, b->source_rows, n * 8) == 0 && memcmp(a->splits, b->splits, n) == 0 &&
           memcmp(a->text_offsets, b->text_offsets, (n + 1) * 8) == 0 &&
           memcmp(a->text, b->text, a->text_offsets[n]) == 0;
}

static void test_gives_back_what_was_written(void **state)
{
    (void)state;
    eh_examples expected = {0};
    bool ok = make_examples(0, EXAMPLES, &expected) == EH_OK;
    for (int64_t pieces = 1; pieces <= 7; pieces += 3) {
        for (uint64_t bytes = 0; bytes <= 4000; bytes += 400) {
            int64_t shards = 0;
            eh_examples found = {0};
            ok = ok && write_examples(folder, pieces, bytes, &shards) == EH_OK;
            ok = ok && eh_shards_read(folder, "some-data", &found) == EH_OK && equal_examples(&expected, &found);
            ok = ok &&
                 shards ==
                     (bytes == 0
                          ? 1
                          : (int64_t)((expected.inputs.offsets[EXAMPLES - 1] + expected.targets.offsets[EXAMPLES - 1] +
                                       expected.candidates.offsets[expected.candidate_first[EXAMPLES - 1]]) /
                                      (bytes / 4)) +
                                1);
            const char *field = NULL;
            size_t size = 0;
            ok = ok && eh_examples_field(&found, 7, "id", &field, &size) && size == 1 && *field == '7';
            ok = ok && eh_examples_field(&found, 7, "note", &field, &size) && size == 0;
            ok = ok && !eh_examples_field(&found, 7, "colour", &field, &size);
            ok = ok && strcmp(found.group_names[1], "two") == 0;
            eh_examples_deinit(&found);
            eh_comm_barrier(comm) == EH_OK ? (void)0 : abort();
        }
    }
    assert_all_ranks(ok);
    eh_examples_deinit(&expected);
}

// tests/io/test_shard_ranks.sh compares the same files between numbers of ranks.
static bool same_files(const char *one, const char *all, int64_t shards)
{
    bool same = true;
    for (int64_t s = 0; s < shards && same; s++) {
        char name[64], a[EH_SHA256_TEXT], b[EH_SHA256_TEXT];
        snprintf(name, sizeof name, "some-data-%05d-of-%05d.h5", (int)s, (int)shards);
        same = eh_sha256_file(eh_test_path(one, name), a) == EH_OK &&
               eh_sha256_file(eh_test_path(all, name), b) == EH_OK && strcmp(a, b) == 0;
    }
    return same;
}

static void test_files_are_the_same_bytes_however_the_examples_come(void **state)
{
    (void)state;
    char a[4096], b[4096];
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    int64_t shards = 0, again = 0;
    bool ok = write_examples(a, 1, 1000, &shards) == EH_OK && write_examples(b, 5, 1000, &again) == EH_OK;
    ok = ok && shards == again && shards > 3 && same_files(a, b, shards);
    assert_all_ranks(ok);
    if (eh_comm_rank(comm) == 0 && getenv("EVENHAND_DIGESTS") != NULL) { // for the comparison between rank counts
        for (int64_t s = 0; s < shards; s++) {
            char name[64], digest[EH_SHA256_TEXT];
            snprintf(name, sizeof name, "some-data-%05d-of-%05d.h5", (int)s, (int)shards);
            if (eh_sha256_file(eh_test_path(a, name), digest) == EH_OK)
                printf("DIGEST %s %s\n", name, digest);
        }
    }
}

static void test_a_rerun_with_other_sizes_leaves_one_set(void **state)
{
    (void)state;
    char c[4096];
    snprintf(c, sizeof c, "%s/c", folder);
    int64_t shards = 0;
    bool fresh = false, other = true;
    bool ok = write_examples(c, 1, 400, &shards) == EH_OK && write_examples(c, 1, 4000, &shards) == EH_OK;
    ok = ok && eh_shards_are_fresh(c, "some-data", "the key", &fresh) == EH_OK && fresh;
    ok = ok && eh_shards_are_fresh(c, "some-data", "another key", &other) == EH_OK && !other;
    ok = ok && eh_shards_are_fresh(c, "some", "the key", &other) == EH_OK && !other; // a name that begins alike
    char **paths = NULL;
    int64_t count = 0;
    ok = ok && eh_shards_find(c, "some-data", &paths, &count) == EH_OK && count == shards;
    assert_all_ranks(ok);
    if (eh_comm_rank(comm) == 0)
        unlink(paths[count - 1]);
    eh_hdf5_free_texts(&paths);
    ok = eh_comm_barrier(comm) == EH_OK;
    ok = ok && eh_shards_are_fresh(c, "some-data", "the key", &fresh) == EH_OK && !fresh;
    eh_examples examples = {0};
    ok = ok && eh_shards_read(c, "some-data", &examples) == EH_INPUT && strstr(eh_error_message(), "run tokenize");
    assert_all_ranks(ok);
}

static void test_a_failing_rank_leaves_the_old_set(void **state)
{
    (void)state;
    char d[4096];
    snprintf(d, sizeof d, "%s/d", folder);
    int64_t shards = 0;
    bool ok = write_examples(d, 1, 400, &shards) == EH_OK;
    eh_shard_writer *writer = NULL;
    ok = ok && eh_shard_writer_open(comm, d, &origin, fields, 400, &writer) == EH_OK;
    eh_examples examples = {0};
    ok = ok && make_examples(0, 20, &examples) == EH_OK && eh_shard_writer_add(writer, &examples) == EH_OK;
    eh_examples_deinit(&examples);
    eh_shard_writer_close(&writer); // as after a failure
    ok = eh_comm_barrier(comm) == EH_OK && ok;
    bool fresh = false;
    ok = ok && eh_shards_are_fresh(d, "some-data", "the key", &fresh) == EH_OK && fresh;
    char part[4200];
    snprintf(part, sizeof part, "%s/.some-data-00000.part", d);
    ok = ok && !eh_test_exists(part);
    assert_all_ranks(ok);
}

static void test_refuses_offsets_past_the_end(void **state)
{
    (void)state;
    char e[4096];
    snprintf(e, sizeof e, "%s/e", folder);
    int64_t shards = 0;
    bool ok = write_examples(e, 1, 0, &shards) == EH_OK && shards == 1;
    const char *path = eh_test_path(e, "some-data-00000-of-00001.h5");
    if (ok && eh_comm_rank(comm) == 0) {
        const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
        const hid_t data = H5Dopen2(file, "text_offsets", H5P_DEFAULT);
        uint64_t offsets[EXAMPLES + 1];
        H5Dread(data, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets);
        offsets[EXAMPLES] += 1;
        H5Dwrite(data, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets);
        H5Dclose(data);
        H5Fclose(file);
    }
    ok = eh_comm_barrier(comm) == EH_OK && ok;
    eh_examples examples = {0};
    ok = ok && eh_shards_read(e, "some-data", &examples) == EH_INPUT &&
         strstr(eh_error_message(), "'text_offsets' covers") != NULL &&
         strstr(eh_error_message(), "some-data-00000-of-00001.h5") != NULL;
    assert_all_ranks(ok);
}

static void test_refuses_a_file_that_was_cut_off(void **state)
{
    (void)state;
    char f[4096];
    snprintf(f, sizeof f, "%s/f", folder);
    int64_t shards = 0;
    bool ok = write_examples(f, 1, 0, &shards) == EH_OK;
    const char *path = eh_test_path(f, "some-data-00000-of-00001.h5");
    if (ok && eh_comm_rank(comm) == 0)
        ok = truncate(path, 3000) == 0;
    ok = eh_comm_barrier(comm) == EH_OK && ok;
    eh_examples examples = {0};
    ok = ok && eh_shards_read(f, "some-data", &examples) == EH_INPUT && strstr(eh_error_message(), "cut off") != NULL;
    assert_all_ranks(ok);
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
        cmocka_unit_test(test_gives_back_what_was_written),
        cmocka_unit_test(test_files_are_the_same_bytes_however_the_examples_come),
        cmocka_unit_test(test_a_rerun_with_other_sizes_leaves_one_set),
        cmocka_unit_test(test_a_failing_rank_leaves_the_old_set),
        cmocka_unit_test(test_refuses_offsets_past_the_end),
        cmocka_unit_test(test_refuses_a_file_that_was_cut_off),
    };
    const int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    eh_comm_end(&comm);
    return failed;
}
