// Ten steps of the trainer on the oracle's batches, against PyTorch's and transformers' own: losses, norms, learning
// rates, and every parameter after 1 and 10 steps.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "support/cmocka.h"
#include "support/folder.h"
#include "train/trainer.h"

enum { STEPS = 10, ROWS = 3, IGNORED = -100 };

static eh_comm *comm;
static char *reduction; // of the test at hand

static int64_t *extent(hid_t file, const char *name, int64_t *count)
{
    static int64_t sizes[4];
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set);
    hsize_t dims[4] = {0};
    const int rank = H5Sget_simple_extent_dims(space, dims, NULL);
    *count = 1;
    for (int d = 0; d < rank; d++) {
        sizes[d] = (int64_t)dims[d];
        *count *= sizes[d];
    }
    H5Sclose(space);
    H5Dclose(set);
    return sizes;
}

static void *read_all(hid_t file, const char *name, hid_t type, size_t bytes, int64_t *count)
{
    extent(file, name, count);
    void *values = malloc((size_t)*count * bytes + 1);
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    return values;
}

static double noise_of(hid_t file, const char *name)
{
    double noise = 0;
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT), attribute = H5Aopen(set, "noise", H5P_DEFAULT);
    assert_true(H5Aread(attribute, H5T_NATIVE_DOUBLE, &noise) >= 0);
    H5Aclose(attribute);
    H5Dclose(set);
    return noise;
}

// The oracle's rows as examples of the set: label at t is held against the output at t - 1 in causal models.
static void read_batches(hid_t file, eh_training_set *set)
{
    int64_t count;
    const int64_t *sizes = extent(file, "train/batches/input_ids", &count);
    const int64_t length = sizes[2];
    const int64_t label_length = extent(file, "train/batches/labels", &count)[2];
    int32_t *ids = read_all(file, "train/batches/input_ids", H5T_NATIVE_INT32, 4, &count);
    int32_t *mask = read_all(file, "train/batches/attention_mask", H5T_NATIVE_INT32, 4, &count);
    int32_t *labels = read_all(file, "train/batches/labels", H5T_NATIVE_INT32, 4, &count);
    const bool seq2seq = set->facts.kind == EH_ENCODER_DECODER, causal = set->facts.kind == EH_DECODER;
    eh_examples examples = {0};
    for (int64_t row = 0; row < STEPS * ROWS; row++) { // as many examples as rows; their contents follow below
        const eh_example example = {.input = (int32_t[]){1, 2, set->facts.special.mask},
                                    .input_count = 3,
                                    .target = (int32_t[]){1},
                                    .target_count = 1,
                                    .text = ""};
        assert_int_equal(eh_examples_add(&examples, &example), EH_OK);
    }
    const eh_job_data data = {.name = "oracle"};
    assert_int_equal(eh_training_set_add(set, &data, "none", &examples), EH_OK);
    eh_examples_deinit(&examples);
    set->ids = realloc(set->ids, (size_t)(STEPS * ROWS * length) * sizeof *set->ids);
    const size_t label_bytes = (size_t)(STEPS * ROWS * label_length) * sizeof *set->label_ids;
    set->decoder_ids = realloc(set->decoder_ids, label_bytes);
    set->label_ids = realloc(set->label_ids, label_bytes);
    set->label_rows = realloc(set->label_rows, label_bytes);
    int64_t tokens = 0, decoder_tokens = 0, label_count = 0;
    for (int64_t row = 0; row < STEPS * ROWS; row++) {
        set->masked[row] = 0;
        for (int64_t i = 0; i < length; i++)
            if (mask[row * length + i])
                set->ids[tokens++] = ids[row * length + i];
        int32_t previous = set->facts.special.decoder_start;
        for (int64_t i = 0; i < label_length; i++) {
            const int32_t label = labels[row * label_length + i];
            if (label == IGNORED)
                continue;
            if (seq2seq) {
                set->decoder_ids[decoder_tokens++] = previous;
                previous = label;
            }
            set->label_ids[label_count] = label;
            set->label_rows[label_count++] = (int32_t)(causal ? i - 1 : i);
        }
        set->id_offsets[row + 1] = tokens;
        set->decoder_offsets[row + 1] = decoder_tokens;
        set->label_offsets[row + 1] = label_count;
    }
    free(ids);
    free(mask);
    free(labels);
}

// The oracle's order instead of the plan's: one row a micro-batch.
static void take_oracle_step(eh_batches *batches, const eh_training_set *set, int64_t step)
{
    eh_batches_plan(batches, step);
    batches->example_count = ROWS;
    for (int64_t r = 0; r < ROWS; r++) {
        batches->examples[r] = step * ROWS + r;
        batches->micro_first[r] = r;
    }
    batches->micro_first[ROWS] = ROWS;
    batches->label_count = set->label_offsets[(step + 1) * ROWS] - set->label_offsets[step * ROWS];
}

// Of the keys' biases the true gradient is 0; Adam turns what is computed into steps of any size (oracle/README.md).
static bool is_key_bias(const eh_parameter *parameter, int64_t i)
{
    if (strstr(parameter->name, "key.bias"))
        return true;
    if (strstr(parameter->name, "c_attn.bias"))
        return i / (parameter->count / 3) == 1;
    return strstr(parameter->name, "query_key_value.bias") != NULL; // a third of each head's share: all left out
}

