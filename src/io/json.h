// JSON through jansson: whole documents (plain or .gz) and single lines, with file and line in every message.
#ifndef EH_IO_JSON_H
#define EH_IO_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define EH_JSON_LIMIT ((size_t)1 << 30) // bytes of a document that is read as a whole

// EH_INPUT: "PATH:LINE: what is wrong". The caller calls json_decref.
EH_CHECKED eh_status eh_json_read(const char *path, json_t **document);
// One line of a file; `line` is its number, for messages.
EH_CHECKED eh_status eh_json_parse_line(const char *path, int64_t line, const char *text, size_t size, json_t **value);

#endif
