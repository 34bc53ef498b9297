#include "io/json.h"

#include "core/memory.h"
#include "io/lines.h"

eh_status eh_json_read(const char *path, json_t **document)
{
    char *bytes = NULL;
    size_t size = 0;
    json_error_t error;
    EH_TRY(eh_read_file(path, EH_JSON_LIMIT, &bytes, &size));
    *document = json_loadb(bytes, size, 0, &error);
    eh_free(&bytes);
    if (*document == NULL)
        return eh_error(EH_INPUT, "%s:%d: column %d: not JSON: %s%s", path, error.line, error.column, error.text,
                        json_error_code(&error) == json_error_premature_end_of_input ? " (is the file cut off?)" : "");
    return EH_OK;
}

eh_status eh_json_parse_line(const char *path, int64_t line, const char *text, size_t size, json_t **value)
{
    json_error_t error;
    *value = json_loadb(text, size, 0, &error);
    if (*value == NULL)
        return eh_error(EH_INPUT, "%s:%lld: column %d: not JSON: %s", path, (long long)line, error.column, error.text);
    return EH_OK;
}
