#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/half.h"
#include "core/philox.h"
#include "support/cmocka.h"

const eh_test_device eh_test_devices[] = {
    {"reference", NULL, 1},   {"cpu", "baseline", 1},   {"cpu", "baseline", 3}, {"cpu", "avx2", 1},
    {"cpu", "avx2", 3},       {"cpu", "wide", 2},       {"cpu", "avx512", 1},   {"cpu", "avx512", 3},
    {"cpu", "avx512bf16", 1}, {"cpu", "avx512bf16", 3}, {"cuda", NULL, 0},
};
const int eh_test_device_count = sizeof eh_test_devices / sizeof *eh_test_devices;

enum { GUARD = 64, TENSOR_LIMIT = 4096, RANDOM_LIMIT = 4096, NAME_LIMIT = 64 };
static const unsigned char guard_byte = 0xa5;

static struct {
    eh_backend *backend;
    eh_buffer *buffer;
    size_t begin, bytes; // of the tensor in it
    float *values;
} tensors[TENSOR_LIMIT];
static int tensor_count;
static float *randoms[RANDOM_LIMIT];
static int random_count;
static eh_backend *reference;

eh_backend *eh_test_open(const eh_test_device *device)
{
    static bool told[16];
    eh_backend *backend = NULL;
    const char *only = getenv("EVENHAND_TEST_DEVICES"); // the name of one
    if (only != NULL && strcmp(only, device->name) != 0)
        return NULL;
    if (device->isa != NULL)
        setenv("EVENHAND_CPU_ISA", device->isa, 1);
    const eh_status status = eh_backend_open(device->name, 0, device->threads, &backend);
    unsetenv("EVENHAND_CPU_ISA");
    if (status == EH_OK)
        return backend;
    assert_int_equal(status, EH_MACHINE);
    if (!told[device - eh_test_devices])
        printf("not tested here: %s %s: %s\n", device->name, device->isa ? device->isa : "", eh_error_message());
    told[device - eh_test_devices] = true;
    return NULL;
}

eh_backend *eh_test_reference(void)
{
    if (reference == NULL)
        assert_int_equal(eh_backend_open("reference", 0, 1, &reference), EH_OK);
    return reference;
}

static void check_guards(int i)
{
    const size_t whole = tensors[i].begin + tensors[i].bytes + GUARD;
    unsigned char *bytes = malloc(whole);
    assert_non_null(bytes);
    const eh_tensor all = {
        .buffer = tensors[i].buffer, .dtype = EH_BF16, .dimension_count = 1, .shape = {(int64_t)whole / 2}};
    assert_int_equal(eh_backend_download(tensors[i].backend, &all, bytes), EH_OK);
    for (size_t b = 0; b < GUARD; b++) {
        assert_int_equal(bytes[tensors[i].begin - GUARD + b], guard_byte);
        assert_int_equal(bytes[tensors[i].begin + tensors[i].bytes + b], guard_byte);
    }
    free(bytes);
}

void eh_test_free_tensors(eh_backend *backend)
{
    int kept = 0;
    for (int i = 0; i < tensor_count; i++) {
        if (tensors[i].backend != backend) {
            tensors[kept++] = tensors[i];
            continue;
        }
        check_guards(i);
        eh_buffer_free(&tensors[i].buffer);
        free(tensors[i].values);
    }
    tensor_count = kept;
}

void eh_test_close_device(eh_backend **backend)
{
    eh_test_free_tensors(*backend);
    if (*backend != reference)
        eh_backend_close(backend);
    *backend = NULL;
}

void eh_test_on_devices(void (*check)(eh_backend *backend, eh_backend *reference))
{
    for (int d = 0; d < eh_test_device_count; d++) {
        eh_backend *backend = eh_test_open(&eh_test_devices[d]);
        if (backend == NULL)
            continue;
        check(backend, eh_test_reference());
        eh_test_free_random();
        eh_test_close_device(&backend);
        eh_test_free_tensors(reference);
    }
}

static eh_tensor new_tensor(eh_backend *backend, eh_test_shape shape, const void *bits)
{
    // Some begin where no vector does, as views of larger tensors may.
    const size_t begin = tensor_count % 4 == 3 ? GUARD + eh_dtype_bytes(shape.dtype) : GUARD;
    eh_tensor tensor = {.offset = begin, .dtype = shape.dtype, .dimension_count = shape.columns > 0 ? 2 : 1};
    tensor.shape[0] = shape.rows;
    tensor.shape[1] = shape.columns;
    const size_t bytes = eh_tensor_bytes(&tensor), even = (bytes + 1) / 2 * 2, whole = even + begin + GUARD;
    assert_int_equal(eh_buffer_new(backend, whole, "a test", &tensor.buffer), EH_OK);
    unsigned char *image = malloc(whole);
    assert_non_null(image);
    memset(image, guard_byte, whole);
    memcpy(image + begin, bits, bytes);
    const eh_tensor all = {
        .buffer = tensor.buffer, .dtype = EH_BF16, .dimension_count = 1, .shape = {(int64_t)whole / 2}};
    assert_int_equal(eh_backend_upload(backend, image, &all), EH_OK);
    free(image);
    assert_in_range(tensor_count, 0, TENSOR_LIMIT - 1);
    tensors[tensor_count].backend = backend;
    tensors[tensor_count].buffer = tensor.buffer;
    tensors[tensor_count].values = NULL;
    tensors[tensor_count].begin = begin;
    tensors[tensor_count++].bytes = even;
    return tensor;
}

