// Charts as inline SVG: text in the page's font, colours by CSS class (s0, s1, ... are series), a <title> in every
// mark. Each draws a whole <figure> with its caption and its numbers as a text alternative. Labels may come from users:
// they are escaped.
#ifndef EH_REPORT_CHARTS_H
#define EH_REPORT_CHARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/string.h"
#include "report/statistics.h"

typedef struct {
    double value;
    eh_interval interval; // NaN: none
} eh_mark;

// Values to compare with, of other work: dashed lines lettered a, b, ...; the caption says what they are.
#define EH_CHART_LINES 8
typedef struct {
    const char *labels[EH_CHART_LINES];
    double values[EH_CHART_LINES];
    int64_t count;
} eh_chart_lines;

typedef struct {
    const char *title, *caption; // caption may be NULL
    const char *unit;
    double reference;     // drawn as a dashed line; NaN: none
    eh_chart_lines lines; // of slopes and bars
} eh_chart;

// Lines from "before" to "after", one a series.
typedef struct {
    const char *label;
    eh_mark before, after;
} eh_slope;
EH_CHECKED eh_status eh_chart_slopes(const eh_chart *chart, const eh_slope *slopes, int64_t count, eh_string *html);

// Horizontal bars from `reference`, groups down, one bar for each of up to 6 series a group.
typedef struct {
    const char *label;
    const eh_mark *marks; // [series_count]
} eh_bar_group;
EH_CHECKED eh_status eh_chart_bars(const eh_chart *chart, const char *const *series, int64_t series_count,
                                   const eh_bar_group *groups, int64_t group_count, eh_string *html);

// Points in two dimensions, with intervals and a label where they have one; --- charts_plane.c ---
typedef enum { EH_DOT, EH_ARROWHEAD, EH_CROSS, EH_RING, EH_DIAMOND, EH_SQUARE } eh_shape;
typedef struct {
    double x, y;
    eh_interval x_interval, y_interval; // NaN: none
    const char *label;                  // near the point, where nothing else is; NULL: none
    const char *title;                  // told on hovering; NULL: none
    int series;                         // colour
    eh_shape shape;
} eh_point;
// A line between two of the points, in the second one's colour.
typedef struct {
    int64_t from, to;
    bool faint;
} eh_path;
typedef struct {
    const char *x_label, *y_label;
    bool has_line, identity; // y = intercept + slope x; dashed y = x
    double slope, intercept;
    double x_reference, y_reference; // dashed; NaN: none
    bool small;                      // many points, half transparent
    bool log_x;                      // x are decimal logarithms: ticks say the numbers
    bool wide;                       // drawn twice as wide: the picture that matters
    const eh_path *paths;
    int64_t path_count;
    const char *const *series; // a legend of the colours, NULL: none
    int64_t series_count;
} eh_scatter;
EH_CHECKED eh_status eh_chart_scatter(const eh_chart *chart, const eh_scatter *scatter, const eh_point *points,
                                      int64_t count, eh_string *html);

// Curves over x, one a series; NaN is a gap.
typedef struct {
    const char *label;
    const double *y; // [count]
} eh_curve;
EH_CHECKED eh_status eh_chart_curves(const eh_chart *chart, const char *x_label, const double *x, int64_t count,
                                     const eh_curve *curves, int64_t curve_count, eh_string *html);

#endif
