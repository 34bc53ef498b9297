// The page's colours, light and dark: contrast by WCAG 2.1 (relative luminance), from the style sheet itself.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/page.h"
#include "support/cmocka.h"

typedef struct {
    double r, g, b; // 0..1, sRGB
} colour;

// The colour of a variable in the theme that begins at `theme`; one that the theme does not set is an error.
static colour colour_of(const char *theme, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "--%s:#", name);
    const char *at = strstr(theme, key), *end = strchr(theme, '}');
    assert_non_null(at);
    assert_true(at < end);
    at += strlen(key);
    char digits[7] = "";
    const bool is_short = strspn(at, "0123456789abcdef") == 3;
    for (int i = 0; i < 6; i++) digits[i] = is_short ? at[i / 2] : at[i];
    const unsigned long value = strtoul(digits, NULL, 16);
    return (colour){(double)(value >> 16) / 255, (double)(value >> 8 & 255) / 255, (double)(value & 255) / 255};
}

static double linear(double channel)
{
    return channel <= 0.04045 ? channel / 12.92 : pow((channel + 0.055) / 1.055, 2.4);
}

static double contrast(colour a, colour b)
{
    const double x = 0.2126 * linear(a.r) + 0.7152 * linear(a.g) + 0.0722 * linear(a.b) + 0.05;
    const double y = 0.2126 * linear(b.r) + 0.7152 * linear(b.g) + 0.0722 * linear(b.b) + 0.05;
    return fmax(x, y) / fmin(x, y);
}

// color-mix(in srgb, top share, bottom).
static colour mix(colour top, double share, colour bottom)
{
    return (colour){share * top.r + (1 - share) * bottom.r, share * top.g + (1 - share) * bottom.g,
                    share * top.b + (1 - share) * bottom.b};
}

static void check(const char *theme, const char *what, colour text, colour ground, double least)
{
    const double ratio = contrast(text, ground);
    if (!(ratio >= least))
        fprintf(stderr, "%s, %s: contrast %.2f, at least %.1f is asked for\n", theme, what, ratio, least);
    assert_true(ratio >= least);
}

static void check_theme(const char *name, const char *theme)
{
    static const char *const texts[] = {"ink", "soft", "blue", "orange", "green", "purple", "gold", "grey"};
    static const char *const grounds[] = {"card", "ground"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (int g = 0; g < 2; g++) {
            char what[64];
            snprintf(what, sizeof what, "%s on %s", texts[t], grounds[g]);
            check(name, what, colour_of(theme, texts[t]), colour_of(theme, grounds[g]), 4.5);
        }
    static const char *const tints[] = {"green", "orange", "blue"};
    for (int t = 0; t < 3; t++)
        check(name, tints[t], colour_of(theme, "ink"), mix(colour_of(theme, tints[t]), 0.26, colour_of(theme, "card")),
              4.5);
}

static void test_every_text_can_be_read_in_both_themes(void **state)
{
    (void)state;
    const char *light = strstr(eh_page_style, ":root{"),
               *dark = strstr(eh_page_style, "prefers-color-scheme:dark){:root{");
    assert_non_null(light);
    assert_non_null(dark);
    check_theme("light", light);
    check_theme("dark", strstr(dark, ":root{"));
}

// Known ratios: black on white is 21, #767676 on white just passes 4.5, #777777 does not.
static void test_the_ratio_is_wcags(void **state)
{
    (void)state;
    const colour white = {1, 1, 1}, black = {0, 0, 0};
    assert_true(fabs(contrast(white, black) - 21) < 1e-9);
    const double pass = 0x76 / 255.0, fail = 0x77 / 255.0;
    assert_true(contrast((colour){pass, pass, pass}, white) >= 4.5);
    assert_true(contrast((colour){fail, fail, fail}, white) < 4.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_text_can_be_read_in_both_themes),
                                       cmocka_unit_test(test_the_ratio_is_wcags)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
