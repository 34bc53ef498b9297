#define _XOPEN_SOURCE 700
#include "support/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka.h"

char *eh_test_folder_new(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder = malloc(4096);
    assert_non_null(folder);
    snprintf(folder, 4096, "%s/evenhand-test-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

void eh_test_folder_remove(char **folder)
{
    if (*folder != NULL)
        nftw(*folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(*folder);
    *folder = NULL;
}

const char *eh_test_path(const char *folder, const char *name)
{
    static _Thread_local char paths[8][4096];
    static _Thread_local int next;
    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

void eh_test_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void eh_test_write_text(const char *path, const char *text)
{
    eh_test_write(path, text, strlen(text));
}

char *eh_test_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long length = ftell(file);
    assert_true(length >= 0);
    rewind(file);
    char *bytes = malloc((size_t)length + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)length, file), (size_t)length);
    bytes[length] = '\0';
    fclose(file);
    if (size != NULL)
        *size = (size_t)length;
    return bytes;
}

bool eh_test_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

const char *eh_test_shared(void)
{
    const char *shared = getenv("EVENHAND_SHARED");
    return shared != NULL && access(shared, F_OK) == 0 ? shared : NULL;
}
