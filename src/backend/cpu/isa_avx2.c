// The kernels for AVX2 with fused multiply-add (x86-64-v3: Haswell, Zen and newer).
#include "backend/cpu/kernels.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,bmi2")
#define EH_ISA_AVX2
#include "backend/cpu/kernels.inc"

const eh_cpu_kernels eh_cpu_kernels_avx2 = EH_KERNELS_OF("AVX2");
#else
const eh_cpu_kernels eh_cpu_kernels_avx2 = {0};
#endif
