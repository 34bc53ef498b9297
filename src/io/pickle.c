// Weights that torch.save wrote.
#include "io/pickle.h"

eh_status eh_torch_file_open(const char *path, eh_stored_tensors *list)
{
    (void)list;
    return eh_error(EH_INPUT, "%s: pytorch_model.bin is not supported yet: convert it to model.safetensors", path);
}
