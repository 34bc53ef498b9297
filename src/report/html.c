#include "report/html.h"

#include <string.h>
#include <utf8proc.h>

eh_status eh_html_text_sized(const char *text, size_t size, eh_string *html)
{
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t point;
        const utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &point);
        if (length <= 0) {
            EH_TRY(eh_string_append_text(html, "\xEF\xBF\xBD"));
            at++;
            continue;
        }
        if (point == '&')
            EH_TRY(eh_string_append_text(html, "&amp;"));
        else if (point == '<')
            EH_TRY(eh_string_append_text(html, "&lt;"));
        else if (point == '>')
            EH_TRY(eh_string_append_text(html, "&gt;"));
        else if (point == '"')
            EH_TRY(eh_string_append_text(html, "&quot;"));
        else if (point == '\'')
            EH_TRY(eh_string_append_text(html, "&#39;"));
        else if (point >= 0x20 ? point != 0x7F : point == '\n' || point == '\t')
            EH_TRY(eh_string_append(html, text + at, (size_t)length));
        at += (size_t)length;
    }
    return EH_OK;
}

eh_status eh_html_text(const char *text, eh_string *html)
{
    return eh_html_text_sized(text, strlen(text), html);
}
