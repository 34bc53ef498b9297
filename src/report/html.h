// Text for HTML and SVG. Whatever comes from a data set, a job or a model goes through eh_html_text.
#ifndef EH_REPORT_HTML_H
#define EH_REPORT_HTML_H

#include "core/string.h"

// Escapes & < > " ' and drops control characters; bytes that are no UTF-8 become U+FFFD.
EH_CHECKED eh_status eh_html_text(const char *text, eh_string *html);
EH_CHECKED eh_status eh_html_text_sized(const char *text, size_t size, eh_string *html);

#endif
