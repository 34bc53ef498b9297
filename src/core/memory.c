#define _GNU_SOURCE
#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_int_fast64_t allocation_count;

static eh_status checked_bytes(int64_t count, size_t element_bytes, size_t *bytes)
{
    if (count < 0 || __builtin_mul_overflow((size_t)count, element_bytes, bytes))
        return eh_error(EH_MACHINE, "out of memory: %lld elements of %zu bytes were asked for", (long long)count,
                        element_bytes);
    return EH_OK;
}

eh_status eh_alloc(int64_t count, size_t element_bytes, void **block)
{
    size_t bytes = 0;
    EH_TRY(checked_bytes(count, element_bytes, &bytes));
    void *fresh = calloc(bytes ? bytes : 1, 1);
    if (fresh == NULL)
        return eh_error(EH_MACHINE, "out of memory: %zu bytes were asked for", bytes);
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    *block = fresh;
    return EH_OK;
}

eh_status eh_resize(int64_t old_count, int64_t count, size_t element_bytes, void **block)
{
    size_t bytes = 0;
    EH_TRY(checked_bytes(count, element_bytes, &bytes));
    void *fresh = realloc(*block, bytes ? bytes : 1);
    if (fresh == NULL)
        return eh_error(EH_MACHINE, "out of memory: %zu bytes were asked for", bytes);
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    const size_t old_bytes = (size_t)old_count * element_bytes;
    if (bytes > old_bytes)
        memset((char *)fresh + old_bytes, 0, bytes - old_bytes);
    *block = fresh;
    return EH_OK;
}

eh_status eh_reserve(int64_t count, int64_t *capacity, size_t element_bytes, void **block)
{
    if (count <= *capacity)
        return EH_OK;
    int64_t wanted = *capacity > 0 ? *capacity : 8;
    while (wanted < count) wanted = wanted <= INT64_MAX / 2 ? wanted * 2 : count;
    size_t bytes = 0;
    EH_TRY(checked_bytes(wanted, element_bytes, &bytes));
    void *fresh = realloc(*block, bytes);
    if (fresh == NULL)
        return eh_error(EH_MACHINE, "out of memory: %zu bytes were asked for", bytes);
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    *block = fresh;
    *capacity = wanted;
    return EH_OK;
}

void eh_free_block(void **block)
{
    free(*block);
    *block = NULL;
}

eh_status eh_copy_string(const char *text, char **copy)
{
    return eh_copy_bytes(text, strlen(text), copy);
}

eh_status eh_copy_bytes(const char *bytes, size_t size, char **copy)
{
    char *fresh = NULL;
    EH_TRY(EH_ALLOC((int64_t)size + 1, &fresh));
    if (size > 0)
        memcpy(fresh, bytes, size);
    *copy = fresh;
    return EH_OK;
}

eh_status eh_map(size_t bytes, const char *purpose, void **block)
{
    void *fresh = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return eh_error(EH_MACHINE, "out of memory: %.1f MiB for %s were asked for", (double)bytes / 1048576, purpose);
    madvise(fresh, bytes ? bytes : 1, MADV_HUGEPAGE); // a hint: without huge pages it is only slower
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    *block = fresh;
    return EH_OK;
}

void eh_unmap(void **block, size_t bytes)
{
    if (*block != NULL)
        munmap(*block, bytes ? bytes : 1);
    *block = NULL;
}

eh_status eh_map_file(const char *folder, size_t bytes, const char *purpose, void **block)
{
    char path[4096];
    const size_t size = bytes ? bytes : 1;
    if (snprintf(path, sizeof path, "%s/evenhand-XXXXXX", folder) >= (int)sizeof path)
        return eh_error(EH_INPUT, "%s: the path is too long", folder);
    const int file = mkstemp(path);
    if (file < 0)
        return eh_error(EH_MACHINE, "%s: no file for %s can be made: %s", folder, purpose, strerror(errno));
    unlink(path); // goes when the last one closes it, however this program ends
    const int code = posix_fallocate(file, 0, (off_t)size);
    void *fresh = code == 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    const int reason = code != 0 ? code : errno;
    close(file);
    if (fresh == MAP_FAILED)
        return eh_error(EH_MACHINE, "%s: no %.1f MiB on disk for %s: %s", folder, (double)bytes / 1048576, purpose,
                        strerror(reason));
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    *block = fresh;
    return EH_OK;
}

void eh_release_pages(const void *begin, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = (uintptr_t)begin / page * page, end = (uintptr_t)begin + bytes;
    if (bytes > 0)
        madvise((void *)first, end - first, MADV_DONTNEED); // of a shared mapping: nothing is lost
}

int64_t eh_allocation_count(void)
{
    return atomic_load_explicit(&allocation_count, memory_order_relaxed);
}

size_t eh_resident_bytes(void)
{
    long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "rb");
    if (file == NULL)
        return 0;
    const bool read = fscanf(file, "%lld %lld", &total, &resident) == 2;
    fclose(file);
    return read ? (size_t)resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

// Not getrusage's ru_maxrss, which begins at the size of the program that this one was started from. The system's count
// is off by some pages and may fall by them; what is told does not.
size_t eh_peak_resident_bytes(void)
{
    long long kilobytes = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "rb");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmHWM: %lld", &kilobytes) != 1) continue;
    fclose(file);
    static _Atomic int_fast64_t most;
    int_fast64_t told = atomic_load(&most);
    const int_fast64_t now = (int_fast64_t)kilobytes * 1024;
    while (now > told && !atomic_compare_exchange_weak(&most, &told, now)) continue;
    return (size_t)(now > told ? now : told);
}
