#include "report/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html.h"

eh_axis eh_axis_make(double low, double high, double from, double to, int ticks)
{
    if (!isfinite(low) || !isfinite(high))
        low = 0, high = 1;
    if (!(high - low > 1e-12 * (fabs(low) + fabs(high)) + 1e-300))
        low -= 0.5, high += 0.5;
    const double rough = (high - low) / ticks, power = pow(10, floor(log10(rough)));
    const double digits = rough / power;
    const double step = power * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
    const double magnitude = floor(log10(step) + 1e-9);
    return (eh_axis){.low = floor(low / step + 1e-9) * step,
                     .high = ceil(high / step - 1e-9) * step,
                     .from = from,
                     .to = to,
                     .step = step,
                     .decimals = magnitude < 0 ? (int)-magnitude : 0};
}

double eh_axis_at(const eh_axis *axis, double value)
{
    return axis->from + (value - axis->low) / (axis->high - axis->low) * (axis->to - axis->from);
}

void eh_range_take(eh_interval *range, double value)
{
    if (!isfinite(value))
        return;
    range->low = fmin(range->low, value);
    range->high = fmax(range->high, value);
}

void eh_range_take_mark(eh_interval *range, const eh_mark *mark)
{
    eh_range_take(range, mark->value);
    eh_range_take(range, mark->interval.low);
    eh_range_take(range, mark->interval.high);
}

eh_status eh_chart_open(const eh_chart *chart, double width, double height, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, width > EH_CHART_WIDTH ? "<figure class=\"chart big\"><h3>"
                                                              : "<figure class=\"chart\"><h3>"));
    EH_TRY(eh_html_text(chart->title, html));
    EH_TRY(eh_string_printf(html, "</h3><svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"", width, height));
    EH_TRY(eh_html_text(chart->title, html));
    if (chart->caption != NULL) {
        EH_TRY(eh_string_append_text(html, ": "));
        EH_TRY(eh_html_text(chart->caption, html));
    }
    return eh_string_append_text(html, "\">\n");
}

eh_status eh_chart_close(const eh_chart *chart, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "</svg>"));
    if (chart->caption != NULL || chart->lines.count > 0) {
        EH_TRY(eh_string_append_text(html, "<figcaption>"));
        EH_TRY(eh_html_text(chart->caption == NULL ? "" : chart->caption, html));
        for (int64_t i = 0; i < chart->lines.count; i++) {
            EH_TRY(eh_string_printf(html, "%s<b>%c</b>: ", i == 0 ? " Published elsewhere, " : "; ", (char)('a' + i)));
            EH_TRY(eh_html_text(chart->lines.labels[i], html));
            EH_TRY(eh_string_printf(html, " %.2f%s", chart->lines.values[i], i + 1 == chart->lines.count ? "." : ""));
        }
        EH_TRY(eh_string_append_text(html, "</figcaption>"));
    }
    return eh_string_append_text(html, "</figure>\n");
}

eh_status eh_draw_text(double x, double y, const char *class, const char *anchor, const char *text, eh_string *html)
{
    EH_TRY(eh_string_printf(html, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class, anchor));
    EH_TRY(eh_html_text(text, html));
    return eh_string_append_text(html, "</text>\n");
}

eh_status eh_draw_line(double x1, double y1, double x2, double y2, const char *class, eh_string *html)
{
    return eh_string_printf(html, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2,
                            y2, class);
}

static int64_t tick_count(const eh_axis *axis)
{
    return (int64_t)llround((axis->high - axis->low) / axis->step);
}

// A tick's value without the rounding of repeated additions; no "-0".
static double tick(const eh_axis *axis, int64_t index)
{
    const double value = axis->low + axis->step * (double)index;
    return fabs(value) < 1e-9 * axis->step ? 0 : value;
}

eh_status eh_draw_y_axis(const eh_axis *y, double left, double right, eh_string *html)
{
    for (int64_t t = 0; t <= tick_count(y); t++) {
        const double at = eh_axis_at(y, tick(y, t));
        EH_TRY(eh_draw_line(left, at, right, at, "grid", html));
        EH_TRY(eh_string_printf(html, "<text x=\"%.1f\" y=\"%.1f\" class=\"tick\" text-anchor=\"end\">%.*f</text>\n",
                                left - 6, at + 4, y->decimals, tick(y, t)));
    }
    return EH_OK;
}

// "250k" of 5.398.
static void name_number(double logarithm, char *name, size_t size)
{
    static const char *const suffixes[] = {"", "k", "M", "G", "T"};
    const double value = pow(10, logarithm);
    int thousands = (int)floor(logarithm / 3 + 1e-9);
    thousands = thousands < 0 ? 0 : thousands > 4 ? 4 : thousands;
    snprintf(name, size, "%.3g%s", value / pow(1000, thousands), suffixes[thousands]);
}

static eh_status draw_x_tick(const eh_axis *x, double value, const char *text, double top, double bottom,
                             double text_size, eh_string *html)
{
    const double at = eh_axis_at(x, value);
    EH_TRY(eh_draw_line(at, top, at, bottom, "grid", html));
    return eh_draw_text(at, bottom + text_size + 4, "tick", "middle", text, html);
}

