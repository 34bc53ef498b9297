// Digests, random numbers and 16-bit floats against published values and by exhaustion.
#include <math.h>
#include <string.h>

#include "core/half.h"
#include "core/memory.h"
#include "core/philox.h"
#include "core/sha256.h"
#include "support/close.h"
#include "support/cmocka.h"

static void test_sha256_gives_the_standards_examples(void **state)
{
    (void)state;
    char text[EH_SHA256_TEXT];
    eh_sha256_text("", 0, text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    eh_sha256_text(two_blocks, strlen(two_blocks), text);
    assert_string_equal(text, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_sha256_does_not_depend_on_the_pieces(void **state)
{
    (void)state;
    char bytes[300], whole[EH_SHA256_TEXT], pieces[EH_SHA256_TEXT];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    eh_sha256_text(bytes, sizeof bytes, whole);
    for (size_t piece = 1; piece < 130; piece++) {
        eh_sha256 sha;
        uint8_t digest[EH_SHA256_BYTES];
        eh_sha256_begin(&sha);
        for (size_t at = 0; at < sizeof bytes; at += piece)
            eh_sha256_add(&sha, bytes + at, at + piece < sizeof bytes ? piece : sizeof bytes - at);
        eh_sha256_end(&sha, digest);
        eh_sha256_to_text(digest, pieces);
        assert_string_equal(pieces, whole);
    }
}

// Processors with instructions for it and others must agree; on a processor without them both ways are the plain one.
static void test_sha256_is_the_same_by_instruction_and_plainly(void **state)
{
    (void)state;
    uint8_t bytes[1000], by_instruction[EH_SHA256_BYTES], plain[EH_SHA256_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * i + 31 * i);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        eh_sha256 sha;
        eh_sha256_begin(&sha);
        eh_sha256_add(&sha, bytes, size);
        eh_sha256_end(&sha, by_instruction);
        eh_sha256_begin(&sha);
        sha.by_instruction = false;
        eh_sha256_add(&sha, bytes, size);
        eh_sha256_end(&sha, plain);
        assert_memory_equal(by_instruction, plain, sizeof plain);
    }
}

// Known answers of the authors' library (kat_vectors, philox4x32 10): counter and key all zero, and all ones.
static void test_philox_gives_the_authors_vectors(void **state)
{
    (void)state;
    const eh_philox_block zero = eh_philox(0, 0, 0, 0);
    const uint32_t expected_zero[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(zero.word, expected_zero, sizeof expected_zero);
    const eh_philox_block ones = eh_philox(UINT64_MAX, 0xffffffffu, UINT64_MAX, UINT32_MAX);
    const uint32_t expected_ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(ones.word, expected_ones, sizeof expected_ones);
}

static void test_random_numbers_have_their_moments(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    double uniform = 0, normal = 0, square = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        uniform += eh_random_uniform(7, EH_STREAM_TEST, i);
        const double x = eh_random_normal(7, EH_STREAM_TEST, i);
        normal += x;
        square += x * x;
    }
    assert_close(uniform / COUNT, 0.5, 5 / sqrt(12.0 * COUNT));
    assert_close(normal / COUNT, 0, 5 / sqrt((double)COUNT));
    assert_close(square / COUNT, 1, 5 * sqrt(2.0 / COUNT));
}

static void test_permutation_has_every_index_once(void **state)
{
    (void)state;
    int64_t order[1000];
    bool seen[1000] = {false};
    eh_random_permutation(2023, EH_STREAM_TEST, 1, 1000, order);
    int64_t unmoved = 0;
    for (int64_t i = 0; i < 1000; i++) {
        assert_in_range(order[i], 0, 999);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
        unmoved += order[i] == i;
    }
    assert_true(unmoved < 10);
}

static void test_every_fp16_and_bf16_survives_the_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float half = eh_fp16_to_float((uint16_t)bits), brain = eh_bf16_to_float((uint16_t)bits);
        if (isnan(half))
            assert_true(isnan(eh_fp16_to_float(eh_fp16_from_float(half))));
        else
            assert_int_equal(eh_fp16_from_float(half), bits);
        if (isnan(brain))
            assert_true(isnan(eh_bf16_to_float(eh_bf16_from_float(brain))));
        else
            assert_int_equal(eh_bf16_from_float(brain), bits);
    }
}

static void test_halves_round_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(eh_fp16_from_float(65519.0f), 0x7bff); // the last that is not infinite
    assert_int_equal(eh_fp16_from_float(65520.0f), 0x7c00);
    assert_int_equal(eh_fp16_from_float(1 + 0x1p-11f), 0x3c00); // half way: even
    assert_int_equal(eh_fp16_from_float(1 + 3 * 0x1p-11f), 0x3c02);
    assert_int_equal(eh_fp16_from_float(0x1p-25f), 0);
    assert_int_equal(eh_fp16_from_float(0x1.8p-25f), 1);
    assert_int_equal(eh_bf16_from_float(1 + 0x1p-8f), 0x3f80);
    assert_int_equal(eh_bf16_from_float(1 + 3 * 0x1p-8f), 0x3f82);
}

static void test_impossible_sizes_are_refused(void **state)
{
    (void)state;
    double *numbers = NULL;
    assert_int_equal(EH_ALLOC(INT64_MAX / 2, &numbers), EH_MACHINE);
    assert_null(numbers);
    assert_int_equal(EH_ALLOC(-1, &numbers), EH_MACHINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_gives_the_standards_examples),
        cmocka_unit_test(test_sha256_does_not_depend_on_the_pieces),
        cmocka_unit_test(test_sha256_is_the_same_by_instruction_and_plainly),
        cmocka_unit_test(test_philox_gives_the_authors_vectors),
        cmocka_unit_test(test_random_numbers_have_their_moments),
        cmocka_unit_test(test_permutation_has_every_index_once),
        cmocka_unit_test(test_every_fp16_and_bf16_survives_the_round_trip),
        cmocka_unit_test(test_halves_round_to_nearest_even),
        cmocka_unit_test(test_impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
