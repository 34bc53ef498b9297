// Sweeps: which runs, in which order, under which names.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/sweep.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

#define BASE \
    "name: all\noutput: out\nmodel: {path: models/a}\ndata: [{name: crows, format: crows-pairs, path: c.csv}]\n"

static eh_status read_text(const char *text, const char *const *overrides, int64_t count, eh_sweep *sweep)
{
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "job.yaml");
    eh_test_write_text(path, text);
    eh_error_clear();
    const eh_status status = eh_sweep_read(path, overrides, count, sweep);
    eh_test_folder_remove(&folder);
    return status;
}

static void test_a_job_without_sweep_is_one_run(void **state)
{
    (void)state;
    eh_sweep sweep;
    assert_int_equal(read_text(BASE, (const char *const[]){"train.lr=0.5"}, 1, &sweep), EH_OK);
    assert_int_equal(sweep.run_count, 1);
    assert_int_equal(sweep.key_count, 0);
    assert_string_equal(sweep.runs[0].name, "");
    assert_string_equal(sweep.runs[0].job.output, "out");
    assert_close(sweep.runs[0].job.train.lr, 0.5, 0);
    eh_sweep_deinit(&sweep);
}

static void test_the_product_of_all_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *model;
        double lr;
        eh_task task;
    } expected[] = {
        {"path-a_task-gap-fill_lr-1e-4", "models/a", 1e-4, EH_TASK_GAP_FILL},
        {"path-a_task-gap-fill_lr-1e-3", "models/a", 1e-3, EH_TASK_GAP_FILL},
        {"path-a_task-rewrite_lr-1e-4", "models/a", 1e-4, EH_TASK_REWRITE},
        {"path-a_task-rewrite_lr-1e-3", "models/a", 1e-3, EH_TASK_REWRITE},
        {"path-b-1_task-gap-fill_lr-1e-4", "models/b 1", 1e-4, EH_TASK_GAP_FILL},
        {"path-b-1_task-gap-fill_lr-1e-3", "models/b 1", 1e-3, EH_TASK_GAP_FILL},
        {"path-b-1_task-rewrite_lr-1e-4", "models/b 1", 1e-4, EH_TASK_REWRITE},
        {"path-b-1_task-rewrite_lr-1e-3", "models/b 1", 1e-3, EH_TASK_REWRITE},
    };
    eh_sweep sweep;
    assert_int_equal(read_text(BASE "sweep:\n  model.path: [models/a, models/b 1]\n"
                                    "  data.crows.task: [gap-fill, rewrite]\n  train.lr: [1e-4, 1e-3]\n",
                               (const char *const[]){"train.epochs=2"}, 1, &sweep),
                     EH_OK);
    assert_int_equal(sweep.run_count, 8);
    assert_string_equal(sweep.output, "out");
    assert_string_equal(sweep.keys[1], "data.crows.task");
    for (int i = 0; i < 8; i++) {
        const eh_run *run = &sweep.runs[i];
        char output[128], name[128];
        snprintf(output, sizeof output, "out/%s", expected[i].name);
        snprintf(name, sizeof name, "all/%s", expected[i].name);
        assert_string_equal(run->name, expected[i].name);
        assert_string_equal(run->job.output, output);
        assert_string_equal(run->job.name, name);
        assert_string_equal(run->job.model.path, expected[i].model);
        assert_close(run->job.train.lr, expected[i].lr, 0);
        assert_int_equal(run->job.data[0].task, expected[i].task);
        assert_int_equal(run->job.train.epochs, 2);
    }
    eh_sweep_deinit(&sweep);
}

// A model that another run has made lies in a folder "model": its name is that of the run.
static void test_models_of_other_runs_are_called_after_them(void **state)
{
    (void)state;
    eh_sweep sweep;
    assert_int_equal(read_text(BASE "sweep:\n  model.path: [results/small/model, large/model]\n", NULL, 0, &sweep),
                     EH_OK);
    assert_string_equal(sweep.runs[0].name, "path-small-model");
    assert_string_equal(sweep.runs[1].name, "path-large-model");
    eh_sweep_deinit(&sweep);
}