// 1, 2 and 5 of each power of ten; over many powers, the powers alone.
static eh_status draw_logarithmic_ticks(const eh_axis *x, double top, double bottom, double text_size, eh_string *html)
{
    static const double digits[] = {1, 2, 5};
    const int count = x->high - x->low > 2.5 ? 1 : 3;
    for (double power = floor(x->low); power <= x->high; power++)
        for (int d = 0; d < count; d++) {
            const double value = power + log10(digits[d]);
            char text[32];
            if (value < x->low - 1e-9 || value > x->high + 1e-9)
                continue;
            name_number(value, text, sizeof text);
            EH_TRY(draw_x_tick(x, value, text, top, bottom, text_size, html));
        }
    return EH_OK;
}

eh_status eh_draw_x_axis(const eh_axis *x, double top, double bottom, double text_size, const char *label,
                         eh_string *html)
{
    if (x->logarithmic)
        EH_TRY(draw_logarithmic_ticks(x, top, bottom, text_size, html));
    for (int64_t t = 0; t <= tick_count(x) && !x->logarithmic; t++) {
        char text[32];
        snprintf(text, sizeof text, "%.*f", x->decimals, tick(x, t));
        EH_TRY(draw_x_tick(x, tick(x, t), text, top, bottom, text_size, html));
    }
    return eh_draw_text((x->from + x->to) / 2, bottom + 9 + 2 * text_size, "label", "middle", label, html);
}

eh_status eh_draw_chart_lines(const eh_chart *chart, const eh_axis *axis, bool across, double from, double to,
                              eh_string *html)
{
    for (int64_t i = 0; i < chart->lines.count; i++) {
        const double at = eh_axis_at(axis, chart->lines.values[i]);
        EH_TRY(across ? eh_draw_line(from, at, to, at, "reference", html)
                      : eh_draw_line(at, from, at, to, "reference", html));
    }
    for (int64_t i = 0; i < chart->lines.count; i++) {
        // Each letter has a step of its own along the lines: those of equal values don't lie on each other.
        const double at = eh_axis_at(axis, chart->lines.values[i]), along = 12 * (double)i;
        const char letter[] = {(char)('a' + i), '\0'};
        EH_TRY(across ? eh_draw_text(from + 4 + along, at - 3, "tick letter", "start", letter, html)
                      : eh_draw_text(at + 3, from + 10 + along, "tick letter", "start", letter, html));
    }
    return EH_OK;
}

eh_status eh_draw_dot(double x, double y, double radius, int64_t series, const char *title, eh_string *html)
{
    EH_TRY(eh_string_printf(html, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"s%d\">", x, y, radius,
                            (int)(series % EH_CHART_SERIES)));
    if (title != NULL) {
        EH_TRY(eh_string_append_text(html, "<title>"));
        EH_TRY(eh_html_text(title, html));
        EH_TRY(eh_string_append_text(html, "</title>"));
    }
    return eh_string_append_text(html, "</circle>\n");
}

// --- Legends ---
static int64_t character_count(const char *text)
{
    int64_t count = 0;
    for (; *text != '\0'; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

double eh_text_width(const char *text, double text_size)
{
    return 0.6 * text_size * (double)character_count(text);
}

static double entry_width(const char *label, double x, double right, double text_size)
{
    return fmin(15 + eh_text_width(label, text_size), right - x) + 13;
}

static double line_height(double text_size)
{
    return text_size + 5;
}

static const char *skip_characters(const char *text, int64_t count)
{
    for (; *text != '\0' && count > 0; count--) do
            text++;
        while (((unsigned char)*text & 0xC0) == 0x80);
    return text;
}

double eh_legend_height(double x, double right, double text_size, const char *const *labels, int64_t count)
{
    double at = x, lines = 1;
    for (int64_t i = 0; i < count; i++) {
        const double width = entry_width(labels[i], x, right, text_size);
        if (at > x && at + width - 13 > right)
            at = x, lines++;
        at += width;
    }
    return line_height(text_size) * lines;
}

static eh_status draw_name(double x, double y, double room, double text_size, const char *name, eh_string *html)
{
    const int64_t fits = (int64_t)(room / (0.6 * text_size)), length = character_count(name);
    if (length <= fits || fits < 4)
        return eh_draw_text(x, y, "label", "start", name, html);
    const char *head_end = skip_characters(name, fits / 2),
               *tail = skip_characters(name, length - (fits - 1 - fits / 2));
    EH_TRY(eh_string_printf(html, "<text x=\"%.1f\" y=\"%.1f\" class=\"label\" text-anchor=\"start\"><title>", x, y));
    EH_TRY(eh_html_text(name, html));
    EH_TRY(eh_string_append_text(html, "</title>"));
    EH_TRY(eh_html_text_sized(name, (size_t)(head_end - name), html));
    EH_TRY(eh_string_append_text(html, "…"));
    EH_TRY(eh_html_text(tail, html));
    return eh_string_append_text(html, "</text>\n");
}

eh_status eh_draw_legend(double x, double right, double y, double text_size, const char *const *labels, int64_t count,
                         eh_string *html)
{
    double at = x;
    for (int64_t i = 0; i < count; i++) {
        const double width = entry_width(labels[i], x, right, text_size);
        if (at > x && at + width - 13 > right)
            at = x, y += line_height(text_size);
        EH_TRY(eh_string_printf(html, "<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" class=\"s%d\"/>\n", at,
                                y - 9, (int)(i % 6)));
        EH_TRY(draw_name(at + 15, y, right - at - 15, text_size, labels[i], html));
        at += width;
    }
    return EH_OK;
}
