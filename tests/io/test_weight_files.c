// What a weight file claims is checked: each bad header is refused with a message that names file and tensor.
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/pickle.h"
#include "io/safetensors.h"
#include "support/cmocka.h"

// A file in memory: header text and `data_size` bytes of data.
static eh_status parse(const char *header, size_t data_size, eh_stored_tensors *list)
{
    const size_t size = strlen(header);
    uint8_t *bytes = calloc(8 + size + data_size, 1);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(size >> (8 * i));
    memcpy(bytes + 8, header, size);
    const eh_status status = eh_safetensors_parse("x.safetensors", bytes, 8 + size + data_size, 0, list);
    free(bytes);
    return status;
}

static void refuse(const char *header, size_t data_size, const char *words)
{
    eh_stored_tensors list = {0};
    eh_error_clear();
    assert_int_equal(parse(header, data_size, &list), EH_INPUT);
    if (strstr(eh_error_message(), words) == NULL || strstr(eh_error_message(), "x.safetensors") == NULL)
        fail_msg("expected '%s' in '%s'", words, eh_error_message());
    eh_stored_tensors_close(&list);
}

static void test_reads_names_shapes_and_places(void **state)
{
    (void)state;
    eh_stored_tensors list = {0};
    assert_int_equal(
        parse("{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":"
              "[8,20]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
              20, &list),
        EH_OK);
    assert_int_equal(eh_stored_tensors_sort(&list), EH_OK);
    assert_int_equal(list.count, 2);
    const eh_stored_tensor *b = eh_stored_tensors_find(&list, "b");
    assert_non_null(b);
    assert_int_equal(b->dtype, EH_STORED_F16);
    assert_int_equal(b->count, 6);
    assert_int_equal(b->size, 12);
    assert_null(eh_stored_tensors_find(&list, "c"));
    eh_stored_tensors_close(&list);
}

static void test_refuses_headers_that_lie(void **state)
{
    (void)state;
    refuse("[1]", 0, "not a JSON object");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
           "\"data_offsets\":[4,8]}}",
           8, "overlap");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
           "\"data_offsets\":[12,16]}}",
           16, "gap");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "tensor 'a' ends at byte 8 of 4");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "belong to none");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "tensor 'a'");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, "tensor 'a'");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "tensor 'a'");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "not a range");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}", 8, "tensor 'a'");
    refuse("{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown dtype 'F31'");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "lacks");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,8]}}", 8, "tensor 'a'");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
           "\"data_offsets\":[0,8]}}",
           8, "duplicate");
}

static void test_refuses_a_header_longer_than_the_file(void **state)
{
    (void)state;
    eh_stored_tensors list = {0};
    const uint8_t bytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    assert_int_equal(eh_safetensors_parse("x", bytes, sizeof bytes, 0, &list), EH_INPUT);
    assert_int_equal(eh_safetensors_parse("x", bytes, 4, 0, &list), EH_INPUT);
    eh_stored_tensors_close(&list);
}

// The older format's beginning, then a pickle of `size` bytes.
static void refuse_pickle(const char *pickle, size_t size, const char *words)
{
    static const uint8_t begin[] = {0x80, 2,   0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50,
                                    0x19, '.', 0x80, 2,  'M',  0xe9, 3,    '.',  0x80, 2,    '}',  '.'};
    eh_stored_tensors list = {0};
    uint8_t *bytes = calloc(sizeof begin + size + 1, 1);
    memcpy(bytes, begin, sizeof begin);
    memcpy(bytes + sizeof begin, pickle, size);
    eh_error_clear();
    assert_int_equal(eh_torch_file_parse("x.bin", bytes, sizeof begin + size, 0, &list), EH_INPUT);
    if (strstr(eh_error_message(), words) == NULL)
        fail_msg("expected '%s' in '%s'", words, eh_error_message());
    eh_stored_tensors_close(&list);
    free(bytes);
}

static void test_a_pickle_makes_tensors_and_nothing_else(void **state)
{
    (void)state;
#define PICKLE(text, words) refuse_pickle(text, sizeof text - 1, words)
    PICKLE("\x80\x02"
           "cos\nsystem\nX\x02\0\0\0id\x85R.",
           "os.system");
    PICKLE("\x80\x02"
           "cbuiltins\neval\n.",
           "builtins.eval");
    PICKLE("\x80\x02"
           "}",
           "cut off");
    PICKLE("R.", "empty stack");
    PICKLE("\x80\x02"
           "h\x05.",
           "did not remember");
    PICKLE("\x80\x02"
           "i",
           "opcode 0x69");
    PICKLE("X\xff\xff\xff\xff", "cut off");
    PICKLE("}r\xff\xff\xff\x7f.", "impossible place");
    PICKLE("u.", "mark");
#undef PICKLE
}

static void test_refuses_compressed_zip_entries(void **state)
{
    (void)state;
    uint8_t bytes[30 + 46 + 22 + 16] = {'P', 'K', 3, 4};
    uint8_t *directory = bytes + 30 + 8, *end = directory + 46 + 8;
    memcpy(directory, "PK\1\2", 4);
    directory[10] = 8; // deflate
    directory[28] = 8; // name size
    memcpy(directory + 46, "data.pkl", 8);
    memcpy(end, "PK\5\6", 4);
    end[10] = 1;
    end[16] = 38;
    eh_stored_tensors list = {0};
    assert_int_equal(eh_torch_file_parse("x.bin", bytes, sizeof bytes, 0, &list), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "'data.pkl' is compressed"));
    eh_stored_tensors_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_names_shapes_and_places),
        cmocka_unit_test(test_refuses_headers_that_lie),
        cmocka_unit_test(test_refuses_a_header_longer_than_the_file),
        cmocka_unit_test(test_a_pickle_makes_tensors_and_nothing_else),
        cmocka_unit_test(test_refuses_compressed_zip_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