static void test_mappings_and_equal_names(void **state)
{
    (void)state;
    eh_sweep sweep;
    assert_int_equal(
        read_text(BASE "sweep:\n  train.freeze: ['a/x', 'b/x']\n  memory: [{zero: 1}, {zero: 2}]\n", NULL, 0, &sweep),
        EH_OK);
    assert_int_equal(sweep.run_count, 4);
    assert_int_equal(sweep.runs[1].job.memory.zero, 2);
    for (int i = 0; i < 4; i++)
        for (int other = 0; other < i; other++) assert_string_not_equal(sweep.runs[i].name, sweep.runs[other].name);
    eh_sweep_deinit(&sweep);
}

static void test_a_list_of_products_one_after_the_other(void **state)
{
    (void)state;
    static const struct {
        const char *name, *values[3];
        double lr;
    } expected[] = {
        {"plain", {"", "", ""}, 3e-5},
        {"lr-1e-4_epochs-1", {"1e-4", "1", ""}, 1e-4},
        {"lr-1e-4_epochs-2", {"1e-4", "2", ""}, 1e-4},
        {"task-rewrite", {"", "", "rewrite"}, 3e-5},
    };
    eh_sweep sweep;
    assert_int_equal(read_text(BASE "sweep:\n  - {}\n  - {train.lr: [1e-4], train.epochs: [1, 2]}\n"
                                    "  - {data.crows.task: [rewrite]}\n  - {train.epochs: [2], train.lr: [1e-4]}\n",
                               NULL, 0, &sweep),
                     EH_OK);
    assert_int_equal(sweep.key_count, 3);
    assert_int_equal(sweep.run_count, 4); // the last product's only run is there already
    for (int i = 0; i < 4; i++) {
        assert_string_equal(sweep.runs[i].name, expected[i].name);
        assert_close(sweep.runs[i].job.train.lr, expected[i].lr, 0);
        for (int k = 0; k < 3; k++) assert_string_equal(sweep.runs[i].values[k], expected[i].values[k]);
    }
    assert_int_equal(sweep.runs[3].job.data[0].task, EH_TASK_REWRITE);
    eh_sweep_deinit(&sweep);
}

static void assert_refused(const char *text, const char *words)
{
    eh_sweep sweep;
    assert_int_equal(read_text(text, NULL, 0, &sweep), EH_INPUT);
    if (strstr(eh_error_message(), words) == NULL)
        print_message("%s\n", eh_error_message());
    assert_non_null(strstr(eh_error_message(), words));
}

static void test_wrong_sweeps_are_refused(void **state)
{
    (void)state;
    assert_refused(BASE "sweep: [a]\n", "job.yaml:5: 'sweep' maps keys to lists of values, or is a list of such");
    assert_refused(BASE "sweep: []\n", "job.yaml: 'sweep' is an empty list");
    assert_refused(BASE "sweep: {train.lr: 3}\n", "job.yaml:5: 'sweep' maps keys to lists of values");
    assert_refused(BASE "sweep: {train.lr: []}\n", "job.yaml:5: 'sweep' maps keys to lists of values");
    assert_refused(BASE "sweep: {output: [a, b]}\n", "job.yaml:5: 'output' can't be swept");
    assert_refused(BASE "sweep: {train.rl: [1]}\n", "unknown key 'train.rl'");
    assert_refused(BASE "sweep: {train.lr: [1, high]}\n", "'train.lr' needs a number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_without_sweep_is_one_run),
        cmocka_unit_test(test_the_product_of_all_values),
        cmocka_unit_test(test_models_of_other_runs_are_called_after_them),
        cmocka_unit_test(test_mappings_and_equal_names),
        cmocka_unit_test(test_a_list_of_products_one_after_the_other),
        cmocka_unit_test(test_wrong_sweeps_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
