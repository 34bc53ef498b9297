// Temporary folders of a test, and small files in them.
#ifndef EH_TESTS_SUPPORT_FOLDER_H
#define EH_TESTS_SUPPORT_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

// A fresh folder under $TMPDIR; the caller frees the path and calls eh_test_folder_remove.
char *eh_test_folder_new(void);
void eh_test_folder_remove(char **folder);
// FOLDER/NAME, in a buffer that the next call of this thread but seven reuses.
const char *eh_test_path(const char *folder, const char *name);
void eh_test_write(const char *path, const void *bytes, size_t size);
void eh_test_write_text(const char *path, const char *text);
// The whole file with a NUL behind it; the caller frees it. Fails the test if it can't be read.
char *eh_test_read(const char *path, size_t *size);
bool eh_test_exists(const char *path);
// The folder of the oracle and the data sets, or NULL where there is none (then print "SKIPPED TEST" and skip).
const char *eh_test_shared(void);

#endif
