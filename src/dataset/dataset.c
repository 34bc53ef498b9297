#include "dataset/dataset.h"

#include <string.h>

#define EH_DATA_FORMAT(name) extern const eh_data_format eh_format_##name;
#include "dataset/list.h"
#undef EH_DATA_FORMAT

const eh_data_format *const *eh_data_formats(void)
{
    static const eh_data_format *const formats[] = {
#define EH_DATA_FORMAT(name) &eh_format_##name,
#include "dataset/list.h"
#undef EH_DATA_FORMAT
        NULL,
    };
    return formats;
}

eh_status eh_data_format_find(const char *name, const eh_data_format **format)
{
    eh_string names = {0};
    eh_status status = EH_OK;
    for (const eh_data_format *const *f = eh_data_formats(); *f != NULL && status == EH_OK; f++) {
        if (strcmp((*f)->name, name) == 0) {
            *format = *f;
            eh_string_deinit(&names);
            return EH_OK;
        }
        status = eh_string_printf(&names, "%s%s", names.size > 0 ? ", " : "", (*f)->name);
    }
    if (status == EH_OK)
        status = eh_error(EH_INPUT, "unknown data format '%s'; there are: %s", name, names.bytes);
    eh_string_deinit(&names);
    return status;
}