eh_tensor eh_test_tensor(eh_backend *backend, eh_test_shape shape, const float *values)
{
    const int64_t count = shape.rows * (shape.columns > 0 ? shape.columns : 1);
    float *floats = malloc((size_t)count * sizeof *floats + 4);
    uint16_t *halves = malloc((size_t)count * sizeof *halves + 4);
    assert_true(floats && halves);
    for (int64_t i = 0; i < count; i++) {
        floats[i] = values ? values[i] : NAN;
        halves[i] = shape.dtype == EH_BF16 ? eh_bf16_from_float(floats[i]) : eh_fp16_from_float(floats[i]);
    }
    const eh_tensor tensor = new_tensor(backend, shape, shape.dtype == EH_F32 ? (void *)floats : (void *)halves);
    free(floats);
    free(halves);
    return tensor;
}

eh_tensor eh_test_index(eh_backend *backend, int64_t count, const int32_t *values)
{
    int32_t *copy = malloc((size_t)count * sizeof *copy + 4);
    assert_non_null(copy);
    for (int64_t i = 0; i < count; i++) copy[i] = values ? values[i] : -1;
    const eh_tensor tensor = new_tensor(backend, (eh_test_shape){count, 0, EH_I32}, copy);
    free(copy);
    return tensor;
}

const float *eh_test_values(const eh_tensor *tensor)
{
    const int64_t count = eh_tensor_count(tensor);
    float *values = NULL;
    for (int i = 0; i < tensor_count; i++)
        if (tensors[i].buffer == tensor->buffer) { // asked twice: the same memory, so that older pointers stay good
            if (tensors[i].values == NULL)
                tensors[i].values = malloc(tensors[i].bytes / 2 * sizeof *values + 4);
            values = tensors[i].values;
        }
    uint16_t *halves = malloc((size_t)count * sizeof *halves + 4);
    assert_true(values && halves);
    void *bits = tensor->dtype == EH_F32 || tensor->dtype == EH_I32 ? (void *)values : (void *)halves;
    for (int i = 0; i < tensor_count; i++)
        if (tensors[i].buffer == tensor->buffer)
            assert_int_equal(eh_backend_download(tensors[i].backend, tensor, bits), EH_OK);
    for (int64_t i = 0; i < count; i++) {
        if (tensor->dtype == EH_I32)
            values[i] = (float)(int32_t)eh_float_bits(values[i]);
        if (tensor->dtype == EH_BF16 || tensor->dtype == EH_F16)
            values[i] = tensor->dtype == EH_BF16 ? eh_bf16_to_float(halves[i]) : eh_fp16_to_float(halves[i]);
    }
    free(halves);
    return values;
}

const float *eh_test_random(uint64_t seed, int64_t count, double mean, double spread)
{
    float *values = malloc((size_t)count * sizeof *values + 4);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(mean + spread * eh_random_normal(seed, EH_STREAM_TEST, (uint64_t)i));
    assert_in_range(random_count, 0, RANDOM_LIMIT - 1);
    randoms[random_count++] = values;
    return values;
}

void eh_test_free_random(void)
{
    while (random_count > 0) free(randoms[--random_count]);
}

static struct {
    char what[NAME_LIMIT];
    double worst;
} ratios[NAME_LIMIT];
static int ratio_count;

static void remember(const char *what, double ratio)
{
    int i = 0;
    while (i < ratio_count && strcmp(ratios[i].what, what) != 0) i++;
    if (i == NAME_LIMIT)
        return;
    if (i == ratio_count) {
        snprintf(ratios[i].what, NAME_LIMIT, "%s", what);
        ratio_count++;
    }
    ratios[i].worst = ratio > ratios[i].worst ? ratio : ratios[i].worst;
}

bool eh_test_all_close(const char *what, const float *found, const float *expected, int64_t count, double relative,
                       double absolute)
{
    for (int64_t i = 0; i < count; i++) {
        if (isnan(expected[i]) ? isnan(found[i]) : isinf(expected[i]) && found[i] == expected[i])
            continue;
        const double error = fabs((double)found[i] - expected[i]),
                     bound = absolute + relative * fabs((double)expected[i]);
        if (!(error <= bound)) {
            fprintf(stderr, "%s [%lld of %lld]: found %.9g, expected %.9g: off by %.3g, allowed %.3g\n", what,
                    (long long)i, (long long)count, found[i], expected[i], error, bound);
            return false;
        }
        if (bound > 0)
            remember(what, error / bound);
    }
    return true;
}

void eh_test_print_worst(void)
{
    for (int i = 0; i < ratio_count; i++) printf("worst error / bound, %s: %.3f\n", ratios[i].what, ratios[i].worst);
}
