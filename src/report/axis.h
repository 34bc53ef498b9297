// A scale from values to pixels with round tick marks, and the frame of a chart.
#ifndef EH_REPORT_AXIS_H
#define EH_REPORT_AXIS_H

#include "report/charts.h"

typedef struct {
    double low, high; // values at the ends, round
    double from, to;  // pixels
    double step;      // between ticks
    int decimals;
    bool logarithmic; // values are decimal logarithms: ticks say the numbers
} eh_axis;

// Widens [low, high] to round ends; `ticks` is about how many marks there will be. Handles low = high and NaN.
eh_axis eh_axis_make(double low, double high, double from, double to, int ticks);
double eh_axis_at(const eh_axis *axis, double value);
// The range of marks: call for each; start with {INFINITY, -INFINITY}.
void eh_range_take(eh_interval *range, double value);
void eh_range_take_mark(eh_interval *range, const eh_mark *mark);

// <figure><svg ...> with the title and a description for screen readers; then </svg><figcaption>...</figure>.
EH_CHECKED eh_status eh_chart_open(const eh_chart *chart, double width, double height, eh_string *html);
EH_CHECKED eh_status eh_draw_dot(double x, double y, double radius, int64_t series, const char *title, eh_string *html);
#define EH_CHART_WIDTH 380.0
#define EH_CHART_WIDE 620.0 // of one in two columns
#define EH_CHART_SERIES 6   // classes s0 .. s5 of the style sheet
EH_CHECKED eh_status eh_chart_close(const eh_chart *chart, eh_string *html);

EH_CHECKED eh_status eh_draw_y_axis(const eh_axis *y, double left, double right, eh_string *html);
EH_CHECKED eh_status eh_draw_x_axis(const eh_axis *x, double top, double bottom, double text_size, const char *label,
                                    eh_string *html);
EH_CHECKED eh_status eh_draw_text(double x, double y, const char *class, const char *anchor, const char *text,
                                  eh_string *html);
// The chart's lines of published values: across (values on a y axis, from and to are x) or upright, with their letters.
EH_CHECKED eh_status eh_draw_chart_lines(const eh_chart *chart, const eh_axis *axis, bool across, double from,
                                         double to, eh_string *html);
EH_CHECKED eh_status eh_draw_line(double x1, double y1, double x2, double y2, const char *class, eh_string *html);
// The largest size that the style sheet gives the text of a picture, in the picture's units: a wide one's grows on a
// phone. What is laid out for it fits everywhere.
#define EH_TEXT_SIZE 12.0
#define EH_TEXT_SIZE_WIDE 17.0
// Room for a text of that size: characters (not bytes) of the mean width of a wide sans-serif font.
double eh_text_width(const char *text, double text_size);
// Small coloured squares with names, from x on at baseline y, in as many lines as fit left of `right`; its height
// beforehand. A name that is longer than a line loses its middle, for runs of a sweep differ at their ends; all of it
// is told on hovering.
EH_CHECKED eh_status eh_draw_legend(double x, double right, double y, double text_size, const char *const *labels,
                                    int64_t count, eh_string *html);
double eh_legend_height(double x, double right, double text_size, const char *const *labels, int64_t count);

#endif
