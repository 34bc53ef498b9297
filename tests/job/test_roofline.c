// The roofline of a step (src/job/README.md) on a case that was computed by hand.
#include "job/roofline.h"

#include "support/close.h"
#include "support/cmocka.h"

static const eh_roofline_device round_numbers = {.half_tflops = 100,
                                                 .single_tflops = 10,
                                                 .gigabytes_per_second = 1000,
                                                 .node_gigabytes_per_second = 10,
                                                 .cluster_gigabytes_per_second = 2,
                                                 .host_gigabytes_per_second = 4,
                                                 .product_share = 0.5,
                                                 .kernel_share = 1};
// 10 sequences of 100 tokens: 50.5 keys a token, 50,500 pairs.
static const eh_roofline_step small = {.tokens = 1000,
                                       .labels = 50,
                                       .sequences = 10,
                                       .matrix_count = 1e6,
                                       .trained_matrix_count = 1e6,
                                       .weight_count = 1.2e6,
                                       .trained_count = 1.2e6,
                                       .vocab_size = 1000,
                                       .hidden_size = 100,
                                       .layer_count = 2,
                                       .micro_batches = 1,
                                       .element_bytes = 2,
                                       .ranks = 1,
                                       .ranks_of_node = 8};

static void assert_near(double found, double expected)
{
    assert_close(found, expected, 1e-9 * expected);
}

static void test_parts_by_hand(void **state)
{
    (void)state;
    eh_roofline r;
    eh_roofline_of(&round_numbers, &small, &r);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].flops, 6e9);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].bytes, 8e6);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].seconds, 1.2e-4);   // by arithmetic: 6e9 / 5e13
    assert_near(r.parts[EH_ROOFLINE_ATTENTION].flops, 1.414e8);   // 14 x 50,500 x 100 x 2
    assert_near(r.parts[EH_ROOFLINE_ATTENTION].seconds, 4.8e-6);  // by memory: 12 x 1000 x 100 x 2 x 2 bytes
    assert_near(r.parts[EH_ROOFLINE_OUTPUT].seconds, 1e-6);       // by memory: 100,000 x 10 bytes
    assert_near(r.parts[EH_ROOFLINE_POINTWISE].seconds, 1.96e-5); // 49 x 1000 x 100 x 2 x 2 bytes
    assert_near(r.parts[EH_ROOFLINE_OPTIMISER].seconds, 3.6e-5);  // 1.2e6 x 30 bytes
    assert_near(r.seconds, 1.814e-4);
    assert_near(r.utilisation, 6.1512e9 / 1.814e10);
    assert_true(r.communication_bytes == 0 && r.exposed_seconds == 0);
}

static void test_recomputation_and_fp32(void **state)
{
    (void)state;
    eh_roofline_step step = small;
    eh_roofline r;
    step.recompute = true;
    step.element_bytes = 4;
    step.micro_batches = 3;
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].seconds, 8e9 / 5e12);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].bytes,
                3e6 * 12 + 1e6 * 20); // gradients: written, then twice read and written
    assert_near(r.parts[EH_ROOFLINE_POINTWISE].bytes, 65.0 * 1000 * 100 * 4 * 2);
    assert_near(r.parts[EH_ROOFLINE_OPTIMISER].bytes, 1.2e6 * 28);
}

// Where a quarter of the matrices learns, the others get no gradients.
static void test_what_is_frozen(void **state)
{
    (void)state;
    eh_roofline_step step = small;
    eh_roofline r;
    step.trained_matrix_count = 0.25e6;
    step.trained_count = 0.3e6;
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].flops, 4.5e9);
    assert_near(r.parts[EH_ROOFLINE_PRODUCTS].bytes, 5e6);
    assert_near(r.parts[EH_ROOFLINE_OPTIMISER].bytes, 0.3e6 * 30);
    assert_near(r.utilisation, (4.5e9 + 3e7 + 1.212e8) / (1e14 * r.seconds));
    step.ranks = 2;
    step.zero = 3;
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.communication_bytes, 0.6e6 + 2.4e6); // gradients 1/2 x 4 x 0.3e6, all weights 2 x 1/2 x 2 x 1.2e6
}

static void test_communication_by_hand(void **state)
{
    (void)state;
    eh_roofline_step step = small;
    eh_roofline r;
    step.ranks = 2;
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.communication_bytes, 4.8e6);                 // 2 x 1/2 x 4 x 1.2e6
    assert_near(r.communication_seconds, 4.8e-4);              // at 10 GB/s
    assert_near(r.exposed_seconds, 4.8e-4 - 1.454e-4 * 2 / 3); // 2/3 of 1.814e-4 - 3.6e-5 hides
    assert_near(r.seconds, 1.814e-4 + 4.8e-4 - 1.454e-4 * 2 / 3);
    step.ranks_of_node = 1; // over the network
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.communication_seconds, 2.4e-3);
    step.ranks_of_node = 2;
    step.through_host = true;
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.communication_bytes, 9.6e6);
    assert_near(r.communication_seconds, 2.4e-3);
    step.through_host = false;
    step.zero = 3;
    step.micro_batches = 2;
    eh_roofline_of(&round_numbers, &step, &r);
    assert_near(r.communication_bytes, 4.8e6 + 4.8e6); // gradients 1/2 x 4 W 2, weights 2 x 1/2 x 2 W 2
    assert_near(r.parts[EH_ROOFLINE_OPTIMISER].bytes, 0.6e6 * 30);
    // What hides behind the backward pass still leaves its last bucket.
    eh_roofline_device fast = round_numbers;
    fast.node_gigabytes_per_second = 1e4;
    eh_roofline_of(&fast, &step, &r);
    assert_near(r.exposed_seconds, r.communication_seconds / 16);
}

static void test_published_devices(void **state)
{
    (void)state;
    static const char *const names[] = {"t4", "v100", "a100", "h100", "h200"};
    double slower = 1e9;
    for (int i = 0; i < 5; i++) {
        const eh_roofline_device *device = eh_roofline_find(names[i]);
        eh_roofline r;
        assert_non_null(device);
        eh_roofline_of(device, &small, &r);
        assert_true(r.seconds > 0 && r.seconds < slower && r.utilisation > 0 && r.utilisation < device->product_share);
        slower = r.seconds;
    }
    assert_null(eh_roofline_find("tpu"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_by_hand),     cmocka_unit_test(test_recomputation_and_fp32),
        cmocka_unit_test(test_what_is_frozen),    cmocka_unit_test(test_communication_by_hand),
        cmocka_unit_test(test_published_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
