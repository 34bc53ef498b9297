// tool_save FOLDER NEW [SHARD_BYTES]: opens a model and saves it again, for scripts.
#include <stdio.h>
#include <stdlib.h>

#include "model/model.h"

static eh_status run(const char *from, const char *to, uint64_t shard_bytes)
{
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    eh_status status = eh_backend_open("cpu", 0, 1, &backend);
    if (status == EH_OK)
        status = eh_model_open(backend, from, EH_F32, EH_FOR_INFERENCE, &model);
    if (status == EH_OK)
        status = eh_model_save_shards(model, to, from, shard_bytes);
    if (status == EH_OK)
        printf("%s", eh_model_warning(model));
    eh_model_close(&model);
    eh_backend_close(&backend);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 3 || run(argv[1], argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_C(5000000000)) != EH_OK) {
        fprintf(stderr, "%s\n", argc < 3 ? "usage: FOLDER NEW [SHARD_BYTES]" : eh_error_message());
        return 1;
    }
    return 0;
}
