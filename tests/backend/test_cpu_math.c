// The CPU backend's exponential, over its whole range, for every instruction set that this machine has: the bound that
// math.inc states.
#include <math.h>
#include <stdlib.h>

#include "backend/cpu/kernels.h"
#include "core/half.h"
#include "support/close.h"
#include "support/cmocka.h"

static void check_exponential(const eh_cpu_kernels *kernels)
{
    enum { COUNT = 1 << 12 };
    static float x[COUNT], y[COUNT];
    double worst = 0;
    for (uint32_t top = 0; top < 512; top++) { // every 1117th float of each sign up to 88.7
        for (uint32_t i = 0; i < COUNT; i++)
            x[i] = eh_float_from_bits((top & 1) << 31 | ((top >> 1) * COUNT + i) * 1117);
        kernels->exponential(y, x, COUNT);
        for (int i = 0; i < COUNT; i++) {
            const double expected = exp(x[i]);
            if (x[i] < -87.3f || !(x[i] <= 88.72f))
                continue;
            worst = fmax(worst, fabs(y[i] - expected) / expected);
        }
    }
    assert_close(worst, 0, 0x1p-23);
    const float edges[] = {-87.4f, -1000, -INFINITY, 88.73f, 1e30f, INFINITY, NAN, 0}, zero = 0;
    kernels->exponential(y, edges, 8);
    for (int i = 0; i < 3; i++) assert_true(y[i] == zero);
    for (int i = 3; i < 6; i++) assert_true(isinf(y[i]) && y[i] > 0);
    assert_true(isnan(y[6]));
    assert_true(y[7] == 1);
    printf("%s: worst relative error %.2f units in the last place\n", kernels->name, worst / 0x1p-23);
}

static void test_exponential_keeps_its_bound(void **state)
{
    (void)state;
    check_exponential(&eh_cpu_kernels_base);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        check_exponential(&eh_cpu_kernels_avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        check_exponential(&eh_cpu_kernels_avx512);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exponential_keeps_its_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
