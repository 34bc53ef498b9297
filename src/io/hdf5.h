// HDF5 with our errors, and the few shapes of data that evenhand's files are made of: flat arrays (chunked, shuffled,
// deflated), text attributes, lists of texts.
#ifndef EH_IO_HDF5_H
#define EH_IO_HDF5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

// Turns the result of an HDF5 call (negative: failed) into a status with the library's own words. Works for herr_t,
// hid_t and htri_t: EH_TRY_OR(done, EH_HDF5(file = H5Fopen(...))).
#define EH_HDF5(call) eh_hdf5_status((int64_t)(call), #call)
EH_CHECKED eh_status eh_hdf5_status(int64_t result, const char *call);

// A fresh file by this process alone, whose bytes do not depend on the time of day. It lies in memory until
// eh_hdf5_save: a write that fails inside HDF5 (a full disk) makes the library crash when it ends, so it never writes
// itself.
EH_CHECKED eh_status eh_hdf5_create(const char *path, hid_t *file);
// The same for a file that is there, read into memory to be added to.
EH_CHECKED eh_status eh_hdf5_edit(const char *path, hid_t *file);
// Writes such a file to `path`, flushed to the disk, and closes it in any case. EH_MACHINE if the disk is full: then
// there is no such file.
EH_CHECKED eh_status eh_hdf5_save(hid_t *file, const char *path);
// The same, not flushed: for a file that is edited and saved again before anyone relies on it.
EH_CHECKED eh_status eh_hdf5_save_draft(hid_t *file, const char *path);
// EH_INPUT if it is not there or not an HDF5 file (cut off, for instance).
EH_CHECKED eh_status eh_hdf5_open(const char *path, hid_t *file);
// Closes whatever kind of object it is and sets -1; -1 is allowed. For what was only read, or after a failure.
void eh_hdf5_close(hid_t *object);

// A one-dimensional dataset of `count` elements (0 allowed). `type` is the memory type, H5T_NATIVE_...; in the file it
// is the little-endian one of the same size.
EH_CHECKED eh_status eh_hdf5_write(hid_t parent, const char *name, hid_t type, int64_t count, const void *values);
// The length of a one-dimensional dataset; EH_INPUT if it is missing or has another rank.
EH_CHECKED eh_status eh_hdf5_count(hid_t parent, const char *name, int64_t *count);
// Reads [first, first + count) into `values`, converted to `type`.
EH_CHECKED eh_status eh_hdf5_read(hid_t parent, const char *name, hid_t type, int64_t first, int64_t count,
                                  void *values);

// The same for texts: variable-length UTF-8 strings. On reading, NULL-terminated; eh_hdf5_free_texts.
EH_CHECKED eh_status eh_hdf5_write_text_column(hid_t parent, const char *name, int64_t count, const char *const *texts);
EH_CHECKED eh_status eh_hdf5_read_text_column(hid_t parent, const char *name, char ***texts, int64_t *count);
// The class of a dataset's elements: H5T_INTEGER, H5T_FLOAT, H5T_STRING; H5T_NO_CLASS if there is no such dataset.
H5T_class_t eh_hdf5_class(hid_t parent, const char *name);

EH_CHECKED eh_status eh_hdf5_write_text(hid_t object, const char *attribute, const char *text);
EH_CHECKED eh_status eh_hdf5_write_texts(hid_t object, const char *attribute, const char *const *texts, int64_t count);
EH_CHECKED eh_status eh_hdf5_write_number(hid_t object, const char *attribute, uint64_t number);
// *text is allocated (eh_free). EH_INPUT if there is no such attribute or it is no text.
EH_CHECKED eh_status eh_hdf5_read_text(hid_t object, const char *attribute, char **text);
// NULL-terminated; eh_hdf5_free_texts.
EH_CHECKED eh_status eh_hdf5_read_texts(hid_t object, const char *attribute, char ***texts, int64_t *count);
EH_CHECKED eh_status eh_hdf5_read_number(hid_t object, const char *attribute, uint64_t *number);
bool eh_hdf5_has_attribute(hid_t object, const char *attribute);
void eh_hdf5_free_texts(char ***texts);

#endif
