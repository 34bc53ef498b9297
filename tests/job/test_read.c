// Job files: what is read, what is refused and in which words.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "job/job.h"
#include "support/close.h"
#include "support/cmocka.h"

#define MODEL "model: {path: models/m}\n"

static eh_status read_with(const char *text, const char *const *overrides, int64_t count, eh_job *job)
{
    eh_error_clear();
    return eh_job_parse("jobs/demo.yaml", text, strlen(text), overrides, count, job);
}

static void assert_read(const char *text, eh_job *job)
{
    const eh_status status = read_with(text, NULL, 0, job);
    if (status != EH_OK)
        print_message("%s\n", eh_error_message());
    assert_int_equal(status, EH_OK);
}

static void assert_refused(const char *text, const char *message)
{
    eh_job job;
    assert_int_equal(read_with(text, NULL, 0, &job), EH_INPUT);
    assert_string_equal(eh_error_message(), message);
    eh_job_deinit(&job);
}

static void assert_override_refused(const char *override, const char *message)
{
    eh_job job;
    const char *text = MODEL "data:\n  - {name: crows, format: crows-pairs, path: c.csv}\n";
    assert_int_equal(read_with(text, &override, 1, &job), EH_INPUT);
    assert_string_equal(eh_error_message(), message);
    eh_job_deinit(&job);
}

static void test_model_and_output_are_enough(void **state)
{
    (void)state;
    eh_job job;
    assert_read("model: {path: models/m}\noutput: out\n", &job);
    assert_string_equal(job.name, "demo");
    assert_string_equal(job.output, "out");
    assert_string_equal(job.model.path, "models/m");
    assert_int_equal(job.seed, 2023);
    assert_int_equal(job.train.epochs, 5);
    assert_int_equal(job.train.batch, 20);
    assert_close(job.train.lr, 3e-5, 0);
    assert_string_equal(job.train.schedule, "linear");
    assert_close(job.train.weight_decay, 0.01, 0);
    assert_close(job.train.clip, 1, 0);
    assert_string_equal(job.device, "auto");
    assert_null(job.train.freeze);
    assert_int_equal(job.data_count, 0);
    eh_job_deinit(&job);
}

static void test_designs_example_is_read(void **state)
{
    (void)state;
    eh_job job;
    assert_read(
        "name: bloomz-560m-gap-fill\n"
        "output: results/bloomz-560m-gap-fill\n"
        "seed: 7\n"
        "model: {path: models/bloomz-560m}       # a comment\n"
        "data:\n"
        "  - {name: crows, format: crows-pairs, path: data/c.csv, use: train, task: gap-fill, holdout: 0.05}\n"
        "  - {name: stereoset, format: stereoset, path: data/dev.json, use: evaluate}\n"
        "train:  {epochs: 6, batch: 21, lr: 3.0e-4, schedule: cosine, weight_decay: 0.02, clip: 2.0, method: full}\n"
        "memory: {zero: 1, recompute: blocks, offload: none}\n"
        "evaluate:\n"
        "  - {metric: stereoset, protocol: likelihood}\n"
        "  - {metric: stereoset, protocol: prompt, orders: file}\n",
        &job);
    assert_int_equal(job.seed, 7);
    assert_int_equal(job.data_count, 2);
    assert_string_equal(job.data[0].name, "crows");
    assert_int_equal(job.data[0].use, EH_USE_TRAIN);
    assert_int_equal(job.data[0].task, EH_TASK_GAP_FILL);
    assert_close(job.data[0].holdout, 0.05, 0);
    assert_int_equal(job.data[1].use, EH_USE_EVALUATE);
    assert_int_equal(job.data[1].task, EH_TASK_NONE);
    assert_int_equal(job.train.batch, 21);
    assert_close(job.train.lr, 3e-4, 0);
    assert_string_equal(job.train.schedule, "cosine");
    assert_string_equal(job.train.method, "full");
    assert_int_equal(job.memory.zero, 1);
    assert_int_equal(job.evaluate_count, 2);
    assert_string_equal(job.evaluate[0].orders, "all");
    assert_string_equal(job.evaluate[1].orders, "file");
    eh_job_deinit(&job);
}

