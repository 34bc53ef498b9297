// The kernels for AVX-512 with products of bf16 (Cooper Lake, Sapphire Rapids, Zen 4 and newer).
#include "backend/cpu/kernels.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi2,prefer-vector-width=512")
#define EH_ISA_AVX512
#define EH_ISA_BF16
#include "backend/cpu/kernels.inc"

const eh_cpu_kernels eh_cpu_kernels_avx512_bf16 = EH_KERNELS_OF("AVX-512 bf16");
#else
const eh_cpu_kernels eh_cpu_kernels_avx512_bf16 = {0};
#endif