static void compare_parameters(hid_t file, eh_model *model, int steps)
{
    const eh_tensor block = eh_model_weights(model);
    const float *weights = eh_tensor_host(&block);
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        char name[300];
        snprintf(name, sizeof name, "train/params_%d/%s", steps, parameter->name);
        int64_t count;
        float *expected = read_all(file, name, H5T_NATIVE_FLOAT, 4, &count);
        assert_int_equal(count, parameter->count);
        double largest = 0, worst = 0;
        for (int64_t i = 0; i < count; i++) {
            largest = fmax(largest, fabs((double)expected[i]));
            const double error = fabs((double)weights[parameter->offset + i] - (double)expected[i]);
            if (!is_key_bias(parameter, i) && !(error <= worst))
                worst = error;
        }
        const double bound = fmax(1e-3 * largest, 8 * noise_of(file, name) + 1e-6);
        if (!(worst <= bound)) {
            fprintf(stderr, "%s after %d steps: off by %g, allowed %g\n", parameter->name, steps, worst, bound);
            fail();
        }
        free(expected);
    }
}

static void train_like(const char *name, const char *device)
{
    const char *shared = eh_test_shared();
    if (shared == NULL) {
        print_message("SKIPPED TEST: no oracle fixtures\n");
        skip();
    }
    char path[600];
    hid_t file;
    snprintf(path, sizeof path, "%s/oracle/fixtures/expected/%s.h5", shared, name);
    assert_int_equal(eh_hdf5_open(path, &file), EH_OK);
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    assert_int_equal(eh_backend_open(device, 0, 1, &backend), EH_OK);
    snprintf(path, sizeof path, "%s/oracle/fixtures/models/%s", shared, name);
    if (eh_model_open(backend, path, EH_F32, EH_FOR_TRAINING, &model) != EH_OK)
        fail_msg("%s", eh_error_message());

    eh_training_set set;
    eh_model_facts facts = eh_model_facts_of(model);
    if (facts.special.mask < 0)
        facts.special.mask = 4;
    if (facts.special.decoder_start < 0)
        facts.special.decoder_start = 0;
    assert_int_equal(eh_training_set_init(&facts, &set), EH_OK);
    read_batches(file, &set);
    const eh_job job = {.train = {.epochs = 1,
                                  .batch = ROWS,
                                  .micro_batches = ROWS,
                                  .lr = 1e-3,
                                  .schedule = (char[]){"linear"},
                                  .optimizer = (char[]){"adamw"},
                                  .reduction = reduction,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .eps = 1e-8,
                                  .weight_decay = 0.01,
                                  .clip = 1}};
    eh_trainer trainer;
    assert_int_equal(eh_trainer_init(comm, backend, model, &job, &set, &trainer), EH_OK);
    assert_int_equal(trainer.batches.step_count, STEPS);
    int64_t count;
    float *losses = read_all(file, "train/loss", H5T_NATIVE_FLOAT, 4, &count);
    float *norms = read_all(file, "train/grad_norm", H5T_NATIVE_FLOAT, 4, &count);
    float *rates = read_all(file, "train/learning_rate", H5T_NATIVE_FLOAT, 4, &count);
    eh_step_outcome outcome;
    for (int64_t step = 0; step < STEPS; step++) { // the device's scratch memory grows to what the longest batch needs
        take_oracle_step(&trainer.batches, &set, step);
        assert_int_equal(eh_trainer_gradients(&trainer, false, &outcome), EH_OK);
    }
    for (int64_t step = 0; step < STEPS; step++) {
        const int64_t allocations = eh_allocation_count();
        take_oracle_step(&trainer.batches, &set, step);
        assert_int_equal(eh_trainer_gradients(&trainer, false, &outcome), EH_OK);
        assert_int_equal(eh_trainer_update(&trainer, &outcome), EH_OK);
        if (strcmp(device, "cpu") == 0) // a step allocates nothing
            assert_int_equal(eh_allocation_count(), allocations);
        assert_true(fabs(outcome.loss - (double)losses[step]) <= 1e-4 * (double)losses[step]);
        assert_true(fabs(outcome.gradient_norm - (double)norms[step]) <= 1e-3 * (double)norms[step]);
        assert_true(fabs(outcome.learning_rate - (double)rates[step]) <= 1e-9);
        if (step == 0)
            compare_parameters(file, model, 1);
    }
    compare_parameters(file, model, STEPS);
    free(losses);
    free(norms);
    free(rates);
    eh_trainer_deinit(&trainer);
    eh_training_set_deinit(&set);
    eh_model_close(&model);
    eh_backend_close(&backend);
    eh_hdf5_close(&file);
}

#define TRAINS(model, device, how, id)  \
    static void test_##id(void **state) \
    {                                   \
        (void)state;                    \
        reduction = (char[]){how};      \
        train_like(model, device);      \
    }
TRAINS("bloom-a", "cpu", "tree", bloom_on_cpu)
TRAINS("bloom-a", "cpu", "fast", bloom_on_cpu_fast)
TRAINS("bloom-a", "reference", "tree", bloom_on_reference)
TRAINS("bloom-b", "cpu", "tree", bloom_b)
TRAINS("gpt2-a", "cpu", "tree", gpt2)
TRAINS("t5-a", "cpu", "tree", t5)
TRAINS("bert-mlm", "cpu", "tree", bert)
TRAINS("roberta-mlm", "cpu", "tree", roberta)

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bloom_on_cpu),
        cmocka_unit_test(test_bloom_on_cpu_fast),
        cmocka_unit_test(test_bloom_on_reference),
        cmocka_unit_test(test_bloom_b),
        cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_t5),
        cmocka_unit_test(test_bert),
        cmocka_unit_test(test_roberta),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