static void test_unknown_keys_are_refused_with_line_and_advice(void **state)
{
    (void)state;
    assert_refused(MODEL "tran: {lr: 1}\n", "jobs/demo.yaml:2: unknown key 'tran': did you mean 'train'?");
    assert_refused(MODEL "train:\n  lr: 1\n  epoch: 3\n",
                   "jobs/demo.yaml:4: unknown key 'train.epoch': did you mean 'epochs'?");
    assert_refused(MODEL "data:\n  - name: a\n    fromat: text\n",
                   "jobs/demo.yaml:4: unknown key 'data[].fromat': did you mean 'format'?");
    assert_refused(MODEL "memory: {zzzzzzzz: 1}\n",
                   "jobs/demo.yaml:2: unknown key 'memory.zzzzzzzz': the keys here are: zero, recompute, offload");
    assert_refused(MODEL "evalute: []\n", "jobs/demo.yaml:2: unknown key 'evalute': did you mean 'evaluate'?");
}

static void test_wrong_types_are_refused(void **state)
{
    (void)state;
    assert_refused(MODEL "train:\n  epochs: five\n",
                   "jobs/demo.yaml:3: 'train.epochs' needs a whole number, found 'five'");
    assert_refused(MODEL "train: {epochs: 5.5}\n",
                   "jobs/demo.yaml:2: 'train.epochs' needs a whole number, found '5.5'");
    assert_refused(MODEL "train: {lr: 1e-4x}\n", "jobs/demo.yaml:2: 'train.lr' needs a number, found '1e-4x'");
    assert_refused(MODEL "train: {lr: nan}\n", "jobs/demo.yaml:2: 'train.lr' needs a number, found 'nan'");
    assert_refused(MODEL "train: 5\n", "jobs/demo.yaml:2: 'train' needs keys below it, found a value");
    assert_refused(MODEL "train: {lr: [1, 2]}\n", "jobs/demo.yaml:2: 'train.lr' needs one value, found a list");
    assert_refused(MODEL "data: {name: a}\n", "jobs/demo.yaml:2: 'data' needs a list, found a mapping");
    assert_refused(MODEL "seed: -1\n",
                   "jobs/demo.yaml:2: 'seed' needs a whole number from 0 to 18446744073709551615, found '-1'");
    assert_refused("- a\n- b\n", "jobs/demo.yaml: a job is a list of 'key: value', found a list");
}

static void test_values_out_of_range_are_refused(void **state)
{
    (void)state;
    assert_refused(MODEL "memory: {zero: 4}\n", "jobs/demo.yaml:2: 'memory.zero' is 4, but must be between 0 and 3");
    assert_refused(MODEL "train: {batch: 0}\n", "jobs/demo.yaml:2: 'train.batch' is 0, but must be at least 1");
    assert_refused(MODEL "train: {batch: 99999999999999999999}\n",
                   "jobs/demo.yaml:2: 'train.batch' is 99999999999999999999, but must be at least 1");
    assert_refused(
        MODEL "train: {schedule: linaer}\n",
        "jobs/demo.yaml:2: 'linaer' is not a value of 'train.schedule': choose one of: linear constant cosine");
    assert_refused(MODEL "data: [{name: a, format: text, path: p, holdout: 1}]\n",
                   "jobs/demo.yaml:2: 'holdout' is 1, but must be between 0 and 0.999999");
}

static void test_a_key_twice_is_refused_with_both_lines(void **state)
{
    (void)state;
    assert_refused(MODEL "train:\n  lr: 1\n  clip: 1\n  lr: 2\n",
                   "jobs/demo.yaml:5: key 'lr' is there twice, first in line 3");
    assert_refused(MODEL "seed: 1\n" MODEL, "jobs/demo.yaml:3: key 'model' is there twice, first in line 1");
}

static void test_text_that_is_not_yaml_is_refused_with_its_line(void **state)
{
    (void)state;
    eh_job job;
    assert_int_equal(read_with(MODEL "train: {lr: 1\nseed: 3\n", NULL, 0, &job), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "jobs/demo.yaml:"));
    assert_non_null(strstr(eh_error_message(), "this is not YAML"));
    assert_int_equal(read_with("", NULL, 0, &job), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "no model"));
}

