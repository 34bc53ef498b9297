#include "report/charts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/axis.h"
#include "report/html.h"

#define WIDTH EH_CHART_WIDTH
#define MOST_SIDE_LABEL 17
#define MOST_END_LABEL 11
#define SERIES EH_CHART_SERIES

static void mark_title(const char *label, const char *when, const eh_mark *mark, const char *unit, char *title,
                       size_t size)
{
    if (isfinite(mark->interval.low))
        snprintf(title, size, "%s%s%s: %.3f [%.3f, %.3f] %s", label, when[0] == '\0' ? "" : ", ", when, mark->value,
                 mark->interval.low, mark->interval.high, unit);
    else
        snprintf(title, size, "%s%s%s: %.3f %s", label, when[0] == '\0' ? "" : ", ", when, mark->value, unit);
}

// --- Slopes ---
static eh_status draw_slope_end(const eh_slope *slope, const eh_mark *mark, const char *when, double x,
                                const eh_axis *y, int64_t series, const char *unit, eh_string *html)
{
    char title[256], class[16];
    if (!isfinite(mark->value))
        return EH_OK;
    snprintf(class, sizeof class, "whisker l%d", (int)(series % SERIES));
    if (isfinite(mark->interval.low))
        EH_TRY(eh_draw_line(x, eh_axis_at(y, mark->interval.low), x, eh_axis_at(y, mark->interval.high), class, html));
    mark_title(slope->label, when, mark, unit, title, sizeof title);
    return eh_draw_dot(x, eh_axis_at(y, mark->value), 4.5, series, title, html);
}

// Labels at the right end must not overlap: each is pushed below the one above it.
static eh_status draw_slope_labels(const eh_slope *slopes, int64_t count, const eh_axis *y, double x, int decimals,
                                   bool named, eh_string *html)
{
    bool drawn[SERIES] = {false};
    double last = -INFINITY;
    for (int64_t n = 0; n < count; n++) {
        int64_t next = -1;
        for (int64_t i = 0; i < count; i++)
            if (!drawn[i] &&
                (next < 0 || slopes[i].after.value > slopes[next].after.value || isnan(slopes[next].after.value)))
                next = i;
        drawn[next] = true;
        if (!isfinite(slopes[next].after.value))
            continue;
        const double at = fmax(eh_axis_at(y, slopes[next].after.value) + 4, last + 15);
        last = at;
        char text[160], class[24];
        snprintf(text, sizeof text, "%.*f %s", decimals, slopes[next].after.value, named ? slopes[next].label : "");
        snprintf(class, sizeof class, "label t%d", (int)(next % SERIES));
        EH_TRY(eh_draw_text(x, at, class, "start", text, html));
    }
    return EH_OK;
}

