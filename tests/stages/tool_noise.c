// A damaged model and nothing else: tool_noise FOLDER STRENGTH SEED OUT reads the model in FOLDER and writes it to OUT
// with relative Gaussian noise on its weights.
#include <stdio.h>
#include <stdlib.h>

#include "model/noise.h"

int main(int argc, char **argv)
{
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    eh_noise noise = {0};
    if (argc != 5)
        return 2;
    eh_status status = eh_backend_open("cpu", 0, 1, &backend);
    if (status == EH_OK)
        status = eh_model_open(backend, argv[1], EH_F32, EH_FOR_TRAINING, &model);
    if (status == EH_OK)
        status = eh_noise_init(backend, model, strtoull(argv[3], NULL, 10), &noise);
    if (status == EH_OK)
        status = eh_noise_apply(&noise, 0, strtod(argv[2], NULL));
    if (status == EH_OK)
        status = eh_model_save(model, argv[4], argv[1]);
    if (status != EH_OK)
        fprintf(stderr, "%s\n", eh_error_message());
    eh_noise_deinit(&noise);
    eh_model_close(&model);
    eh_backend_close(&backend);
    return eh_exit_code(status);
}