static void test_keys_that_need_each_other(void **state)
{
    (void)state;
    assert_refused("model: {path: a, architecture: bloom}\n",
                   "jobs/demo.yaml: model.path and model.architecture exclude each other");
    assert_refused("model: {architecture: bloom, tokenizer: t}\n",
                   "jobs/demo.yaml: model.architecture needs model.config too");
    assert_refused(MODEL "data: [{name: a, format: text}]\n", "jobs/demo.yaml: data entry 1 needs 'path'");
    assert_refused(MODEL "data: [{name: a, format: text, path: p}, {name: a, format: text, path: q}]\n",
                   "jobs/demo.yaml: data entry 2: the name 'a' is taken by entry 1");
    assert_refused(
        MODEL "data: [{name: ../a, format: text, path: p}]\n",
        "jobs/demo.yaml: data entry 1: the name '../a' must be of letters, digits, '-' and '_', as files are "
        "named after it");
    assert_refused(
        MODEL "data: [{name: a, format: text, path: p, task: rewrite}]\n",
        "jobs/demo.yaml: data entry 1 ('a'): this task needs pairs of sentences, which the format text does not "
        "have");
    assert_refused(MODEL "evaluate: [{metric: perplexity, data: wiki}]\n",
                   "jobs/demo.yaml: evaluate entry 1 (perplexity): there is no data set named 'wiki'");
    assert_refused(MODEL "train: {fisher: 10}\n",
                   "jobs/demo.yaml: train.fisher weighs what train.l2 pulls: give that too");
    assert_refused(MODEL "train: {l2: 1, fisher: 5}\nmemory: {zero: 2}\n",
                   "jobs/demo.yaml: train.fisher takes memory.zero: 1 at most: it squares the gradients of single "
                   "examples, which are whole nowhere at levels 2 and 3");
    assert_refused(MODEL "train: {method: freeze}\n",
                   "jobs/demo.yaml: train.method is freeze: say in train.freeze which weights learn, such as "
                   "norms+positions");
    assert_refused(MODEL "memory: {offload: parameters}\n",
                   "jobs/demo.yaml: memory.offload: parameters is not in this version");
    assert_refused(MODEL "sweep: {train.lr: [1, 2]}\n",
                   "jobs/demo.yaml:2: this job has a sweep, so it is several runs: 'evenhand run' starts each");
}

static void test_presets_set_the_twelve_switches_and_a_key_overrides_one(void **state)
{
    (void)state;
    eh_job job;
    assert_read(MODEL "data: [{name: a, format: crows-pairs, path: p}]\nevaluate: [{metric: stereoset}]\n", &job);
    const eh_job_switches evenhand = {0};
    assert_int_equal(job.switches.select, EH_SELECT_LAST);
    assert_memory_equal(&job.switches, &evenhand, sizeof evenhand);
    assert_int_equal(job.data[0].pair_order, EH_ORDER_STEREOTYPE);
    eh_job_deinit(&job);

    assert_read("preset: study\nswitches: {blank: each}\n" MODEL
                "data: [{name: a, format: crows-pairs, path: p, pair_order: both}]\nevaluate: [{metric: stereoset}]\n",
                &job);
    assert_int_equal(job.switches.pair_order, EH_ORDER_GROUP);
    assert_int_equal(job.switches.label_layout, EH_LABELS_OVERLAY);
    assert_int_equal(job.switches.blank, EH_BLANK_EACH);
    assert_int_equal(job.switches.answer_parser, EH_PARSER_UNRELATED);
    assert_int_equal(job.switches.prompt_iteration, EH_PROMPT_CHARACTERS);
    assert_int_equal(job.switches.max_length, EH_LENGTH_TOTAL);
    assert_int_equal(job.switches.score_text, EH_SCORE_ALL);
    assert_int_equal(job.switches.honest_mode, EH_HONEST_INVERTED);
    assert_int_equal(job.switches.regard_groups, EH_REGARD_FIRST);
    assert_int_equal(job.switches.option_order, EH_OPTIONS_FILE);
    assert_int_equal(job.switches.split, EH_SPLIT_BY_ROW);
    assert_string_equal(job.train.optimizer, "adamw_hf");
    assert_int_equal(job.data[0].pair_order, EH_ORDER_BOTH);
    assert_int_equal(job.data[0].label_layout, EH_LABELS_OVERLAY);
    assert_string_equal(job.evaluate[0].orders, "file");
    eh_job_deinit(&job);
}

