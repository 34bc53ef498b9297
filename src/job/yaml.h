// YAML documents through libfyaml, with errors as ours ("file:line: ..."). For src/job/ only.
#ifndef EH_JOB_YAML_H
#define EH_JOB_YAML_H

#include <libfyaml.h>
#include <stddef.h>

#include "core/status.h"
#include "core/string.h"

// Parses `size` bytes; `name` begins messages. *document is NULL if there is nothing in the text. A key that is there
// twice in a mapping is refused. fy_document_destroy when done; nodes
// live as long as it does.
EH_CHECKED eh_status eh_yaml_parse(const char *name, const char *text, size_t size, struct fy_document **document);
// Line of a node, from 1; 0 if libfyaml does not know.
int eh_yaml_line(struct fy_node *node);
// "mapping", "list" or "value".
const char *eh_yaml_kind(struct fy_node *node);
// The node as JSON text in one line: bare numbers, true, false and null stay what they are, all else is a string.
EH_CHECKED eh_status eh_yaml_to_json(struct fy_node *node, const char *where, eh_string *json);
// A whole file; EH_INPUT if it can't be read. bytes are NUL-terminated.
EH_CHECKED eh_status eh_yaml_read_file(const char *path, eh_string *text);

#endif