eh_status eh_chart_slopes(const eh_chart *chart, const eh_slope *slopes, int64_t count, eh_string *html)
{
    if (count > SERIES)
        count = SERIES;
    eh_interval range = {INFINITY, -INFINITY};
    eh_range_take(&range, chart->reference);
    for (int64_t i = 0; i < chart->lines.count; i++) eh_range_take(&range, chart->lines.values[i]);
    for (int64_t i = 0; i < count; i++) {
        eh_range_take_mark(&range, &slopes[i].before);
        eh_range_take_mark(&range, &slopes[i].after);
    }
    if (strcmp(chart->unit, "%") == 0) { // a change of a tenth of a point must not look like one of ten
        eh_range_take(&range, range.high - 4);
        range.high = fmin(range.high, 100);
    }
    size_t longest = 0;
    const char *labels[SERIES];
    for (int64_t i = 0; i < count; i++) {
        labels[i] = slopes[i].label;
        longest = strlen(labels[i]) > longest ? strlen(labels[i]) : longest;
    }
    const bool legend = longest > MOST_END_LABEL; // long names stand above, values alone at the lines' ends
    const double left = 40, right = legend ? 310 : 250;
    const double top = 14 + (legend ? eh_legend_height(8, WIDTH - 8, EH_TEXT_SIZE, labels, count) : 0),
                 bottom = top + 204, height = bottom + 32;
    const eh_axis y = eh_axis_make(range.low, range.high, bottom, top, 5);
    EH_TRY(eh_chart_open(chart, WIDTH, height, html));
    if (legend)
        EH_TRY(eh_draw_legend(8, WIDTH - 8, 12, EH_TEXT_SIZE, labels, count, html));
    EH_TRY(eh_draw_y_axis(&y, left, right, html));
    EH_TRY(eh_draw_chart_lines(chart, &y, true, left, right, html));
    if (isfinite(chart->reference)) {
        const double at = eh_axis_at(&y, chart->reference);
        EH_TRY(eh_draw_line(left, at, right, at, "reference", html));
    }
    for (int64_t i = 0; i < count; i++) {
        const double shift = 7 * ((double)i - 0.5 * (double)(count - 1));
        const double x1 = left + 40 + shift, x2 = right - 40 + shift;
        char class[16];
        snprintf(class, sizeof class, "slope l%d", (int)i);
        if (isfinite(slopes[i].before.value) && isfinite(slopes[i].after.value))
            EH_TRY(eh_draw_line(x1, eh_axis_at(&y, slopes[i].before.value), x2, eh_axis_at(&y, slopes[i].after.value),
                                class, html));
        EH_TRY(draw_slope_end(&slopes[i], &slopes[i].before, "before", x1, &y, i, chart->unit, html));
        EH_TRY(draw_slope_end(&slopes[i], &slopes[i].after, "after", x2, &y, i, chart->unit, html));
    }
    EH_TRY(draw_slope_labels(slopes, count, &y, right + 6, strcmp(chart->unit, "%") == 0 ? 1 : 3, !legend, html));
    EH_TRY(eh_draw_text(left + 40, bottom + 22, "label", "middle", "before", html));
    EH_TRY(eh_draw_text(right - 40, bottom + 22, "label", "middle", "after", html));
    return eh_chart_close(chart, html);
}

// --- Bars ---
static eh_status draw_bar(const eh_chart *chart, const eh_bar_group *group, const char *series_name,
                          const eh_mark *mark, int64_t series, const eh_axis *x, double at, double thick,
                          eh_string *html)
{
    if (!isfinite(mark->value))
        return eh_draw_text(eh_axis_at(x, isfinite(chart->reference) ? chart->reference : 0) + 4, at + thick - 2,
                            "tick", "start", "not measured", html);
    char title[256];
    mark_title(group->label, series_name, mark, chart->unit, title, sizeof title);
    const double base = eh_axis_at(x, isfinite(chart->reference) ? chart->reference : 0),
                 end = eh_axis_at(x, mark->value);
    EH_TRY(eh_string_printf(html,
                            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"s%d bar\"><title>",
                            fmin(base, end), at, fabs(end - base), thick, (int)(series % SERIES)));
    EH_TRY(eh_html_text(title, html));
    EH_TRY(eh_string_append_text(html, "</title></rect>\n"));
    if (!isfinite(mark->interval.low))
        return EH_OK;
    return eh_draw_line(eh_axis_at(x, mark->interval.low), at + thick / 2, eh_axis_at(x, mark->interval.high),
                        at + thick / 2, "error", html);
}

eh_status eh_chart_bars(const eh_chart *chart, const char *const *series, int64_t series_count,
                        const eh_bar_group *groups, int64_t group_count, eh_string *html)
{
    eh_interval range = {INFINITY, -INFINITY};
    eh_range_take(&range, isfinite(chart->reference) ? chart->reference : 0);
    for (int64_t i = 0; i < chart->lines.count; i++) eh_range_take(&range, chart->lines.values[i]);
    for (int64_t g = 0; g < group_count; g++)
        for (int64_t s = 0; s < series_count; s++) eh_range_take_mark(&range, &groups[g].marks[s]);
    size_t longest = 0;
    for (int64_t g = 0; g < group_count; g++)
        longest = strlen(groups[g].label) > longest ? strlen(groups[g].label) : longest;
    const bool above = longest > MOST_SIDE_LABEL; // a long name has a line of its own over its bars
    const double thick = series_count > 2 ? 9 : 12, row = thick * (double)series_count + (above ? 26 : 14);
    const double left = above ? 22 : 112, right = WIDTH - 14,
                 top = 9 + eh_legend_height(8, right, EH_TEXT_SIZE, series, series_count);
    const double bottom = top + row * (double)group_count;
    const eh_axis x = eh_axis_make(range.low, range.high, left, right, 5);
    EH_TRY(eh_chart_open(chart, WIDTH, bottom + 44, html));
    EH_TRY(eh_draw_legend(8, right, 12, EH_TEXT_SIZE, series, series_count, html));
    EH_TRY(eh_draw_x_axis(&x, top, bottom, EH_TEXT_SIZE, chart->unit, html));
    for (int64_t g = 0; g < group_count; g++) {
        const double at = top + row * (double)g + (above ? 21 : 7);
        char label[64];
        snprintf(label, sizeof label, "%.54s%s", groups[g].label, strlen(groups[g].label) > 54 ? "..." : "");
        EH_TRY(above
                   ? eh_draw_text(left + 2, at - 5, "label", "start", label, html)
                   : eh_draw_text(left - 8, at + 0.5 * thick * (double)series_count + 4, "label", "end", label, html));
        for (int64_t s = 0; s < series_count; s++)
            EH_TRY(draw_bar(chart, &groups[g], series[s], &groups[g].marks[s], s, &x, at + thick * (double)s, thick - 1,
                            html));
    }
    const double zero = eh_axis_at(&x, isfinite(chart->reference) ? chart->reference : 0);
    EH_TRY(eh_draw_line(zero, top, zero, bottom, "zero", html));
    EH_TRY(eh_draw_chart_lines(chart, &x, false, top, bottom, html));
    return eh_chart_close(chart, html);
}

