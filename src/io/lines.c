// zlib reads plain files as they are and unpacks .gz ones; the buffer holds the line at hand and what was read ahead.
#include "io/lines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "core/memory.h"

enum { READ_BYTES = 1 << 18 };

struct eh_lines {
    char *path;
    gzFile file;
    int64_t file_size;
    bool packed, at_end;
    char *buffer; // [capacity]; unread bytes are [begin, end)
    int64_t capacity, begin, end;
    int64_t position; // in the file, of buffer[begin]
    int64_t line_offset, line_number;
    size_t raw_size;
    bool jumped; // line_number does not count from the file's start
    char kept;   // what stood where the NUL behind the line was put
    int64_t kept_at;
};

static eh_status check_file(const char *path, int64_t *size)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return eh_error(EH_INPUT, "%s: a folder, expected a file", path);
    *size = (int64_t)info.st_size;
    return EH_OK;
}

eh_status eh_lines_open(const char *path, eh_lines **lines)
{
    eh_lines *fresh = NULL;
    int64_t file_size = 0;
    eh_status status = check_file(path, &file_size);
    EH_TRY(status);
    EH_TRY(EH_ALLOC(1, &fresh));
    fresh->file_size = file_size;
    fresh->kept_at = -1;
    EH_TRY_OR(done, eh_copy_string(path, &fresh->path));
    fresh->file = gzopen(path, "rb");
    if (fresh->file == NULL) {
        status = eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
        goto done;
    }
    fresh->packed = gzdirect(fresh->file) == 0;
done:
    if (status != EH_OK)
        eh_lines_close(&fresh);
    *lines = fresh;
    return status;
}

void eh_lines_close(eh_lines **lines)
{
    if (*lines == NULL)
        return;
    if ((*lines)->file != NULL)
        gzclose((*lines)->file);
    eh_free(&(*lines)->buffer);
    eh_free(&(*lines)->path);
    eh_free(lines);
}

int64_t eh_lines_offset(const eh_lines *lines)
{
    return lines->line_offset;
}

size_t eh_lines_raw_size(const eh_lines *lines)
{
    return lines->raw_size;
}

const char *eh_lines_path(const eh_lines *lines)
{
    return lines->path;
}

int64_t eh_lines_file_size(const eh_lines *lines)
{
    return lines->file_size;
}

bool eh_lines_packed(const eh_lines *lines)
{
    return lines->packed;
}

// Counts the line feeds before the line: only for messages, so it may be slow.
static int64_t count_lines(const eh_lines *lines)
{
    gzFile file = gzopen(lines->path, "rb");
    if (file == NULL)
        return 0;
    int64_t number = 1, left = lines->line_offset;
    char bytes[1 << 14];
    while (left > 0) {
        const int got = gzread(file, bytes, (unsigned)(left < (int64_t)sizeof bytes ? left : (int64_t)sizeof bytes));
        if (got <= 0)
            break;
        for (int i = 0; i < got; i++) number += bytes[i] == '\n';
        left -= got;
    }
    gzclose(file);
    return number;
}

int64_t eh_lines_number(eh_lines *lines)
{
    return lines->jumped ? count_lines(lines) : lines->line_number;
}

