// Ids that repeat are found across runs and ranks, and what was set aside is gone afterwards.
#include "dataset/unique_ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka.h"
#include "support/folder.h"
#include "support/rank_folder.h"
#include "support/ranks.h"

static eh_comm *comm;
static char *folder;

// 40 ids a rank, of which the rank's number `same` is the id of rank 0's line 5.
static eh_status check_ids(int64_t run_entries, int same)
{
    const eh_data_format *format = NULL;
    eh_unique_ids list = {.run_entries = run_entries};
    eh_status status = eh_data_format_find("jsonl", &format);
    for (int i = 0; i < 40 && status == EH_OK; i++) {
        eh_records records = {.path = "ids.jsonl"};
        char line[64];
        const int64_t number = eh_comm_rank(comm) * 40 + i + 1;
        const bool doubled = same >= 0 && eh_comm_rank(comm) == eh_comm_size(comm) - 1 && i == same;
        snprintf(line, sizeof line, "{\"prompt\": \"p\", \"id\": \"%lld\"}", doubled ? 5LL : (long long)number);
        status = format->read_line(line, strlen(line), (uint64_t)number - 1, number, &records);
        if (status == EH_OK)
            status = eh_unique_ids_add(&list, comm, folder, "x", format, &records);
        eh_records_deinit(&records);
    }
    if (status == EH_OK)
        status = eh_unique_ids_check(comm, &list, folder, "x", "ids.jsonl");
    eh_unique_ids_deinit(&list);
    return status;
}

static void test_different_ids_pass(void **state)
{
    (void)state;
    for (int64_t entries = 1; entries < 100; entries += 13) assert_all_ranks(check_ids(entries, -1) == EH_OK);
    assert_all_ranks(check_ids(0, -1) == EH_OK);
}

static void test_an_id_that_repeats_is_named_with_both_lines(void **state)
{
    (void)state;
    char words[80];
    snprintf(words, sizeof words, "ids.jsonl:%d: its id was used before, in line 5", eh_comm_size(comm) * 40 - 7);
    for (int64_t entries = 1; entries < 60; entries += 7) {
        const eh_status status = check_ids(entries, 32);
        assert_all_ranks(status == EH_INPUT && strstr(eh_error_message(), words) != NULL);
    }
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof name, ".x-%05d.ids", eh_comm_rank(comm));
    assert_all_ranks(!eh_test_exists(eh_test_path(folder, name)));
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
        cmocka_unit_test(test_different_ids_pass),
        cmocka_unit_test(test_an_id_that_repeats_is_named_with_both_lines),
        cmocka_unit_test(test_nothing_is_left),
    };
    const int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    eh_comm_end(&comm);
    return failed;
}
