// Mapping of whole files.
#define _DEFAULT_SOURCE // madvise: posix_madvise does nothing here
#include "io/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

eh_status eh_mapped_file_open(const char *path, eh_mapped_file *file)
{
    *file = (eh_mapped_file){0};
    eh_status status = EH_OK;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    struct stat about;
    if (fstat(descriptor, &about) != 0) {
        status = eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(about.st_mode)) {
        status = eh_error(EH_INPUT, "%s: not a regular file", path);
        goto done;
    }
    EH_TRY_OR(done, eh_copy_string(path, &file->path));
    if (about.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (bytes == MAP_FAILED) {
            status =
                eh_error(EH_MACHINE, "%s: cannot map %lld bytes: %s", path, (long long)about.st_size, strerror(errno));
            goto done;
        }
        file->bytes = bytes;
        file->size = (size_t)about.st_size;
    }
done:
    close(descriptor); // the mapping holds on to the file
    if (status != EH_OK)
        eh_mapped_file_close(file);
    return status;
}

void eh_mapped_file_close(eh_mapped_file *file)
{
    if (file->bytes != NULL)
        munmap((void *)(uintptr_t)file->bytes, file->size);
    eh_free(&file->path);
    *file = (eh_mapped_file){0};
}

void eh_mapped_file_forget(const eh_mapped_file *file, const void *bytes, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)bytes + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)bytes + size) & ~(page - 1);
    if (file->bytes != NULL && begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}
