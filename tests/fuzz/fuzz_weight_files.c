// libFuzzer target: whatever a weight file holds, its readers answer with tensors inside it or with an error. The first
// byte picks the reader. Build and run:
//   clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_POSIX_C_SOURCE=200809L -Isrc -o fuzz_weight_files \
//     tests/fuzz/fuzz_weight_files.c src/io/{safetensors,stored_tensor,mapped_file,pickle,torch_file}.c \
//     src/core/{memory,status}.c -ljansson -lm && ./fuzz_weight_files -max_total_time=60
#include "io/pickle.h"
#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    eh_stored_tensors list = {0};
    if (size < 1)
        return 0;
    const uint8_t *bytes = data + 1;
    const eh_status status = data[0] % 2 == 0 ? eh_safetensors_parse("fuzz", bytes, size - 1, 0, &list)
                                              : eh_torch_file_parse("fuzz", bytes, size - 1, 0, &list);
    for (int64_t i = 0; status == EH_OK && i < list.count; i++) {
        const eh_stored_tensor *tensor = &list.tensors[i];
        EH_ASSERT(tensor->bytes >= bytes && tensor->bytes + tensor->size <= bytes + size - 1);
        float value;
        if (tensor->count > 0 && tensor->dtype != EH_STORED_OTHER)
            eh_stored_tensor_read(tensor, tensor->count - 1, 1, &value);
    }
    eh_stored_tensors_close(&list);
    return 0;
}
