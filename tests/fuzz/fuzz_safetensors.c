// Fuzz target: any bytes as a safetensors file.
#include "check_tensors.h"
#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    eh_stored_tensors list = {0};
    const eh_status status = eh_safetensors_parse("fuzz", data, size, 0, &list);
    EH_ASSERT(status == EH_OK || status == EH_INPUT);
    if (status == EH_OK)
        eh_fuzz_check_tensors(&list, data, size);
    eh_stored_tensors_close(&list);
    return 0;
}
