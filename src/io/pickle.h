// Weights that torch.save wrote: the zip format and the older one. A restricted unpickler builds tensors and containers
// of tensors, never anything else: a pickle that names any other class is refused by that name, no code runs.
#ifndef EH_IO_PICKLE_H
#define EH_IO_PICKLE_H

#include "io/stored_tensor.h"

// Adds the tensors of a state_dict to the list. EH_INPUT names file and tensor (or class, opcode, zip entry) of what is
// wrong: other classes, compressed entries (torch writes none), storages that are missing or too short, cut off files.
EH_CHECKED eh_status eh_torch_file_open(const char *path, eh_stored_tensors *list);
// The same for bytes in memory (the fuzz target).
EH_CHECKED eh_status eh_torch_file_parse(const char *path, const uint8_t *bytes, size_t size, int64_t file,
                                         eh_stored_tensors *list);

#endif
