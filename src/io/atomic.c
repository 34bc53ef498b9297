#include "io/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"

static eh_status machine_error(const char *path, const char *what, int reason)
{
    return eh_error(EH_MACHINE, "%s: %s: %s", path, what, strerror(reason));
}

eh_status eh_make_folders(const char *path)
{
    char *copy = NULL;
    EH_TRY(eh_copy_string(path, &copy));
    eh_status status = EH_OK;
    for (char *at = copy + 1; *copy != '\0' && status == EH_OK; at++) {
        const char here = *at;
        if (here != '/' && here != '\0')
            continue;
        *at = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            status = machine_error(copy, "the folder cannot be made", errno);
        *at = here;
        if (here == '\0')
            break;
    }
    struct stat info;
    if (status == EH_OK && *copy != '\0' && (stat(copy, &info) != 0 || !S_ISDIR(info.st_mode)))
        status = eh_error(EH_INPUT, "%s: a file stands where a folder is needed", path);
    eh_free(&copy);
    return status;
}

// The folder of a path: "." if it has none.
static eh_status folder_of(const char *path, char **folder)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return eh_copy_string(".", folder);
    return eh_copy_bytes(path, slash == path ? 1 : (size_t)(slash - path), folder);
}

eh_status eh_make_parent_folders(const char *path)
{
    char *folder = NULL;
    EH_TRY(folder_of(path, &folder));
    const eh_status status = eh_make_folders(folder);
    eh_free(&folder);
    return status;
}

eh_status eh_atomic_begin(const char *path, eh_atomic *atomic)
{
    eh_string beside = {0};
    eh_status status = EH_OK;
    *atomic = (eh_atomic){0};
    EH_TRY_OR(done, eh_make_parent_folders(path));
    EH_TRY_OR(done, eh_string_printf(&beside, "%s.part", path));
    EH_TRY_OR(done, eh_copy_string(path, &atomic->path));
    EH_TRY_OR(done, eh_copy_string(beside.bytes, &atomic->beside));
    atomic->file = fopen(atomic->beside, "wb");
    if (atomic->file == NULL)
        status = machine_error(atomic->beside, "cannot be written", errno);
done:
    if (status != EH_OK)
        eh_atomic_discard(atomic);
    eh_string_deinit(&beside);
    return status;
}

void eh_atomic_discard(eh_atomic *atomic)
{
    if (atomic->file != NULL) {
        fclose(atomic->file);
        remove(atomic->beside);
    }
    eh_free(&atomic->path);
    eh_free(&atomic->beside);
    *atomic = (eh_atomic){0};
}

eh_status eh_atomic_commit(eh_atomic *atomic)
{
    FILE *file = atomic->file;
    const bool failed = ferror(file) != 0;
    const int early = errno; // of the write that failed, if nothing else failed since
    errno = 0;
    if (failed || fflush(file) != 0) {
        const int reason = errno != 0 ? errno : early;
        const eh_status status = machine_error(atomic->path, "writing failed", reason != 0 ? reason : EIO);
        eh_atomic_discard(atomic);
        return status;
    }
    const bool closed = fsync(fileno(file)) == 0 || errno == EINVAL; // EINVAL: a file system without fsync
    const int reason = errno;
    if (!closed) {
        const eh_status status = machine_error(atomic->path, "writing failed", reason);
        eh_atomic_discard(atomic);
        return status;
    }
    atomic->file = NULL;
    eh_status status = EH_OK;
    if (fclose(file) != 0)
        status = machine_error(atomic->path, "writing failed", errno);
    if (status == EH_OK)
        status = eh_atomic_rename(atomic->beside, atomic->path);
    if (status != EH_OK)
        remove(atomic->beside);
    eh_atomic_discard(atomic);
    return status;
}

eh_status eh_atomic_write(const char *path, const void *bytes, size_t size)
{
    eh_atomic atomic;
    EH_TRY(eh_atomic_begin(path, &atomic));
    if (size > 0 && fwrite(bytes, 1, size, atomic.file) != size) {
        const eh_status status = machine_error(path, "writing failed", errno);
        eh_atomic_discard(&atomic);
        return status;
    }
    return eh_atomic_commit(&atomic);
}

eh_status eh_atomic_flush(const char *path)
{
    const int descriptor = open(path, O_RDONLY);
    if (descriptor < 0)
        return machine_error(path, "cannot be opened", errno);
    eh_status status = EH_OK;
    if (fsync(descriptor) != 0 && errno != EINVAL)
        status = machine_error(path, "flushing to the disk failed", errno);
    close(descriptor);
    return status;
}

eh_status eh_atomic_rename(const char *beside, const char *path)
{
    if (rename(beside, path) != 0)
        return machine_error(path, "renaming onto it failed", errno);
    char *folder = NULL;
    EH_TRY(folder_of(path, &folder));
    const eh_status status = eh_atomic_flush(folder);
    eh_free(&folder);
    return status;
}
