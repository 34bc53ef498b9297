// The files of a Hugging Face folder: config.json, and the weights in one file, in shards, or in pytorch_model.bin.
#ifndef EH_MODEL_FOLDER_H
#define EH_MODEL_FOLDER_H

#include "core/string.h"
#include "io/stored_tensor.h"

// The text of config.json, and its path for messages.
EH_CHECKED eh_status eh_folder_read_config(const char *folder, eh_string *path, eh_string *config);
// All tensors of the folder's weight files, sorted by name. EH_INPUT names file and tensor of what is wrong.
EH_CHECKED eh_status eh_folder_open_weights(const char *folder, eh_stored_tensors *stored);
// EH_INPUT unless `name` is the name of a file right inside a folder: no '/', not "." or "..".
EH_CHECKED eh_status eh_folder_check_name(const char *where, const char *name);

#endif
