// Points in a plane: bias against capability, planted against measured, a figure over model size.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/axis.h"
#include "report/charts.h"
#include "report/html.h"

// --- Marks ---
static eh_status draw_shape(const eh_point *point, double x, double y, double r, eh_string *html)
{
    const int series = point->series % EH_CHART_SERIES;
    switch (point->shape) {
    case EH_DOT:
        return eh_string_printf(html, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"s%d\"/>", x, y, r, series);
    case EH_RING:
        return eh_string_printf(html, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"hollow l%d\"/>", x, y, r,
                                series);
    case EH_ARROWHEAD:
        r *= 1.25;
        return eh_string_printf(html, "<path d=\"M%.1f %.1fl%.1f %.1fh%.1fz\" class=\"s%d\"/>", x, y - r, r, 1.8 * r,
                                -2 * r, series);
    case EH_CROSS:
        return eh_string_printf(html, "<path d=\"M%.1f %.1fl%.1f %.1fm0 %.1fl%.1f %.1f\" class=\"hollow thick l%d\"/>",
                                x - r, y - r, 2 * r, 2 * r, -2 * r, -2 * r, 2 * r, series);
    case EH_DIAMOND:
        r *= 1.3;
        return eh_string_printf(html, "<path d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\" class=\"hollow l%d\"/>", x,
                                y - r, r, r, -r, r, -r, -r, series);
    case EH_SQUARE:
        return eh_string_printf(html,
                                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"hollow l%d\"/>",
                                x - r, y - r, 2 * r, 2 * r, series);
    }
    return EH_OK;
}

static eh_status draw_point(const eh_scatter *scatter, const eh_point *point, const eh_axis *x, const eh_axis *y,
                            eh_string *html)
{
    if (!isfinite(point->x) || !isfinite(point->y))
        return EH_OK;
    const double at_x = eh_axis_at(x, point->x), at_y = eh_axis_at(y, point->y);
    char class[24];
    snprintf(class, sizeof class, "whisker l%d", point->series % EH_CHART_SERIES);
    if (isfinite(point->x_interval.low))
        EH_TRY(eh_draw_line(eh_axis_at(x, point->x_interval.low), at_y, eh_axis_at(x, point->x_interval.high), at_y,
                            class, html));
    if (isfinite(point->y_interval.low))
        EH_TRY(eh_draw_line(at_x, eh_axis_at(y, point->y_interval.low), at_x, eh_axis_at(y, point->y_interval.high),
                            class, html));
    EH_TRY(eh_string_append_text(html, "<g>"));
    if (point->title != NULL) {
        EH_TRY(eh_string_append_text(html, "<title>"));
        EH_TRY(eh_html_text(point->title, html));
        EH_TRY(eh_string_append_text(html, "</title>"));
    }
    EH_TRY(draw_shape(point, at_x, at_y, scatter->small ? 3 : 5, html));
    return eh_string_append_text(html, "</g>\n");
}

// --- Labels: each where it covers no point and no other label ---
typedef struct {
    double left, top, right, bottom;
} box;

static double overlap(const box *a, const box *b)
{
    const double width = fmin(a->right, b->right) - fmax(a->left, b->left),
                 height = fmin(a->bottom, b->bottom) - fmax(a->top, b->top);
    return width > 0 && height > 0 ? width * height : 0;
}

#define MOST_OBSTACLES 1024
#define PATH_SAMPLES 16

typedef struct {
    const eh_axis *x, *y;
    double text_size;
    box taken[MOST_OBSTACLES];
    int count;
} label_places;

#define AROUND 6
#define TIERS 5 // how far off: right at the point, then a text's height further each

// Right above, right below, left above, left below, above, below; then the same further up or down.
static box place_at(double x, double y, double width, double text_size, int place)
{
    const int side = place % AROUND / 2, tier = place / AROUND;
    const bool under = place % 2 == 1;
    const double from = side == 0 ? x + 8 : side == 1 ? x - 8 - width : x - width / 2;
    const double near = (side == 2 ? 8 : 3) + tier * text_size, height = 1.1 * text_size;
    const double top = under ? y + near : y - near - height;
    return (box){from, top, from + width, top + height};
}

static void take(label_places *places, double left, double top, double right, double bottom)
{
    if (places->count < MOST_OBSTACLES)
        places->taken[places->count++] = (box){left, top, right, bottom};
}

