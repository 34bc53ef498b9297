// Keys of steps: what changes them, and what must not.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "job/step.h"
#include "support/cmocka.h"
#include "support/folder.h"

typedef char step_keys[EH_STEP_COUNT][65];

static char *folder;

static int set_up(void **state)
{
    (void)state;
    char *copy = eh_test_folder_new();
    folder = copy;
    eh_test_write_text(eh_test_path(folder, "config.json"), "{\"model_type\": \"bloom\", \"n_layer\": 2}");
    eh_test_write_text(eh_test_path(folder, "tokenizer.json"), "{}");
    eh_test_write_text(eh_test_path(folder, "pairs.csv"), "a,b\n");
    eh_test_write_text(eh_test_path(folder, "items.json"), "[]");
    eh_test_write_text(eh_test_path(folder, "plain.txt"), "Rain fell.\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    eh_test_folder_remove(&folder);
    return 0;
}

static void find_keys(const char *override, step_keys keys)
{
    char text[4096];
    snprintf(text, sizeof text,
             "model: {path: %s}\noutput: %s/out\n"
             "data:\n  - {name: pairs, format: pairs, path: %s/pairs.csv, holdout: 0.1}\n"
             "  - {name: items, format: stereoset, path: %s/items.json}\n"
             "  - {name: plain, format: text, path: %s/plain.txt, use: control, holdout: 0.5}\n"
             "evaluate: [{metric: stereoset}, {metric: perplexity, data: plain},\n"
             "           {controls: [placebo, reversed, neutral, damage, repeat]}]\n",
             folder, folder, folder, folder, folder);
    eh_job job;
    assert_int_equal(eh_job_parse("job.yaml", text, strlen(text), &override, override != NULL ? 1 : 0, &job), EH_OK);
    for (int step = 0; step < EH_STEP_COUNT; step++)
        assert_int_equal(eh_step_key(&job, (eh_step)step, keys[step]), EH_OK);
    eh_job_deinit(&job);
}

// A letter for each step: tokenize, before, finetune, after; tokenize, finetune, evaluate of placebo, reversed and
// neutral; damage and its evaluation; repeat; report.
static const char letters[] = "tbfas"
                              "pPq"
                              "vVw"
                              "nNo"
                              "dD"
                              "R"
                              "r";

// `changed` has the letter of each step whose key must differ.
static void assert_differ(const char *why, step_keys before, step_keys after, const char *changed)
{
    for (int step = 0; step < EH_STEP_COUNT; step++) {
        const bool expected = strchr(changed, letters[step]) != NULL;
        if ((strcmp(before[step], after[step]) != 0) != expected)
            print_message("%s: %s\n", why, eh_steps[step].name);
        assert_true((strcmp(before[step], after[step]) != 0) == expected);
    }
}

static void assert_changes(const char *override, const char *changed)
{
    step_keys before, after;
    find_keys(NULL, before);
    find_keys(override, after);
    assert_differ(override, before, after, changed);
}

static void test_keys_change_with_what_steps_depend_on(void **state)
{
    (void)state;
    assert_changes("ranks=4", "");
    assert_changes("memory.zero=3", "");
    assert_changes("checkpoint.minutes=1", "");
    assert_changes("output=elsewhere", "");
    assert_changes("name=other", "r");
    assert_changes("report.replicates=500", "r");
    assert_changes("report.reference=published.csv", "r");
    assert_changes("train.lr=0.5", "fasPqVwNodDr");
    assert_changes("train.keep_every=5", "fasdDr"); // the controls keep none on their way
    assert_changes("data.pairs.replay=0.5", "fasPqVwdDr");
    // What pairs teach does not change what is measured on them, nor what neutral text teaches.
    assert_changes("data.pairs.task=rewrite", "tfaspPqvVwdDr");
    assert_changes("switches.label_layout=overlay", "tfaspPqvVwnNodDr");
    assert_changes("data.pairs.holdout=0.2", "tbfaspPqvVwodDRr");
    assert_changes("data.items.limit=3", "tbfasqwodDRr"); // controls' shards have nothing to measure in them
    assert_changes("data.pairs.pair_order=group", "tfasdDr");
    assert_changes("evaluate.0.wording=b", "basqwodDRr");
    assert_changes("evaluate.tolerance=0.1", "dDr");
    assert_changes("evaluate.draws=5", "dDr");
    assert_changes("train.merge=false", "fasPqVwNodDr");
    assert_changes("train.kept=keep", "");
    assert_changes("precision=bf16", "bfasPqVwNodDRr");
    assert_changes("seed=1", letters);
}

static void assert_file_changes(const char *name, const char *text, const char *changed)
{
    step_keys before, after;
    find_keys(NULL, before);
    eh_test_write_text(eh_test_path(folder, name), text);
    find_keys(NULL, after);
    assert_differ(name, before, after, changed);
}

static void test_keys_change_with_the_contents_of_files(void **state)
{
    (void)state;
    assert_file_changes("pairs.csv", "a,b\n", ""); // the folder is the model's too: its steps depend on all in it
    assert_file_changes("pairs.csv", "a,c\n", "tbfaspPqvVwNodDRr");
    assert_file_changes("plain.txt", "Snow fell.\n", "tbfasPqVwnNodDRr");
    assert_file_changes("tokenizer.json", "{\"a\": 1}", letters);
    assert_file_changes("model.safetensors", "weights",
                        "bfasPqVwNodDRr"); // models with one tokenizer share their shards
    assert_file_changes("config.json", "{\"model_type\": \"bloom\", \"n_layer\": 3}", "bfasPqVwNodDRr");
    assert_file_changes("config.json", "{\"model_type\": \"t5\", \"n_layer\": 3}", letters);
}

static void test_a_stamp_holds_while_the_result_is_there(void **state)
{
    (void)state;
    char text[2048], key[65];
    snprintf(text, sizeof text, "model: {path: %s}\noutput: %s/out\nevaluate: [{metric: perplexity}]\n", folder,
             folder);
    eh_job job;
    bool fresh = true;
    assert_int_equal(eh_job_parse("job.yaml", text, strlen(text), NULL, 0, &job), EH_OK);
    assert_int_equal(eh_step_key(&job, EH_STEP_REPORT, key), EH_OK);
    assert_int_equal(eh_step_is_fresh(&job, EH_STEP_REPORT, key, &fresh), EH_OK);
    assert_false(fresh);
    assert_int_equal(eh_step_mark(&job, EH_STEP_REPORT, key), EH_OK);
    assert_int_equal(eh_step_is_fresh(&job, EH_STEP_REPORT, key, &fresh), EH_OK);
    assert_false(fresh); // no result
    eh_test_write_text(eh_test_path(folder, "out/report.html"), "<p>");
    assert_int_equal(eh_step_is_fresh(&job, EH_STEP_REPORT, key, &fresh), EH_OK);
    assert_true(fresh);
    key[0] = key[0] == 'a' ? 'b' : 'a';
    assert_int_equal(eh_step_is_fresh(&job, EH_STEP_REPORT, key, &fresh), EH_OK);
    assert_false(fresh);
    assert_int_equal(eh_step_unmark(&job, EH_STEP_REPORT), EH_OK);
    assert_int_equal(eh_step_unmark(&job, EH_STEP_REPORT), EH_OK);
    eh_job_deinit(&job);
}

static void test_which_steps_a_job_wants(void **state)
{
    (void)state;
    eh_job_data data = {.use = EH_USE_EVALUATE};
    eh_job job = {.data = &data, .data_count = 1, .evaluate_count = 1};
    assert_true(eh_step_wanted(&job, EH_STEP_TOKENIZE));
    assert_true(eh_step_wanted(&job, EH_STEP_EVALUATE_BEFORE));
    assert_false(eh_step_wanted(&job, EH_STEP_FINETUNE));
    assert_false(eh_step_wanted(&job, EH_STEP_EVALUATE_AFTER));
    data.use = EH_USE_TRAIN;
    assert_int_equal(data.task, EH_TASK_NONE);
    assert_false(eh_step_wanted(&job, EH_STEP_FINETUNE)); // nothing is learnt from it
    data.task = EH_TASK_LM;
    assert_true(eh_step_wanted(&job, EH_STEP_FINETUNE));
    assert_true(eh_step_wanted(&job, EH_STEP_EVALUATE_AFTER));
    job.evaluate_count = 0;
    assert_false(eh_step_wanted(&job, EH_STEP_EVALUATE_BEFORE));
    assert_false(eh_step_wanted(&job, EH_STEP_REPORT));
    assert_int_equal(eh_step_find("evaluate", "after"), EH_STEP_EVALUATE_AFTER);
    assert_int_equal(eh_step_find("evaluate", "control-placebo"), EH_STEP_EVALUATE_PLACEBO);
    assert_int_equal(eh_step_find("evaluate", "control-mine"), EH_STEP_COUNT);
    assert_int_equal(eh_step_find("finetune", ""), EH_STEP_FINETUNE);
    assert_false(eh_step_wanted(&job, EH_STEP_DAMAGE));
    char kept[] = "measure", phase[48];
    job.evaluate_count = 1;
    job.train.kept = kept;
    assert_false(eh_step_wanted(&job, EH_STEP_EVALUATE_STEPS));
    job.train.keep_every = 10;
    assert_true(eh_step_wanted(&job, EH_STEP_EVALUATE_STEPS));
    memcpy(kept, "keep", 5);
    assert_false(eh_step_wanted(&job, EH_STEP_EVALUATE_STEPS));
    eh_damage_phase(3, phase);
    assert_string_equal(phase, "control-damage-2b");
    job.controls.which = 1u << EH_CONTROL_DAMAGE;
    assert_true(eh_step_wanted(&job, EH_STEP_DAMAGE));
    assert_true(eh_step_wanted(&job, EH_STEP_EVALUATE_DAMAGE));
    assert_false(eh_step_wanted(&job, EH_STEP_FINETUNE_PLACEBO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys_change_with_what_steps_depend_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys_change_with_the_contents_of_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stamp_holds_while_the_result_is_there, set_up, tear_down),
        cmocka_unit_test(test_which_steps_a_job_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
