// Memory on the heap with checked sizes, and big blocks that are mapped once (huge pages where the kernel has them).
// EH_ALLOC, EH_RESIZE and EH_APPEND take the address of a typed pointer, so the element size can't be wrong.
#ifndef EH_CORE_MEMORY_H
#define EH_CORE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

// Sets *address to `count` zeroed elements. EH_MACHINE with the size if there is no memory. count 0 is allowed.
#define EH_ALLOC(count, address) eh_alloc((int64_t)(count), sizeof **(address), (void **)(address))
// Grows or shrinks to `count` elements, new ones zeroed; `old_count` says how many there were. On failure unchanged.
#define EH_RESIZE(old_count, count, address) \
    eh_resize((int64_t)(old_count), (int64_t)(count), sizeof **(address), (void **)(address))
// Appends `value` to a growing array of `*count` elements with room for `*capacity` (both int64_t).
#define EH_APPEND(address, count, capacity, value)                                         \
    (eh_reserve(*(count) + 1, (capacity), sizeof **(address), (void **)(address)) == EH_OK \
         ? ((*(address))[(*(count))++] = (value), EH_OK)                                   \
         : EH_MACHINE)
// Frees and sets the pointer to NULL; NULL is allowed.
#define eh_free(address) eh_free_block((void **)(address))

EH_CHECKED eh_status eh_alloc(int64_t count, size_t element_bytes, void **block);
EH_CHECKED eh_status eh_resize(int64_t old_count, int64_t count, size_t element_bytes, void **block);
// Makes room for at least `count` elements, doubling *capacity; new elements are not zeroed.
EH_CHECKED eh_status eh_reserve(int64_t count, int64_t *capacity, size_t element_bytes, void **block);
void eh_free_block(void **block);
// A copy of a string, or of its first `size` bytes with a NUL added.
EH_CHECKED eh_status eh_copy_string(const char *text, char **copy);
EH_CHECKED eh_status eh_copy_bytes(const char *bytes, size_t size, char **copy);

// Zeroed pages from the system, 64-byte aligned, huge ones where possible. EH_MACHINE with size and purpose.
EH_CHECKED eh_status eh_map(size_t bytes, const char *purpose, void **block);
void eh_unmap(void **block, size_t bytes);
// The same in a file of its own in `folder`, which takes its room at once and is gone with the program: memory that the
// system may write out. eh_unmap ends it.
EH_CHECKED eh_status eh_map_file(const char *folder, size_t bytes, const char *purpose, void **block);
// Pages of such memory that are not needed for a while: they leave this process's resident memory, their contents stay.
void eh_release_pages(const void *begin, size_t bytes);

// How often memory was asked for since the program began: what must not allocate is tested by this.
int64_t eh_allocation_count(void);
// Resident size of this process now, and the greatest so far, bytes; 0 where the system does not say.
size_t eh_resident_bytes(void);
size_t eh_peak_resident_bytes(void);

#endif