static double text_size_of(const eh_scatter *scatter)
{
    return scatter->wide ? EH_TEXT_SIZE_WIDE : EH_TEXT_SIZE;
}

static eh_status draw_label(label_places *places, const eh_point *point, eh_string *html)
{
    const double x = eh_axis_at(places->x, point->x), y = eh_axis_at(places->y, point->y);
    const double size = places->text_size, width = eh_text_width(point->label, size);
    const box frame = {places->x->from, places->y->to, places->x->to, places->y->from};
    box best = {0};
    static const char *const anchors[] = {"start", "end", "middle"};
    double least = INFINITY;
    int chosen = 0;
    for (int place = 0; place < AROUND * TIERS; place++) {
        const box candidate = place_at(x, y, width, size, place);
        double cost = 0.1 * place + 40 * (place / AROUND); // near before far, but far before one on another
        cost += width * (candidate.bottom - candidate.top) - overlap(&candidate, &frame); // what hangs out
        for (int i = 0; i < places->count; i++) cost += overlap(&candidate, &places->taken[i]);
        if (cost < least)
            least = cost, best = candidate, chosen = place;
    }
    take(places, best.left - 2, best.top - 2, best.right + 2, best.bottom + 2);
    char class[24];
    snprintf(class, sizeof class, "label t%d", point->series % EH_CHART_SERIES);
    // Held at the end by the point: the text may be narrower than the room it was given.
    const double at = chosen % AROUND / 2 == 0 ? best.left : chosen % AROUND / 2 == 1 ? best.right : x;
    return eh_draw_text(at, best.bottom - 0.25 * size, class, anchors[chosen % AROUND / 2], point->label, html);
}

static void take_path(label_places *places, const eh_point *from, const eh_point *to)
{
    for (int s = 0; s <= PATH_SAMPLES; s++) {
        const double t = (double)s / PATH_SAMPLES;
        const double x = eh_axis_at(places->x, from->x + t * (to->x - from->x)),
                     y = eh_axis_at(places->y, from->y + t * (to->y - from->y));
        take(places, x - 3, y - 3, x + 3, y + 3);
    }
}

static eh_status draw_labels(const eh_scatter *scatter, const eh_point *points, int64_t count, const eh_axis *x,
                             const eh_axis *y, eh_string *html)
{
    label_places places = {.x = x, .y = y, .text_size = text_size_of(scatter)};
    for (int64_t i = 0; i < count; i++) {
        if (points[i].label == NULL || !isfinite(points[i].x) || !isfinite(points[i].y))
            continue;
        const double at_x = eh_axis_at(x, points[i].x), at_y = eh_axis_at(y, points[i].y);
        take(&places, at_x - 6, at_y - 6, at_x + 6, at_y + 6);
        if (isfinite(points[i].y_interval.low))
            take(&places, at_x - 1, eh_axis_at(y, points[i].y_interval.high), at_x + 1,
                 eh_axis_at(y, points[i].y_interval.low));
    }
    for (int64_t p = 0; p < scatter->path_count; p++)
        take_path(&places, &points[scatter->paths[p].from], &points[scatter->paths[p].to]);
    for (int64_t i = 0; i < count; i++)
        if (points[i].label != NULL && isfinite(points[i].x) && isfinite(points[i].y))
            EH_TRY(draw_label(&places, &points[i], html));
    return EH_OK;
}

// --- Lines ---
static eh_status draw_path(const eh_path *path, const eh_point *points, const eh_axis *x, const eh_axis *y,
                           eh_string *html)
{
    const eh_point *from = &points[path->from], *to = &points[path->to];
    char class[32];
    if (!isfinite(from->x) || !isfinite(from->y) || !isfinite(to->x) || !isfinite(to->y))
        return EH_OK;
    snprintf(class, sizeof class, "%s l%d", path->faint ? "way faint" : "way", to->series % EH_CHART_SERIES);
    return eh_draw_line(eh_axis_at(x, from->x), eh_axis_at(y, from->y), eh_axis_at(x, to->x), eh_axis_at(y, to->y),
                        class, html);
}

