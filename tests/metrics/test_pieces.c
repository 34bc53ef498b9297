// A chunk may be a quarter of all items; a stop is heeded, and rows are noted, long before its end.
#include <signal.h>

#include "comm/comm.h"
#include "core/memory.h"
#include "core/signals.h"
#include "metrics/evaluate.h"
#include "metrics/rows_internal.h"
#include "support/cmocka.h"

#define ITEMS 4000

static const char config[] = "{\"model_type\": \"gpt2\", \"vocab_size\": 11, \"n_positions\": 8, \"n_embd\": 8, "
                             "\"n_layer\": 1, \"n_head\": 2}";

static eh_status no_columns(const eh_metric_setup *setup, eh_score_table *table)
{
    (void)setup;
    (void)table;
    return EH_OK;
}

static eh_status no_requests(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    (void)setup;
    (void)item;
    (void)requests;
    return EH_OK;
}

// The first row asks for a stop.
static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    int64_t row;
    (void)setup;
    (void)answers;
    if (table->row_count == 0)
        raise(SIGTERM);
    return eh_rows_add(table, item, &row);
}

static eh_comm *comm;

static void test_a_stop_waits_for_a_piece_alone(void **state)
{
    (void)state;
    static const eh_metric metric = {
        .name = "made/here", .metric = "made", .columns = no_columns, .requests = no_requests, .score = score};
    const eh_log log = eh_log_to_stderr("test", false);
    eh_job job = {0};
    const eh_job_metric settings = {0};
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    eh_examples examples = {0};
    eh_score_table table = {0};
    assert_int_equal(eh_backend_open("reference", 0, 1, &backend), EH_OK);
    assert_int_equal(eh_model_new(backend, config, 1, EH_F32, EH_FOR_INFERENCE, &model), EH_OK);
    const eh_metric_setup setup = {.job = &job, .settings = &settings, .model_sha256 = "", .data_key = ""};
    for (uint64_t i = 0; i < ITEMS; i++)
        assert_int_equal(eh_examples_add(&examples, &(eh_example){.source_row = i, .text = "item", .text_size = 4}),
                         EH_OK);
    assert_int_equal(EH_ALLOC(1, &examples.field_names), EH_OK);
    assert_int_equal(EH_ALLOC(2, &examples.group_names), EH_OK);
    assert_int_equal(eh_copy_string("all", &examples.group_names[0]), EH_OK);
    assert_int_equal(eh_score_table_init("made/here", &table), EH_OK);
    eh_evaluator evaluator = {.comm = comm, .log = &log, .phase = "before", .device = "reference", .model = model};
    eh_signals_watch();
    assert_int_equal(eh_evaluate(&evaluator, &metric, &setup, &examples, &table), EH_STOPPED);
    assert_in_range(table.row_count, 1, ITEMS / 10); // of a chunk of 1000
    eh_score_table_deinit(&table);
    eh_examples_deinit(&examples);
    eh_model_close(&model);
    eh_backend_close(&backend);
}

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_stop_waits_for_a_piece_alone)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