static void test_set_overrides_any_key(void **state)
{
    (void)state;
    eh_job job;
    const char *const overrides[] = {"train.lr=1e-4",      "data.crows.task=rewrite", "evaluate.1.limit=10",
                                     "preset=study",       "memory={zero: 2}",        "evaluate.stereoset.wording=b",
                                     "train.lr=2e-4",      "name=two words",          "data.crows.limit=3",
                                     "switches.blank=each"};
    assert_int_equal(read_with(MODEL "train: {lr: 1}\nmemory: {zero: 3, recompute: blocks}\n"
                                     "data:\n  - {name: crows, format: crows-pairs, path: c.csv}\n"
                                     "evaluate: [{metric: crows-pairs}, {metric: stereoset}]\n",
                               overrides, sizeof overrides / sizeof *overrides, &job),
                     EH_OK);
    assert_close(job.train.lr, 2e-4, 0);
    assert_int_equal(job.data[0].task, EH_TASK_REWRITE);
    assert_int_equal(job.data[0].limit, 3);
    assert_int_equal(job.data[0].pair_order, EH_ORDER_GROUP);
    assert_int_equal(job.data[0].blank, EH_BLANK_EACH);
    assert_int_equal(job.evaluate[0].limit, 0);
    assert_int_equal(job.evaluate[1].limit, 10);
    assert_string_equal(job.evaluate[1].wording, "b");
    assert_string_equal(job.evaluate[0].wording, "a");
    assert_int_equal(job.memory.zero, 2);
    assert_string_equal(job.memory.recompute, "blocks");
    assert_string_equal(job.name, "two words");
    eh_job_deinit(&job);
}

static void test_wrong_overrides_are_refused(void **state)
{
    (void)state;
    assert_override_refused("train.lr", "--set train.lr: this must be KEY=VALUE, such as train.lr=1e-4");
    assert_override_refused("train.rl=1", "--set train.rl=1: unknown key 'train.rl': did you mean 'lr'?");
    assert_override_refused(
        "tain.lr=1", "--set tain.lr=1: unknown key 'tain.lr': the keys here are: name, output, seed, "
                     "device, precision, preset, ranks, batch_tokens, launcher, model, train, memory, checkpoint, "
                     "switches, report, verdict, data, evaluate, sweep");
    assert_override_refused("train.lr=high", "--set train.lr=high: 'train.lr' needs a number, found 'high'");
    assert_override_refused("data.cows.task=lm", "--set data.cows.task=lm: 'data' has no entry 'cows'");
    assert_override_refused("data.crows.taks=lm",
                            "--set data.crows.taks=lm: unknown key 'data[].taks': did you mean 'task'?");
}

static void test_resolved_yaml_repeats_the_job(void **state)
{
    (void)state;
    eh_job job, again;
    eh_string first = {0}, second = {0};
    assert_int_equal(
        read_with(
            "seed: 18446744073709551615\npreset: study\ntrain: {lr: 0.1, freeze: 'h\\.[01]'}\n"
            "model: {architecture: bloom, config: {hidden_size: 64, x: [1, 0.5, true, null, '7', yes]}, tokenizer: t}\n"
            "data:\n  - {name: a, format: pairs, path: \"with: colon\", prompt: \"Fill {text}\\n: é\"}\n",
            (const char *const[]){"name=\"a 'quoted' \\\"name\\\": # with\\ttraps\\n\""}, 1, &job),
        EH_OK);
    assert_string_equal(job.name, "a 'quoted' \"name\": # with\ttraps\n");
    assert_string_equal(
        job.model.config,
        "{\"hidden_size\": 64, \"x\": [1, 0.5, true, null, \"7\", \"yes\"], \"model_type\": \"bloom\"}");
    assert_int_equal(eh_job_to_yaml(&job, &first), EH_OK);
    assert_read(first.bytes, &again);
    assert_int_equal(eh_job_to_yaml(&again, &second), EH_OK);
    assert_string_equal(first.bytes, second.bytes);
    assert_string_equal(again.data[0].prompt, "Fill {text}\n: é");
    assert_string_equal(again.train.freeze, "h\\.[01]");
    assert_true(again.seed == UINT64_MAX);
    eh_string_deinit(&first);
    eh_string_deinit(&second);
    eh_job_deinit(&job);
    eh_job_deinit(&again);
}