// A line y = intercept + slope x, clipped to the frame.
static eh_status draw_fit(double slope, double intercept, const eh_axis *x, const eh_axis *y, const char *class,
                          eh_string *html)
{
    double ends[2] = {x->low, x->high};
    for (int i = 0; i < 2; i++) {
        const double at = intercept + slope * ends[i];
        const double inside = fmin(fmax(at, y->low), y->high);
        if (at != inside && slope != 0)
            ends[i] = (inside - intercept) / slope;
    }
    if (fmin(ends[0], ends[1]) < x->low - 1e-9 || fmax(ends[0], ends[1]) > x->high + 1e-9)
        return EH_OK;
    return eh_draw_line(eh_axis_at(x, ends[0]), eh_axis_at(y, intercept + slope * ends[0]), eh_axis_at(x, ends[1]),
                        eh_axis_at(y, intercept + slope * ends[1]), class, html);
}

// --- The whole ---
static eh_status draw_frame(const eh_scatter *scatter, const eh_axis *x, const eh_axis *y, eh_string *html)
{
    const double top = y->to, bottom = y->from, left = x->from, right = x->to;
    EH_TRY(eh_draw_y_axis(y, left, right, html));
    EH_TRY(eh_draw_x_axis(x, top, bottom, text_size_of(scatter), scatter->x_label, html));
    if (isfinite(scatter->x_reference))
        EH_TRY(eh_draw_line(eh_axis_at(x, scatter->x_reference), top, eh_axis_at(x, scatter->x_reference), bottom,
                            "reference", html));
    if (isfinite(scatter->y_reference))
        EH_TRY(eh_draw_line(left, eh_axis_at(y, scatter->y_reference), right, eh_axis_at(y, scatter->y_reference),
                            "reference", html));
    if (scatter->identity)
        EH_TRY(draw_fit(1, 0, x, y, "reference", html));
    EH_TRY(eh_string_printf(
        html, "<text transform=\"translate(%g %.1f) rotate(-90)\" class=\"label\" text-anchor=\"middle\">",
        text_size_of(scatter) - 1, (top + bottom) / 2));
    EH_TRY(eh_html_text(scatter->y_label, html));
    return eh_string_append_text(html, "</text>\n");
}

eh_status eh_chart_scatter(const eh_chart *chart, const eh_scatter *scatter, const eh_point *points, int64_t count,
                           eh_string *html)
{
    eh_interval range_x = {INFINITY, -INFINITY}, range_y = {INFINITY, -INFINITY};
    eh_range_take(&range_x, scatter->x_reference);
    eh_range_take(&range_y, scatter->y_reference);
    for (int64_t i = 0; i < count; i++) {
        eh_range_take_mark(&range_x, &(eh_mark){points[i].x, points[i].x_interval});
        eh_range_take_mark(&range_y, &(eh_mark){points[i].y, points[i].y_interval});
    }
    const double width = scatter->wide ? EH_CHART_WIDE : EH_CHART_WIDTH, left = scatter->wide ? 66 : 48,
                 right = width - 22;
    const double size = text_size_of(scatter);
    const double legend =
        scatter->series == NULL ? 0 : 4 + eh_legend_height(left, right, size, scatter->series, scatter->series_count);
    const double top = size + legend, bottom = top + (scatter->wide ? 290 : 250);
    eh_axis x = eh_axis_make(range_x.low, range_x.high, left, right, scatter->wide ? 7 : 5);
    if (scatter->log_x) // the ends are no ticks: a little room is enough
        x = (eh_axis){range_x.low - 0.08, range_x.high + 0.08, left, right, 1, 0, true};
    const eh_axis y = eh_axis_make(range_y.low, range_y.high, bottom, top, 6);
    EH_TRY(eh_chart_open(chart, width, bottom + 20 + 2 * size, html));
    if (scatter->series != NULL)
        EH_TRY(eh_draw_legend(left, right, size, size, scatter->series, scatter->series_count, html));
    EH_TRY(draw_frame(scatter, &x, &y, html));
    for (int64_t i = 0; i < scatter->path_count; i++) EH_TRY(draw_path(&scatter->paths[i], points, &x, &y, html));
    EH_TRY(eh_string_append_text(html, scatter->small ? "<g class=\"faint\">\n" : "<g>\n"));
    for (int64_t i = 0; i < count; i++) EH_TRY(draw_point(scatter, &points[i], &x, &y, html));
    EH_TRY(eh_string_append_text(html, "</g>\n"));
    if (scatter->has_line)
        EH_TRY(draw_fit(scatter->slope, scatter->intercept, &x, &y, "fit", html));
    EH_TRY(draw_labels(scatter, points, count, &x, &y, html));
    return eh_chart_close(chart, html);
}
