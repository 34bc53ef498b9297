#include "io/checkpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/cmocka.h"
#include "support/folder.h"
#include "support/ranks.h"

enum { LONG = 700001, SHORT = 6 };

static eh_comm *comm;
static char *folder; // the same on all ranks
static char path[600];

static float value(int64_t tensor, int64_t i)
{
    return (float)(i * 31 % 1009) / 7 + (float)tensor;
}

static const eh_checkpoint_tensor tensors[] = {
    {.name = "weights/a", .dimension_count = 1, .shape = {LONG}, .count = LONG},
    {.name = "weights/b \"quoted\"", .dimension_count = 2, .shape = {2, 3}, .count = SHORT},
    {.name = "empty", .dimension_count = 1, .shape = {0}, .count = 0},
};
static const eh_checkpoint_note notes[] = {{"step", "12"}, {"odd", "a \"b\"\\\n"}};

static eh_status write_checkpoint(void)
{
    int64_t first, count;
    eh_comm_slice(comm, LONG, &first, &count);
    float *values = malloc((size_t)count * sizeof *values), few[SHORT];
    for (int64_t i = 0; i < count; i++) values[i] = value(0, first + i);
    for (int64_t i = 0; i < SHORT; i++) few[i] = value(1, i);
    const eh_checkpoint_piece pieces[] = {{.count = count, .first = first, .values = values},
                                          {.tensor = 1, .count = SHORT, .values = few}};
    const int64_t piece_count = eh_comm_rank(comm) == eh_comm_size(comm) - 1 ? 2 : 1;
    // The first rank's notes count, though another's, such as its own time, be longer.
    const eh_checkpoint_note longer[] = {notes[0], {"odd", "twenty bytes and more, on this rank"}};
    const eh_checkpoint_note *own = eh_comm_rank(comm) == 0 ? notes : longer;
    const eh_status status = eh_checkpoint_write(comm, path, tensors, 3, own, 2, pieces, piece_count);
    free(values);
    return status;
}

static void test_gives_back_what_was_written(void **state)
{
    (void)state;
    assert_all_ranks(write_checkpoint() == EH_OK);
    eh_checkpoint *checkpoint;
    bool ok = eh_checkpoint_open(comm, path, &checkpoint) == EH_OK;
    assert_all_ranks(ok);
    ok &= strcmp(eh_checkpoint_note_of(checkpoint, "step"), "12") == 0;
    ok &= strcmp(eh_checkpoint_note_of(checkpoint, "odd"), notes[1].value) == 0;
    ok &= eh_checkpoint_note_of(checkpoint, "other") == NULL && eh_checkpoint_find(checkpoint, "weights/c") == -1;
    for (int64_t t = 0; t < 3; t++) {
        const int64_t found = eh_checkpoint_find(checkpoint, tensors[t].name), count = tensors[t].count;
        float *values = calloc((size_t)count + 1, sizeof *values);
        ok &= eh_checkpoint_count(checkpoint, found) == count;
        const int64_t skipped = count / 3; // from the middle too
        const eh_checkpoint_piece piece = {
            .tensor = found, .first = skipped, .count = count - skipped, .values = values};
        ok &= eh_checkpoint_read(checkpoint, &piece) == EH_OK;
        for (int64_t i = 0; i < count - skipped; i++) {
            const float expected = value(t, skipped + i);
            ok &= memcmp(&values[i], &expected, sizeof expected) == 0;
        }
        free(values);
    }
    eh_checkpoint_close(&checkpoint);
    char part[700];
    snprintf(part, sizeof part, "%s.part", path);
    assert_all_ranks(ok && access(part, F_OK) != 0);
}

static bool is_refused(const char *word)
{
    eh_checkpoint *checkpoint;
    const eh_status status = eh_checkpoint_open(comm, path, &checkpoint);
    const bool refused = status == EH_INPUT && checkpoint == NULL && strstr(eh_error_message(), word) != NULL;
    if (!refused)
        fprintf(stderr, "status %d, message: %s\n", (int)status, eh_error_message());
    return refused;
}

// Any flipped bit: in the length, the header, its padding, the first and the last data.
static void test_detects_a_flipped_bit(void **state)
{
    (void)state;
    assert_all_ranks(write_checkpoint() == EH_OK);
    const long places[] = {0, 1, 7, 8, 30, 60, 99, 130, 200, 260, 2000, 1200000, -1, -30};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        for (int undo = 0; undo < 2; undo++) {
            if (eh_comm_rank(comm) == 0) {
                FILE *file = fopen(path, "r+b");
                fseek(file, places[p], places[p] < 0 ? SEEK_END : SEEK_SET);
                const int byte = fgetc(file);
                fseek(file, places[p], places[p] < 0 ? SEEK_END : SEEK_SET);
                fputc(byte ^ 0x10, file);
                fclose(file);
            }
            MPI_Barrier(MPI_COMM_WORLD);
            eh_checkpoint *checkpoint = NULL;
            assert_all_ranks(undo ? eh_checkpoint_open(comm, path, &checkpoint) == EH_OK : is_refused(""));
            eh_checkpoint_close(&checkpoint);
        }
    }
}

static void test_detects_a_torn_file(void **state)
{
    (void)state;
    const long sizes[] = {0, 5, 8, 100, 400, 1000, LONG * 4, LONG * 4 + 100};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        assert_all_ranks(write_checkpoint() == EH_OK);
        if (eh_comm_rank(comm) == 0 && truncate(path, sizes[s]) != 0)
            fail();
        MPI_Barrier(MPI_COMM_WORLD);
        assert_all_ranks(is_refused(""));
    }
}

// A limit on file sizes stands for the full disk: the old file stays, nothing is left of the new one.
static void test_full_disk_leaves_the_old_one(void **state)
{
    (void)state;
    assert_all_ranks(write_checkpoint() == EH_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 1 << 20;
    setrlimit(RLIMIT_FSIZE, &small);
    const eh_status status = write_checkpoint();
    setrlimit(RLIMIT_FSIZE, &old);
    assert_all_ranks(status == EH_MACHINE && strstr(eh_error_message(), "too large") != NULL);
    eh_checkpoint *checkpoint;
    assert_all_ranks(eh_checkpoint_open(comm, path, &checkpoint) == EH_OK);
    eh_checkpoint_close(&checkpoint);
    char part[700];
    snprintf(part, sizeof part, "%s.part", path);
    assert_all_ranks(access(part, F_OK) != 0);
}

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    char name[512] = "";
    if (eh_comm_rank(comm) == 0) {
        folder = eh_test_folder_new();
        snprintf(name, sizeof name, "%s", folder);
    }
    if (eh_comm_broadcast(comm, name, sizeof name, 0) != EH_OK)
        return 1;
    snprintf(path, sizeof path, "%s/step-1.safetensors", name);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gives_back_what_was_written),
        cmocka_unit_test(test_detects_a_flipped_bit),
        cmocka_unit_test(test_detects_a_torn_file),
        cmocka_unit_test(test_full_disk_leaves_the_old_one),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    if (eh_comm_rank(comm) == 0)
        eh_test_folder_remove(&folder);
    eh_comm_end(&comm);
    return failed;
}
