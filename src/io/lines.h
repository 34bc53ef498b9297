// Lines of a text file, plain or .gz, with or without a byte order mark, ended by LF or CR LF: one at a time, in memory
// that does not depend on the file's size. A plain file can be entered anywhere, so that ranks share it by byte ranges.
#ifndef EH_IO_LINES_H
#define EH_IO_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define EH_LINE_LIMIT ((size_t)16 << 20) // a longer line (or CSV row) is refused: probably no text file

typedef struct eh_lines eh_lines;

// EH_INPUT if the file can't be read.
EH_CHECKED eh_status eh_lines_open(const char *path, eh_lines **lines);
void eh_lines_close(eh_lines **lines);

// The next line without its end; borrowed until the next call, and a NUL byte follows it. *more is false behind the
// last one. EH_INPUT with file and line for a line over the limit, a NUL byte (a binary file, UTF-16) or damaged gzip
// data.
EH_CHECKED eh_status eh_lines_next(eh_lines *lines, const char **line, size_t *size, bool *more);
// The same, but only if that line begins before `offset`; otherwise *more is false and it stays unread. *at_end says
// whether *more is false because the file has ended.
EH_CHECKED eh_status eh_lines_next_before(eh_lines *lines, int64_t offset, const char **line, size_t *size, bool *more,
                                          bool *at_end);
// Of the line given last: the offset of its first byte in the (unpacked) file, its bytes with the line end, its number.
int64_t eh_lines_offset(const eh_lines *lines);
size_t eh_lines_raw_size(const eh_lines *lines);
int64_t eh_lines_number(eh_lines *lines); // from 1; reads the file anew if it was entered in the middle
const char *eh_lines_path(const eh_lines *lines);
int64_t eh_lines_file_size(const eh_lines *lines); // on disk, when it was opened
bool eh_lines_packed(const eh_lines *lines);       // .gz: its unpacked size is not known

// Goes on with the first line that begins at or behind `offset` and was not given yet. Forwards only.
EH_CHECKED eh_status eh_lines_skip_to(eh_lines *lines, int64_t offset);

// "PATH:LINE: message" about the line given last.
EH_CHECKED eh_status eh_lines_error(eh_lines *lines, const char *format, ...) EH_PRINTF(2, 3);

// The rest of a whole file as one block with a NUL behind it (eh_free); EH_INPUT if it has more than `limit` bytes.
EH_CHECKED eh_status eh_read_file(const char *path, size_t limit, char **bytes, size_t *size);

#endif
