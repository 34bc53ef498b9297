// Any of evenhand's HDF5 files as text for a person: what it is, how it came to be, what lies in it.
#ifndef EH_IO_INSPECT_H
#define EH_IO_INSPECT_H

#include "core/status.h"
#include "core/string.h"

// Appends to `text`: the file's attributes (long ones cut), then each dataset with type, shape, size in the file and
// its first values; UTF-8 bytes with offsets beside them as their first texts. EH_INPUT if it is no HDF5 file.
EH_CHECKED eh_status eh_inspect(const char *path, eh_string *text);

#endif
