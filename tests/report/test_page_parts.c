// Parts of the page by themselves: names and labels that would lie on each other, a verdict that there isn't.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/charts.h"
#include "report/page.h"
#include "report/published.h"
#include "support/cmocka.h"
#include "support/folder.h"

enum { MOST_TEXTS = 32 };
typedef struct {
    double x, y; // of the text's start, on its baseline
    double width;
} text_place;

// Where the texts of a class stand, and how wide they are at `size` in a wide font.
static int texts_of(const char *html, const char *class, double size, text_place *places)
{
    int count = 0;
    for (const char *at = html; (at = strstr(at, "<text x=\"")) != NULL;) {
        text_place place;
        const char *end = strstr(at, "</text>"), *text = strchr(at, '>') + 1, *title = strstr(text, "</title>");
        assert_int_equal(sscanf(at, "<text x=\"%lf\" y=\"%lf\"", &place.x, &place.y), 2);
        const char *found = strstr(at, class);
        if (title != NULL && title < end)
            text = title + strlen("</title>");
        double characters = 0;
        for (const char *c = text; c < end; c++) characters += ((unsigned char)*c & 0xC0) != 0x80;
        place.width = 0.6 * size * characters;
        const char *anchor = strstr(at, "text-anchor=\"") + strlen("text-anchor=\"");
        place.x -= *anchor == 'e' ? place.width : *anchor == 'm' ? place.width / 2 : 0;
        if (found != NULL && found < end) {
            assert_true(count < MOST_TEXTS);
            places[count++] = place;
        }
        at = end;
    }
    return count;
}

static void assert_apart(const text_place *places, int count, double size, double right)
{
    for (int i = 0; i < count; i++) {
        assert_true(places[i].x + places[i].width <= right);
        for (int k = 0; k < i; k++)
            if (fabs(places[i].y - places[k].y) < size && places[i].x < places[k].x + places[k].width &&
                places[k].x < places[i].x + places[i].width)
                fail_msg("texts %d and %d lie on each other", k, i);
    }
}

// The wide picture's text is 17 units on a phone (page_style.c).
static void test_long_names_in_a_legend_stay_apart_and_inside(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2-64,train.method=freeze,train.freeze=norms+positions,seed=42",
                                        "gpt2-64,train.method=freeze,train.freeze=norms+positions,seed=43", "short",
                                        "also short", "vingt-deux caractères"};
    const eh_point points[] = {{0, 0, {NAN, NAN}, {NAN, NAN}, NULL, NULL, 0, EH_DOT},
                               {1, 1, {NAN, NAN}, {NAN, NAN}, NULL, NULL, 1, EH_DOT}};
    const eh_scatter scatter = {.x_label = "x",
                                .y_label = "y",
                                .x_reference = NAN,
                                .y_reference = NAN,
                                .wide = true,
                                .series = names,
                                .series_count = 5};
    const eh_chart chart = {"made up", NULL, "", NAN, {{NULL}, {0}, 0}};
    text_place places[MOST_TEXTS];
    eh_string html = {0};
    assert_int_equal(eh_chart_scatter(&chart, &scatter, points, 2, &html), EH_OK);
    const char *frame = strstr(html.bytes, "class=\"grid\"");
    assert_non_null(frame);
    const size_t legend = (size_t)(frame - html.bytes);
    html.bytes[legend] = '\0';
    const int count = texts_of(html.bytes, "class=\"label\"", 17, places);
    assert_int_equal(count, 5);
    assert_apart(places, count, 17, 598);
    assert_true(places[2].y == places[3].y); // two short ones share a line
    assert_non_null(strstr(html.bytes, "…"));
    assert_non_null(strstr(html.bytes, "seed=42</text>")); // what tells the runs apart is kept
    char title[128];
    snprintf(title, sizeof title, "<title>%s</title>", names[1]);
    assert_non_null(strstr(html.bytes, title));
    eh_string_deinit(&html);
}

// As a treatment and its damage control are, where the training did little.
static void test_labels_of_points_on_one_spot_stay_apart(void **state)
{
    (void)state;
    static const char *const names[] = {"before", "after", "damage", "placebo", "reversed", "neutral", "repeat"};
    eh_point points[8];
    for (int i = 0; i < 7; i++)
        points[i] = (eh_point){1.5 + 0.001 * i, 0.3, {NAN, NAN}, {NAN, NAN}, names[i], NULL, i, EH_DOT};
    points[7] = (eh_point){2, 1, {NAN, NAN}, {NAN, NAN}, "far", NULL, 0, EH_DOT};
    for (int wide = 0; wide < 2; wide++) {
        const double size = wide ? 17 : 12;
        const eh_scatter scatter = {
            .x_label = "x", .y_label = "y", .x_reference = NAN, .y_reference = NAN, .wide = wide};
        const eh_chart chart = {"made up", NULL, "", NAN, {{NULL}, {0}, 0}};
        text_place places[MOST_TEXTS];
        eh_string html = {0};
        assert_int_equal(eh_chart_scatter(&chart, &scatter, points, 8, &html), EH_OK);
        const int count = texts_of(html.bytes, "class=\"label t", size, places);
        assert_int_equal(count, 8);
        assert_apart(places, count, size, wide ? 620 : 380);
        eh_string_deinit(&html);
    }
}

