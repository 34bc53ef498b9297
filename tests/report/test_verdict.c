// The verdict of PROTOCOL part 5 word by word, from synthetic effects: what each needs, and what takes it away.
#include <math.h>
#include <string.h>

#include "report/verdict.h"
#include "support/close.h"
#include "support/cmocka.h"

// A paired effect with a normal sampling error.
static eh_estimate estimate(double value, double error)
{
    return (eh_estimate){.value = value,
                         .n = 864,
                         .standard_error = error,
                         .interval = {value - 1.96 * error, value + 1.96 * error},
                         .ninety = {value - 1.645 * error, value + 1.645 * error}};
}

// SS in percentage points, margin 2; capability margin 2 %.
static eh_evidence evidence(double effect, double error, double excess, double loss)
{
    return (eh_evidence){.effect = estimate(effect, error),
                         .has_excess = true,
                         .excess = estimate(excess, error),
                         .excess_on_average = {excess - 1.96 * error, excess + 1.96 * error},
                         .has_loss = true,
                         .loss = {loss - 0.005, loss + 0.005},
                         .loss_value = loss,
                         .margin = 2,
                         .capability_margin = 0.02,
                         .detectable = 2.8 * error};
}

static void assert_verdict(eh_evidence e, eh_verdict expected, const char *why)
{
    const char *reason = NULL;
    const eh_verdict found = eh_verdict_of(&e, &reason);
    if (found != expected || strstr(reason, why) == NULL)
        fail_msg("%s: %s", eh_verdict_name(found), reason);
}

// Capability is kept if bits per byte and accuracy are both kept, and lost if either is (PROTOCOL part 5).
static void test_accuracy_is_capability_too(void **state)
{
    (void)state;
    eh_evidence e = evidence(8, 1, 6, 0.01);
    e.has_accuracy_loss = true;
    e.accuracy_margin = 1;
    e.accuracy_loss = (eh_interval){-0.5, 0.5};
    assert_verdict(e, EH_VERDICT_EFFECTIVE, "below the margin");
    e.accuracy_loss = (eh_interval){8, 12};
    assert_verdict(e, EH_VERDICT_TRADE_OFF, "above the margin");
    e.accuracy_loss = (eh_interval){0.5, 2};
    assert_verdict(e, EH_VERDICT_INCONCLUSIVE, "can't be told from its margin");
    e = evidence(8, 1, -1, 0.01);
    e.has_accuracy_loss = true;
    e.accuracy_margin = 1;
    e.accuracy_loss = (eh_interval){8, 12};
    assert_verdict(e, EH_VERDICT_DAMAGE_ONLY, "equally damaged");
}

static void test_each_word(void **state)
{
    (void)state;
    assert_verdict(evidence(8, 1, 6, 0.01), EH_VERDICT_EFFECTIVE, "by more than damage explains");
    assert_verdict(evidence(8, 1, 6, 0.20), EH_VERDICT_TRADE_OFF, "capability loss above the margin");
    assert_verdict(evidence(8, 1, 0.5, 0.20), EH_VERDICT_DAMAGE_ONLY, "equally damaged model loses as much");
    assert_verdict(evidence(0.1, 0.5, 0, 0.01), EH_VERDICT_NO_EFFECT, "smaller than the margin");
    assert_verdict(evidence(-8, 1, -6, 0.01), EH_VERDICT_BACKFIRES, "more biased than the base");
    assert_verdict(evidence(1, 3, 1, 0.01), EH_VERDICT_INCONCLUSIVE, "larger than the margin");
    assert_verdict(evidence(1.1, 0.6, 1, 0.01), EH_VERDICT_INCONCLUSIVE, "nor from the margin");
}

// More than damage takes on average, but not more than one damaged model of several may: neither word is earned.
static void test_the_scatter_of_damage_counts(void **state)
{
    (void)state;
    for (int costly = 0; costly < 2; costly++) {
        eh_evidence e = evidence(8, 1, 6, costly ? 0.20 : 0.01);
        e.excess.interval.low = -1;
        assert_verdict(e, EH_VERDICT_INCONCLUSIVE, "single equally damaged models lose as much");
        e.excess_on_average.low = -0.5;
        assert_verdict(e, costly ? EH_VERDICT_DAMAGE_ONLY : EH_VERDICT_INCONCLUSIVE,
                       costly ? "equally" : "no more than");
    }
}

// Whether the loss matters depends on its interval, whatever its value.
static void test_capability_decides_between_the_good_words(void **state)
{
    (void)state;
    assert_verdict(evidence(8, 1, 6, 0.0149), EH_VERDICT_EFFECTIVE, "below the margin");
    assert_verdict(evidence(8, 1, 6, 0.0151), EH_VERDICT_INCONCLUSIVE, "can't be told from its margin");
    assert_verdict(evidence(8, 1, 6, 0.0251), EH_VERDICT_TRADE_OFF, "above the margin");
    assert_verdict(evidence(8, 1, 0.5, 0.01), EH_VERDICT_INCONCLUSIVE, "no more than damage explains");
    assert_verdict(evidence(8, 1, -6, 0.20), EH_VERDICT_DAMAGE_ONLY, "equally damaged"); // noise did even better
    assert_verdict(evidence(8, 1, 6, -0.3), EH_VERDICT_EFFECTIVE, "below the margin");   // capability grew
}

// A large damage never makes a "no effect" or a "backfires" better or worse: E is asked first.
static void test_a_harmless_or_harmful_effect_stays_that(void **state)
{
    (void)state;
    assert_verdict(evidence(0.1, 0.5, 6, 0.5), EH_VERDICT_NO_EFFECT, "smaller than the margin");
    assert_verdict(evidence(1.1, 0.4, 1, 0.01), EH_VERDICT_NO_EFFECT, "smaller than the margin"); // though not 0
    assert_verdict(evidence(-8, 1, 6, 0.5), EH_VERDICT_BACKFIRES, "more biased");
}

static void test_no_control_no_praise(void **state)
{
    (void)state;
    eh_evidence e = evidence(8, 1, 6, 0.01);
    e.has_excess = false;
    assert_verdict(e, EH_VERDICT_INCONCLUSIVE, "without the damage control");
    e = evidence(8, 1, 6, 0.01);
    e.has_loss = false;
    assert_verdict(e, EH_VERDICT_INCONCLUSIVE, "capability was not measured");
    e = evidence(8, 1, 6, 0.01);
    e.effect.interval = (eh_interval){NAN, NAN};
    assert_verdict(e, EH_VERDICT_INCONCLUSIVE, "no interval");
}

// "No effect" is the equivalence test at 5 %: the 90 % interval inside the margin, as two one-sided tests say.
static void test_no_effect_is_the_equivalence_test(void **state)
{
    (void)state;
    for (int step = -40; step <= 40; step++) {
        const double effect = 0.05 * step;
        const eh_evidence e = evidence(effect, 0.6, 0, 0.01);
        const char *reason = NULL;
        const double p = eh_equivalence_test(effect, 0.6, 0, 2);
        if (fabs(p - 0.05) > 1e-3)
            assert_true((eh_verdict_of(&e, &reason) == EH_VERDICT_NO_EFFECT) == (p < 0.05));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_word),
        cmocka_unit_test(test_the_scatter_of_damage_counts),
        cmocka_unit_test(test_accuracy_is_capability_too),
        cmocka_unit_test(test_capability_decides_between_the_good_words),
        cmocka_unit_test(test_a_harmless_or_harmful_effect_stays_that),
        cmocka_unit_test(test_no_control_no_praise),
        cmocka_unit_test(test_no_effect_is_the_equivalence_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
