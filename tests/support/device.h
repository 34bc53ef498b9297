// The backends that an operation is tested on, and tensors on them: random or NaN, with guard bytes before and behind.
#ifndef EH_TESTS_SUPPORT_DEVICE_H
#define EH_TESTS_SUPPORT_DEVICE_H

#include "backend/backend.h"

typedef struct {
    const char *name, *isa; // isa: of the CPU backend (EVENHAND_CPU_ISA), or NULL
    int threads;
} eh_test_device;

// Every variant that there is; `eh_test_open` gives NULL, and says so once, for what this machine or build lacks.
extern const eh_test_device eh_test_devices[];
extern const int eh_test_device_count;
eh_backend *eh_test_open(const eh_test_device *device);
eh_backend *eh_test_reference(void); // opened once
// Frees every tensor made on it (after checking its guards) and closes it.
void eh_test_close_device(eh_backend **backend);
void eh_test_free_tensors(eh_backend *backend);
// Runs `check` on every device that there is, the reference beside it.
void eh_test_on_devices(void (*check)(eh_backend *backend, eh_backend *reference));

typedef struct {
    int64_t rows, columns; // columns 0: a vector of `rows`
    eh_dtype dtype;
} eh_test_shape;

// Filled with `values` (NULL: NaN, for what an operation must write).
eh_tensor eh_test_tensor(eh_backend *backend, eh_test_shape shape, const float *values);
eh_tensor eh_test_index(eh_backend *backend, int64_t count, const int32_t *values); // NULL: -1
// All elements as fp32; valid until eh_test_free_tensors.
const float *eh_test_values(const eh_tensor *tensor);

// `count` numbers, normal with this mean and spread: a function of (seed, index). Valid until eh_test_free_random.
const float *eh_test_random(uint64_t seed, int64_t count, double mean, double spread);
void eh_test_free_random(void);

// |found - expected| <= absolute + relative |expected| for each element, equal infinities and both NaN being right.
// Remembers the worst ratio of error to bound by `what`; prints the first failure and gives false.
bool eh_test_all_close(const char *what, const float *found, const float *expected, int64_t count, double relative,
                       double absolute);
void eh_test_print_worst(void);

static inline double eh_test_rounding(eh_dtype dtype) // half a unit in the last place of 1
{
    return dtype == EH_F32 ? 0x1p-24 : dtype == EH_BF16 ? 0x1p-8 : 0x1p-11;
}

#endif
