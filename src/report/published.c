#include "report/published.h"

#include <math.h>
#include <string.h>

eh_status eh_published_read(const char *path, eh_columns *published)
{
    static const char *const needed[] = {"label", "figure", "value", "source"};
    eh_status status = EH_OK;
    *published = (eh_columns){0};
    if (path == NULL)
        return EH_OK;
    EH_TRY_OR(failed, eh_columns_read(path, published));
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (eh_columns_find(published, needed[i]) < 0)
            EH_TRY_OR(failed, eh_error(EH_INPUT, "%s: no column '%s'", path, needed[i]));
    for (int64_t row = 0; row < published->row_count; row++)
        if (!isfinite(eh_columns_number(published, row, eh_columns_find(published, "value"))))
            EH_TRY_OR(failed, eh_error(EH_INPUT, "%s:%lld: the value is no number: '%s'", path, (long long)row + 2,
                                       eh_columns_text(published, row, eh_columns_find(published, "value"))));
    return EH_OK;
failed:
    eh_columns_deinit(published);
    return eh_error_context(status, "report.reference");
}

eh_chart_lines eh_published_lines(const eh_columns *published, const char *figure)
{
    eh_chart_lines lines = {0};
    for (int64_t row = 0; published != NULL && row < published->row_count && lines.count < EH_CHART_LINES; row++) {
        if (strcmp(eh_columns_text(published, row, eh_columns_find(published, "figure")), figure) != 0)
            continue;
        lines.labels[lines.count] = eh_columns_text(published, row, eh_columns_find(published, "label"));
        lines.values[lines.count++] = eh_columns_number(published, row, eh_columns_find(published, "value"));
    }
    return lines;
}