// --- Curves ---
// At most one point a pixel: of many steps in a row, their mean.
static eh_status draw_curve(const double *xs, const eh_curve *curve, int64_t count, const eh_axis *x, const eh_axis *y,
                            int64_t series, eh_string *html)
{
    const int64_t stride = 1 + count / 300;
    int64_t drawn = 0, filled = 0;
    EH_TRY(eh_string_printf(html, "<polyline class=\"curve l%d\" points=\"", (int)(series % SERIES)));
    double sum_x = 0, sum_y = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(curve->y[i]) && isfinite(xs[i]))
            sum_x += xs[i], sum_y += curve->y[i], filled++;
        if (((i + 1) % stride != 0 && i + 1 < count) || filled == 0)
            continue;
        EH_TRY(eh_string_printf(html, "%.1f,%.1f ", eh_axis_at(x, sum_x / (double)filled),
                                eh_axis_at(y, sum_y / (double)filled)));
        sum_x = sum_y = 0;
        filled = 0;
        drawn++;
    }
    EH_TRY(eh_string_append_text(html, "\"/>\n"));
    for (int64_t i = 0; drawn == 1 && i < count; i++)
        if (isfinite(curve->y[i]))
            EH_TRY(eh_draw_dot(eh_axis_at(x, xs[i]), eh_axis_at(y, curve->y[i]), 4, series, curve->label, html));
    return EH_OK;
}

eh_status eh_chart_curves(const eh_chart *chart, const char *x_label, const double *x_values, int64_t count,
                          const eh_curve *curves, int64_t curve_count, eh_string *html)
{
    eh_interval range_x = {INFINITY, -INFINITY}, range_y = {INFINITY, -INFINITY};
    const char *labels[SERIES];
    for (int64_t c = 0; c < curve_count && c < SERIES; c++) {
        labels[c] = curves[c].label;
        for (int64_t i = 0; i < count; i++) eh_range_take(&range_y, curves[c].y[i]);
    }
    for (int64_t i = 0; i < count; i++) eh_range_take(&range_x, x_values[i]);
    const double top = 30, bottom = 250, left = 48, right = WIDTH - 14;
    eh_axis x = eh_axis_make(range_x.low, range_x.high, left, right, 5);
    const eh_axis y = eh_axis_make(range_y.low, range_y.high, bottom, top, 5);
    EH_TRY(eh_chart_open(chart, WIDTH, 300, html));
    EH_TRY(eh_draw_y_axis(&y, left, right, html));
    EH_TRY(eh_draw_x_axis(&x, top, bottom, EH_TEXT_SIZE, x_label, html));
    EH_TRY(eh_draw_legend(left, right, 14, EH_TEXT_SIZE, labels, curve_count < SERIES ? curve_count : SERIES, html));
    for (int64_t c = 0; c < curve_count && c < SERIES; c++)
        EH_TRY(draw_curve(x_values, &curves[c], count, &x, &y, c, html));
    return eh_chart_close(chart, html);
}
