// Scores of all ranks in one file, ordered by item and sample, the same for any number of ranks.
#include "io/scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "support/cmocka.h"
#include "support/folder.h"
#include "support/rank_folder.h"
#include "support/ranks.h"

enum { ITEMS = 23, SAMPLES = 2 };

static eh_comm *comm;
static char *folder;

static eh_status fill(eh_score_table *table)
{
    int64_t item = 0, sample = 0, score = 0, text = 0;
    EH_TRY(eh_score_table_init("some/metric", table));
    EH_TRY(eh_score_table_add_column(table, "item", EH_COLUMN_INTEGER, &item));
    EH_TRY(eh_score_table_add_column(table, "text", EH_COLUMN_TEXT, &text));
    EH_TRY(eh_score_table_add_column(table, "sample", EH_COLUMN_INTEGER, &sample));
    for (int64_t i = ITEMS - 1; i >= 0; i--) { // handed out in any order
        if (i * 7 % eh_comm_size(comm) != eh_comm_rank(comm))
            continue;
        for (int64_t s = SAMPLES - 1; s >= 0; s--) {
            const int64_t row = table->row_count;
            char words[32];
            EH_TRY(eh_score_table_add_rows(table, 1));
            eh_score_set_integer(table, item, row, i);
            eh_score_set_integer(table, sample, row, s);
            snprintf(words, sizeof words, "item %d, é \"%d\"", (int)i, (int)s);
            EH_TRY(eh_score_set_text(table, text, row, words));
        }
    }
    EH_TRY(eh_score_table_add_column(table, "score", EH_COLUMN_NUMBER, &score)); // after the rows: NaN
    for (int64_t r = 0; r < table->row_count; r++) {
        const int64_t i = table->columns[item].integers[r];
        if (i != 4)
            eh_score_set_number(table, score, r, (double)i / 3);
    }
    return EH_OK;
}

static void test_rows_come_back_in_the_order_of_the_items(void **state)
{
    (void)state;
    const char *path = eh_test_path(folder, "sub/scores-before.h5");
    const eh_scores_origin origin = {
        .phase = "before", .model_path = "m", .model_sha256 = "abc", .job = "name: x\n", .seed = 3};
    eh_score_table tables[2] = {0}, *found = NULL;
    int64_t count = 0;
    bool ok = fill(&tables[0]) == EH_OK && eh_score_table_init("empty/one", &tables[1]) == EH_OK;
    int64_t column = 0;
    ok = ok && eh_score_table_add_column(&tables[1], "item", EH_COLUMN_INTEGER, &column) == EH_OK;
    ok = eh_scores_write(comm, path, &origin, tables, 2) == EH_OK && ok;
    ok = ok && eh_scores_read(path, &found, &count) == EH_OK && count == 2;
    assert_all_ranks(ok);
    const eh_score_table *table = &found[1];
    ok = strcmp(found[0].name, "empty/one") == 0 && found[0].row_count == 0 && strcmp(table->name, "some/metric") == 0;
    ok = ok && table->row_count == (int64_t)ITEMS * SAMPLES && table->column_count == 4;
    ok = ok && eh_score_column(table, "text") == 1 && eh_score_column(table, "score") == 3;
    for (int64_t r = 0; ok && r < table->row_count; r++) {
        char words[32];
        snprintf(words, sizeof words, "item %d, é \"%d\"", (int)(r / SAMPLES), (int)(r % SAMPLES));
        const double score = table->columns[3].numbers[r];
        ok = table->columns[0].integers[r] == r / SAMPLES && table->columns[2].integers[r] == r % SAMPLES &&
             strcmp(table->columns[1].texts[r], words) == 0 &&
             (r / SAMPLES == 4 ? isnan(score) : score == (double)(r / SAMPLES) / 3);
    }
    char *phase = NULL, *none = NULL;
    ok = ok && eh_scores_attribute(path, "phase", &phase) == EH_OK && strcmp(phase, "before") == 0;
    ok = ok && eh_scores_attribute(path, "nothing", &none) == EH_OK && *none == '\0';
    assert_all_ranks(ok);
    eh_free(&phase);
    eh_free(&none);
    for (int64_t t = 0; t < 2; t++) {
        eh_score_table_deinit(&tables[t]);
        eh_score_table_deinit(&found[t]);
    }
    eh_free(&found);
}

static void test_refuses_what_is_no_score_file(void **state)
{
    (void)state;
    const char *path = eh_test_path(folder, "other.h5");
    if (eh_comm_rank(comm) == 0)
        eh_test_write_text(path, "not HDF5 at all");
    eh_score_table *tables = NULL;
    int64_t count = 0;
    bool ok = eh_comm_barrier(comm) == EH_OK;
    ok = ok && eh_scores_read(path, &tables, &count) == EH_INPUT && strstr(eh_error_message(), "other.h5") != NULL;
    ok = ok && eh_scores_read(eh_test_path(folder, "nowhere.h5"), &tables, &count) == EH_INPUT;
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
        cmocka_unit_test(test_rows_come_back_in_the_order_of_the_items),
        cmocka_unit_test(test_refuses_what_is_no_score_file),
    };
    const int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    eh_comm_end(&comm);
    return failed;
}