eh_status eh_lines_error(eh_lines *lines, const char *format, ...)
{
    char words[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return eh_error(EH_INPUT, "%s:%lld: %s", lines->path, (long long)eh_lines_number(lines), words);
}

// Reads on behind buffer[end], after making room: the unread bytes move to the front, or the buffer grows.
static eh_status fill(eh_lines *lines)
{
    if (lines->begin > 0) {
        memmove(lines->buffer, lines->buffer + lines->begin, (size_t)(lines->end - lines->begin));
        lines->end -= lines->begin;
        lines->begin = 0;
    }
    EH_TRY(eh_reserve(lines->end + READ_BYTES + 1, &lines->capacity, 1, (void **)&lines->buffer));
    errno = 0;
    const int got = gzread(lines->file, lines->buffer + lines->end, READ_BYTES);
    int code = Z_OK;
    const char *reason = gzerror(lines->file, &code);
    if (got < 0 || code == Z_BUF_ERROR) // Z_BUF_ERROR: the packed data ends too early
        return eh_error(code == Z_ERRNO ? EH_MACHINE : EH_INPUT, "%s: %s", lines->path,
                        code == Z_ERRNO       ? strerror(errno)
                        : code == Z_BUF_ERROR ? "the gzip file is cut off"
                                              : reason);
    lines->at_end = got == 0;
    lines->end += got;
    return EH_OK;
}

static void restore_kept(eh_lines *lines)
{
    if (lines->kept_at >= 0)
        lines->buffer[lines->kept_at] = lines->kept;
    lines->kept_at = -1;
}

static eh_status skip_mark(eh_lines *lines)
{
    while (lines->end - lines->begin < 3 && !lines->at_end) EH_TRY(fill(lines));
    if (lines->end - lines->begin >= 3 && memcmp(lines->buffer + lines->begin, "\xef\xbb\xbf", 3) == 0) {
        lines->begin += 3;
        lines->position += 3;
    }
    return EH_OK;
}

// Finds the end of the line that begins at buffer[begin]: *size without, raw_size with its line feed.
static eh_status find_end(eh_lines *lines, size_t *size, bool *more)
{
    int64_t searched = 0;
    for (;;) {
        const int64_t unread = lines->end - lines->begin;
        const char *start = lines->buffer + lines->begin;
        const char *feed = unread > searched ? memchr(start + searched, '\n', (size_t)(unread - searched)) : NULL;
        if (feed != NULL) {
            *size = (size_t)(feed - start);
            lines->raw_size = *size + 1;
            break;
        }
        searched = unread;
        if ((size_t)unread > EH_LINE_LIMIT || (lines->at_end && unread > 0)) {
            *size = (size_t)unread;
            lines->raw_size = *size;
            break;
        }
        if (lines->at_end) {
            *more = false;
            return EH_OK;
        }
        EH_TRY(fill(lines));
    }
    *more = true;
    return EH_OK;
}

static eh_status refuse_long(eh_lines *lines)
{
    return eh_lines_error(lines, "a line of more than %zu MiB: is this a text file with one record a line?",
                          EH_LINE_LIMIT >> 20);
}

eh_status eh_lines_next(eh_lines *lines, const char **line, size_t *size, bool *more)
{
    restore_kept(lines);
    const bool first = lines->position == 0 && !lines->jumped;
    if (first)
        EH_TRY(skip_mark(lines));
    EH_TRY(find_end(lines, size, more));
    if (!*more)
        return EH_OK;
    char *start = lines->buffer + lines->begin;
    lines->line_offset = first ? 0 : lines->position; // a byte order mark belongs to the first line
    lines->line_number++;
    if (*size > EH_LINE_LIMIT)
        return refuse_long(lines);
    const char *zero = memchr(start, '\0', *size);
    if (zero != NULL)
        return eh_lines_error(lines, "NUL at byte %td of the line: this is a binary file, or UTF-16; expected UTF-8",
                              zero - start + 1);
    lines->begin += (int64_t)lines->raw_size;
    lines->position += (int64_t)lines->raw_size;
    if (*size > 0 && lines->raw_size > *size && start[*size - 1] == '\r')
        --*size;
    lines->kept_at = start - lines->buffer + (int64_t)*size;
    lines->kept = lines->buffer[lines->kept_at];
    lines->buffer[lines->kept_at] = '\0';
    *line = start;
    return EH_OK;
}

eh_status eh_lines_next_before(eh_lines *lines, int64_t offset, const char **line, size_t *size, bool *more,
                               bool *at_end)
{
    *more = *at_end = false;
    if (lines->position >= offset) // only the end of the file is still of interest
        return EH_OK;
    EH_TRY(eh_lines_next(lines, line, size, more));
    *at_end = !*more;
    return EH_OK;
}

// Drops bytes up to `position`; a plain file is entered there directly.
static eh_status drop_to(eh_lines *lines, int64_t position)
{
    const int64_t in_buffer = lines->end - lines->begin;
    if (position - lines->position <= in_buffer) {
        lines->begin += position - lines->position;
        lines->position = position;
        return EH_OK;
    }
    lines->begin = lines->end = 0;
    if (gzseek(lines->file, (z_off_t)position, SEEK_SET) < 0)
        return eh_error(EH_INPUT, "%s: the file is damaged or cut off", lines->path);
    lines->position = position;
    lines->at_end = false;
    return EH_OK;
}

eh_status eh_lines_skip_to(eh_lines *lines, int64_t offset)
{
    restore_kept(lines);
    if (offset <= lines->position || offset <= 0)
        return EH_OK;
    lines->jumped = true;
    EH_TRY(drop_to(lines, offset - 1)); // if this byte is a line feed, a line begins at `offset`
    const int64_t from = lines->line_offset = lines->position;
    for (;;) {
        if (lines->position - from > (int64_t)EH_LINE_LIMIT)
            return refuse_long(lines);
        const int64_t unread = lines->end - lines->begin;
        const char *start = lines->buffer + lines->begin;
        const char *feed = unread > 0 ? memchr(start, '\n', (size_t)unread) : NULL;
        const int64_t passed = feed != NULL ? feed - start + 1 : unread;
        lines->begin += passed;
        lines->position += passed;
        if (feed != NULL || lines->at_end)
            return EH_OK;
        EH_TRY(fill(lines));
    }
}

eh_status eh_read_file(const char *path, size_t limit, char **bytes, size_t *size)
{
    eh_lines *lines = NULL;
    EH_TRY(eh_lines_open(path, &lines));
    eh_status status = EH_OK;
    while (status == EH_OK && !lines->at_end && (size_t)lines->end <= limit) status = fill(lines);
    if (status == EH_OK && (size_t)lines->end > limit)
        status =
            eh_error(EH_INPUT, "%s: more than %zu MiB, too much for a file that is read as a whole", path, limit >> 20);
    if (status == EH_OK)
        status = skip_mark(lines);
    if (status == EH_OK) {
        *size = (size_t)(lines->end - lines->begin);
        memmove(lines->buffer, lines->buffer + lines->begin, *size);
        lines->buffer[*size] = '\0'; // fill left room for it
        *bytes = lines->buffer;
        lines->buffer = NULL;
    }
    eh_lines_close(&lines);
    return status;
}
