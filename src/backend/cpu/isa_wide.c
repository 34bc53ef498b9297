// The kernels in plain C with AVX-512's vectors and panels: for the tests of machines without it.
#define EH_ISA_WIDE
#include "backend/cpu/kernels.inc"

const eh_cpu_kernels eh_cpu_kernels_wide = EH_KERNELS_OF("16 lanes in plain C");
