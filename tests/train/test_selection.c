// Which weights are kept and when a training ends early, on trajectories written by hand; and the loss scale of fp16.
#include "train/selection.h"

#include <math.h>

#include "support/cmocka.h"
#include "train/loss_scale.h"

typedef struct {
    double loss, general;
    bool kept;
} measurement;

static eh_job job_of(eh_select select, int64_t patience)
{
    return (eh_job){.switches.select = select, .train = {.patience = patience, .capability_floor = 0.1}};
}

static eh_selection follow(const eh_job *job, const measurement *measured, int count, int *ended)
{
    eh_selection selection = EH_NO_SELECTION;
    *ended = -1;
    for (int i = 0; i < count; i++) {
        assert_int_equal(eh_selection_take(&selection, job, 10 * i, measured[i].loss, measured[i].general),
                         measured[i].kept);
        if (*ended < 0 && eh_selection_has_ended(&selection, job))
            *ended = i;
    }
    return selection;
}

static void test_best_held_out_loss(void **state)
{
    (void)state;
    const eh_job job = job_of(EH_SELECT_HELDOUT, 2);
    const measurement measured[] = {{3, 1, true},   {2, 5, true},    {2, 5, false},
                                    {1.5, 9, true}, {1.6, 1, false}, {1.7, 1, false}};
    int ended;
    const eh_selection selection = follow(&job, measured, 6, &ended);
    assert_true(selection.best_loss == 1.5 && selection.best_step == 30);
    assert_int_equal(ended, 5); // the second in a row without a better one
}

static void test_capability_bounds_the_choice(void **state)
{
    (void)state;
    const eh_job job = job_of(EH_SELECT_TASK_AND_CAPABILITY, 3);
    const measurement measured[] = {{3, 1, true},      {2, 1.1, true},    {1, 1.11, false},
                                    {0.5, NAN, false}, {1.9, 1.05, true}, {1.95, 0.5, false}};
    int ended;
    const eh_selection selection = follow(&job, measured, 6, &ended);
    assert_true(selection.best_loss == 1.9 && selection.best_step == 40 && selection.start_general == 1);
    assert_int_equal(ended, -1);
}

static void test_nothing_measured_is_nothing_chosen(void **state)
{
    (void)state;
    const eh_job job = job_of(EH_SELECT_HELDOUT, 0);
    const measurement measured[] = {{NAN, 1, false}, {NAN, 1, false}};
    int ended;
    assert_true(isnan(follow(&job, measured, 2, &ended).best_loss));
    assert_int_equal(ended, -1); // patience 0: never
}

static void test_loss_scale(void **state)
{
    (void)state;
    eh_loss_scale scale = eh_loss_scale_begin(true, 70000);
    assert_true(scale.scale == 65536); // a power of two
    assert_true(eh_loss_scale_take(&scale, false) && scale.scale == 32768 && scale.skipped_count == 1);
    for (int i = 0; i < EH_LOSS_SCALE_PATIENCE - 1; i++) assert_true(eh_loss_scale_take(&scale, true));
    assert_true(scale.scale == 32768);
    assert_true(eh_loss_scale_take(&scale, true) && scale.scale == 65536);
    for (int i = 0; i < 16; i++) assert_true(eh_loss_scale_take(&scale, false));
    assert_true(scale.scale == 1);
    assert_false(eh_loss_scale_take(&scale, false)); // not an overflow
    eh_loss_scale off = eh_loss_scale_begin(false, 65536);
    assert_true(off.scale == 1 && eh_loss_scale_take(&off, true));
    assert_false(eh_loss_scale_take(&off, false)); // the run stops
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_held_out_loss),
        cmocka_unit_test(test_capability_bounds_the_choice),
        cmocka_unit_test(test_nothing_measured_is_nothing_chosen),
        cmocka_unit_test(test_loss_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
