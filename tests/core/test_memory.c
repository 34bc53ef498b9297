// What a program is told of its own memory.
#include "core/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/cmocka.h"

enum { MANY = 200 << 20 };

static const char *program;

// A process that has held much and then becomes another program, as a launcher does: what it held is not the other's.
static void test_peak_is_of_this_program(void **state)
{
    (void)state;
    int ends[2], code = -1;
    char told[64] = "";
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        void *much = NULL; // from eh_map, so that the compiler keeps the writing
        if (eh_map(MANY, "a test", &much) != EH_OK)
            _exit(1);
        memset(much, 1, MANY);
        dup2(ends[1], STDOUT_FILENO);
        execl(program, program, "tell", (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    FILE *answer = fdopen(ends[0], "rb");
    assert_non_null(answer);
    assert_non_null(fgets(told, sizeof told, answer));
    fclose(answer);
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
    const size_t peak = strtoull(told, NULL, 10);
    assert_true(peak > 0);
    if (getenv("EVENHAND_SANITIZED") == NULL)
        assert_true(peak < MANY / 2);
}

static void test_peak_grows(void **state)
{
    (void)state;
    void *block = NULL;
    const size_t before = eh_peak_resident_bytes();
    assert_int_equal(eh_map(MANY, "a test", &block), EH_OK);
    memset(block, 1, MANY);
    assert_true(eh_peak_resident_bytes() >= before + MANY / 2);
    eh_unmap(&block, MANY);
    assert_true(eh_peak_resident_bytes() >= before + MANY / 2);
    assert_true(eh_resident_bytes() < before + MANY / 2);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "tell") == 0)
        return printf("%zu\n", eh_peak_resident_bytes()) > 0 ? 0 : 1;
    program = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peak_is_of_this_program),
        cmocka_unit_test(test_peak_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
