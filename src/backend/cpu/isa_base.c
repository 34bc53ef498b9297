// The kernels for any machine.
#include "backend/cpu/kernels.inc"

const eh_cpu_kernels eh_cpu_kernels_base = EH_KERNELS_OF("baseline");
