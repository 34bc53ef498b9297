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

// What torch.save({'a': torch.arange(6.).reshape(2, 3)}) writes in the older format; its storage is called s.
static const char older[] =
    "\200\002\212\012l\374\234F\371 j\250P\031.\200\002M\351\003.\200\002\175.\200\002\175q\000X\001\000\000"
    "\000aq\001ctorch._utils\012_rebuild_tensor_v2\012q\002\050\050X\007\000\000\000storageq\003ctorc"
    "h\012FloatStorage\012q\004X\001\000\000\000sq\005X\003\000\000\000cpuq\006K\006Ntq\007QK\000K"
    "\002K\003\206q\010K\003K\001\206q\011\211ccollections\012OrderedDict\012q\012\051Rq\013tq\014Rq"
    "\015s.\200\002\135q\000X\001\000\000\000sq\001a.\006\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\200\077\000\000\000\100\000\000\100\100\000\000\200\100\000\000\240\100";
enum { OLDER_SIZE = sizeof older - 1, OFFSET_AT = 137, ROWS_AT = 139, STRIDE_AT = 146, COUNT_AT = 207 };

// The file with the byte at `place` changed.
static void refuse_older(int place, uint8_t byte, const char *words)
{
    uint8_t *bytes = malloc(OLDER_SIZE); // exact, so that a sanitizer sees what reads behind it
    eh_stored_tensors list = {0};
    memcpy(bytes, older, OLDER_SIZE);
    bytes[place] = byte;
    assert_int_equal(eh_torch_file_parse("x.bin", bytes, OLDER_SIZE, 0, &list), EH_INPUT);
    if (strstr(eh_error_message(), words) == NULL || strstr(eh_error_message(), "x.bin") == NULL)
        fail_msg("expected '%s' in '%s'", words, eh_error_message());
    eh_stored_tensors_close(&list);
    free(bytes);
}

static void test_refuses_tensors_behind_their_storage(void **state)
{
    (void)state;
    eh_stored_tensors list = {0};
    float value;
    assert_int_equal(eh_torch_file_parse("x.bin", (const uint8_t *)older, OLDER_SIZE, 0, &list), EH_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.tensors[0].name, "a");
    assert_int_equal(list.tensors[0].count, 6);
    eh_stored_tensor_read(&list.tensors[0], 5, 1, &value);
    assert_true(value == 5);
    eh_stored_tensors_close(&list);
    refuse_older(ROWS_AT, 3, "tensor 'a' ends behind its storage of 24 bytes");
    refuse_older(ROWS_AT, 255, "tensor 'a' ends behind its storage of 24 bytes");
    refuse_older(OFFSET_AT, 1, "tensor 'a' ends behind its storage of 24 bytes");
    refuse_older(STRIDE_AT, 2, "tensor 'a' is not contiguous");
    refuse_older(COUNT_AT, 7, "storage 's' ends behind the file");
    refuse_older(COUNT_AT + 7, 0xff, "storage 's' ends behind the file");
    refuse_older(COUNT_AT, 5, "tensor 'a' ends behind its storage of 20 bytes");
}

// A zip file with one stored entry of 8 bytes, whose directory says these sizes and places. Zip bombs say more than
// there is, or pack it; entries here are views of the file and never grow.
static void refuse_zip(uint32_t packed, uint32_t full, uint32_t place, uint32_t directory_at, uint16_t count,
                       const char *words)
{
    uint8_t bytes[38 + 8 + 54 + 22] = {'P', 'K', 3, 4}, *directory = bytes + 46, *end = directory + 54;
    eh_stored_tensors list = {0};
    bytes[26] = 8; // name
    memcpy(bytes + 30, "data.pkl", 8);
    memcpy(directory, "PK\1\2", 4);
    memcpy(directory + 20, &packed, 4);
    memcpy(directory + 24, &full, 4);
    directory[28] = 8;
    memcpy(directory + 42, &place, 4);
    memcpy(directory + 46, "data.pkl", 8);
    memcpy(end, "PK\5\6", 4);
    memcpy(end + 10, &count, 2);
    memcpy(end + 16, &directory_at, 4);
    assert_int_equal(eh_torch_file_parse("x.bin", bytes, sizeof bytes, 0, &list), EH_INPUT);
    if (strstr(eh_error_message(), words) == NULL || strstr(eh_error_message(), "x.bin") == NULL)
        fail_msg("expected '%s' in '%s'", words, eh_error_message());
    eh_stored_tensors_close(&list);
}

static void test_refuses_zip_directories_that_lie(void **state)
{
    (void)state;
    refuse_zip(8, 4000000000u, 0, 46, 1, "'data.pkl' is compressed");
    refuse_zip(4000000000u, 4000000000u, 0, 46, 1, "'data.pkl' ends behind the file");
    refuse_zip(8, 8, 100, 46, 1, "'data.pkl' is not where the directory says");
    refuse_zip(8, 8, 0xfffffff0u, 46, 1, "'data.pkl' is not where the directory says");
    refuse_zip(8, 8, 0, 46, 2, "the zip directory is damaged");
    refuse_zip(8, 8, 0, 4000000000u, 1, "the zip directory is damaged");
    refuse_zip(8, 8, 0, 0xffffffffu, 0xffff, "the zip64 locator is missing");
    refuse_zip(8, 8, 0, 46, 1, "without data.pkl"); // it must lie in a folder
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
        cmocka_unit_test(test_refuses_tensors_behind_their_storage),
        cmocka_unit_test(test_refuses_zip_directories_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