static void test_stop_strings_are_a_list_of_texts(void **state)
{
    (void)state;
    eh_job job, again;
    eh_string yaml = {0};
    const char *text = MODEL "evaluate:\n  - {metric: regard, stop: [\"\\n\\n\", 'Q: a, b', '7', \"\\\"é\\t\"]}\n"
                             "  - {metric: honest, stop: \"###\"}\n  - {metric: toxicity, stop: []}\n"
                             "  - {metric: perplexity}\n";
    assert_read(text, &job);
    assert_int_equal(eh_job_to_yaml(&job, &yaml), EH_OK);
    assert_read(yaml.bytes, &again);
    static const char *const wanted[] = {"\n\n", "Q: a, b", "7", "\"é\t"};
    const eh_job *const both[] = {&job, &again};
    for (int j = 0; j < 2; j++) {
        assert_int_equal(both[j]->evaluate[0].stop.count, 4);
        for (int i = 0; i < 4; i++) assert_string_equal(both[j]->evaluate[0].stop.items[i], wanted[i]);
        assert_int_equal(both[j]->evaluate[1].stop.count, 1);
        assert_string_equal(both[j]->evaluate[1].stop.items[0], "###");
        assert_int_equal(both[j]->evaluate[2].stop.count, 0);
        assert_int_equal(both[j]->evaluate[3].stop.count, 0);
    }
    eh_job_deinit(&job);
    eh_job_deinit(&again);
    eh_string_deinit(&yaml);
    const char *override = "evaluate.regard.stop=[end]"; // in place of the file's
    assert_int_equal(read_with(text, &override, 1, &job), EH_OK);
    assert_int_equal(job.evaluate[0].stop.count, 1);
    assert_string_equal(job.evaluate[0].stop.items[0], "end");
    eh_job_deinit(&job);
    assert_refused(MODEL "evaluate:\n  - {metric: regard, stop: ['']}\n",
                   "jobs/demo.yaml:3: 'stop' has an empty text in it");
    assert_refused(MODEL "evaluate:\n  - {metric: regard, stop: [[a]]}\n",
                   "jobs/demo.yaml:3: 'stop' needs a list of texts, found a list in it");
    assert_refused(MODEL "evaluate:\n  - {metric: regard, stop: {a: b}}\n",
                   "jobs/demo.yaml:3: 'stop' needs one value, found a mapping");
}

static void test_help_lists_every_key(void **state)
{
    (void)state;
    eh_string text = {0};
    assert_int_equal(eh_job_help(&text), EH_OK);
    assert_non_null(strstr(text.bytes, "train.lr "));
    assert_non_null(strstr(text.bytes, "(number, 0 to 10; default 3e-5)"));
    assert_non_null(strstr(text.bytes, "linear|constant|cosine"));
    assert_non_null(strstr(text.bytes, "label_layout"));
    eh_string_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_and_output_are_enough),
        cmocka_unit_test(test_designs_example_is_read),
        cmocka_unit_test(test_unknown_keys_are_refused_with_line_and_advice),
        cmocka_unit_test(test_wrong_types_are_refused),
        cmocka_unit_test(test_values_out_of_range_are_refused),
        cmocka_unit_test(test_a_key_twice_is_refused_with_both_lines),
        cmocka_unit_test(test_text_that_is_not_yaml_is_refused_with_its_line),
        cmocka_unit_test(test_keys_that_need_each_other),
        cmocka_unit_test(test_presets_set_the_twelve_switches_and_a_key_overrides_one),
        cmocka_unit_test(test_set_overrides_any_key),
        cmocka_unit_test(test_wrong_overrides_are_refused),
        cmocka_unit_test(test_resolved_yaml_repeats_the_job),
        cmocka_unit_test(test_stop_strings_are_a_list_of_texts),
        cmocka_unit_test(test_help_lists_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
