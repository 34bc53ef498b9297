// The backends, named once, the fastest first: "auto" takes the first that opens. X(name, how to get it built).
#ifndef EH_BACKEND_LIST_H
#define EH_BACKEND_LIST_H

#include "backend/backend_internal.h"

#define EH_BACKEND_LIST(X)                                                                         \
    X(cuda, "configure with -DEVENHAND_CUDA=ON on a machine that has the CUDA toolkit and cuBLAS") \
    X(cpu, "it is always built")                                                                   \
    X(reference, "it is always built")

#define EH_DECLARE_BACKEND(name, how) extern const eh_backend_table eh_backend_##name;
EH_BACKEND_LIST(EH_DECLARE_BACKEND)
#undef EH_DECLARE_BACKEND

#endif