static void test_without_a_verdict_no_reason_is_given_for_one(void **state)
{
    (void)state;
    eh_verdict_row row = {.unit = "nats", .verdict = EH_VERDICT_EFFECTIVE, .reason = "the bias shrank by much"};
    eh_verdicts verdicts = {.rows = &row, .row_count = 1};
    eh_job job = {0};
    eh_results results = {.name = "made up"};
    for (int c = 0; c < EH_CHECK_COUNT; c++)
        verdicts.checks[c].state = EH_CHECK_PASSED, verdicts.checks[c].name = "made up";
    const eh_report_run run = {&job, &results, NULL, &verdicts, NULL};
    for (int failed = 0; failed < 2; failed++) {
        eh_string one = {0}, beside = {0};
        verdicts.any_failed = failed;
        verdicts.instrument_is_sound = !failed;
        verdicts.checks[1].state = failed ? EH_CHECK_FAILED : EH_CHECK_PASSED;
        assert_int_equal(eh_page_verdict(&run, &one), EH_OK);
        assert_int_equal(eh_page_verdicts(&run, 1, &beside), EH_OK);
        assert_true((strstr(one.bytes, "he bias shrank by much") == NULL) == failed);
        assert_true((strstr(beside.bytes, "he bias shrank by much") == NULL) == failed);
        assert_true((strstr(one.bytes, "No verdict: the instrument failed a check") != NULL) == failed);
        eh_string_deinit(&one);
        eh_string_deinit(&beside);
    }
}

static void read_published(const char *text, const char *trouble, eh_columns *published)
{
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "published.csv");
    eh_test_write_text(path, text);
    const eh_status status = eh_published_read(path, published);
    assert_int_equal(status, trouble == NULL ? EH_OK : EH_INPUT);
    if (trouble != NULL)
        assert_non_null(strstr(eh_error_message(), trouble));
    eh_test_folder_remove(&folder);
}

static void test_published_figures_are_drawn_on_the_charts_of_their_figure(void **state)
{
    (void)state;
    eh_columns published;
    read_published(
        "label,figure,value,source\nA & B,x/SS,61.93,a paper\nother,x/LM,91.11,a paper\nlater,x/SS,61.90,it\n", NULL,
        &published);
    const eh_chart_lines lines = eh_published_lines(&published, "x/SS");
    assert_int_equal(lines.count, 2);
    assert_int_equal(eh_published_lines(NULL, "x/SS").count, 0);
    assert_true(lines.values[0] == 61.93 && lines.values[1] == 61.90);
    const eh_chart chart = {"made up", "Caption.", "%", 50, lines};
    const eh_slope slope = {"s", {70, {NAN, NAN}}, {60, {NAN, NAN}}};
    const eh_mark mark = {55, {NAN, NAN}};
    const eh_bar_group group = {"g", &mark};
    const char *const series[] = {"s"};
    for (int bars = 0; bars < 2; bars++) {
        eh_string html = {0};
        assert_int_equal(bars ? eh_chart_bars(&chart, series, 1, &group, 1, &html)
                              : eh_chart_slopes(&chart, &slope, 1, &html),
                         EH_OK);
        int count = 0;
        for (const char *at = html.bytes; (at = strstr(at, "class=\"reference\"")) != NULL; at++) count++;
        assert_int_equal(count, bars ? 2 : 3); // slopes draw 50, too
        assert_non_null(strstr(html.bytes, "Published elsewhere, <b>a</b>: A &amp; B 61.93; <b>b</b>: later 61.90.<"));
        text_place places[MOST_TEXTS];
        assert_apart(places, texts_of(html.bytes, "class=\"tick", 11, places), 9, 380);
        eh_string_deinit(&html);
    }
    eh_columns_deinit(&published);
    read_published("label,figure,value\na,b,1\n", "no column 'source'", &published);
    read_published("label,figure,value,source\na,b,1,c\na,b,much,c\n", "published.csv:3: the value is no number",
                   &published);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_names_in_a_legend_stay_apart_and_inside),
        cmocka_unit_test(test_labels_of_points_on_one_spot_stay_apart),
        cmocka_unit_test(test_published_figures_are_drawn_on_the_charts_of_their_figure),
        cmocka_unit_test(test_without_a_verdict_no_reason_is_given_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
