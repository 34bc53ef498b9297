// usage: tool_tokenizer TOKENIZER.JSON < texts > tokens
// Texts come as u32 size and bytes. For each: i32 count (-1: refused, then u32 size and message), the ids with special
// tokens, their offsets (u32 pairs), and the decoded ids without special tokens (u32 size, bytes). Native byte order.
// On stderr: seconds to open, bytes that the process grew by when it opened, seconds of encoding. Seconds are the
// processor's, since tests run beside others.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "text/tokenizer.h"

static double seconds_now(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) != 0)
        exit(3);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static long long resident_bytes(void)
{
    long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lld %lld", &size, &resident) != 2)
        exit(3);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void put(const void *bytes, size_t element_bytes, size_t count)
{
    if (count > 0 && fwrite(bytes, element_bytes, count, stdout) != count) {
        perror("tool_tokenizer");
        exit(3);
    }
}

static void put_text(const char *text, size_t size)
{
    const uint32_t size32 = (uint32_t)size;
    put(&size32, sizeof size32, 1);
    put(text, 1, size);
}

static void answer(const eh_tokenizer *tokenizer, const char *text, size_t size, eh_encoding *encoding, eh_string *out,
                   double *seconds)
{
    const double begin = seconds_now();
    const eh_status status = eh_tokenizer_encode(tokenizer, text, size, EH_WITH_SPECIAL, encoding);
    *seconds += seconds_now() - begin;
    if (status != EH_OK) {
        const int32_t refused = -1;
        put(&refused, sizeof refused, 1);
        eh_string_clear(out);
        if (eh_string_append_text(out, eh_error_message()) != EH_OK)
            exit(3);
        put_text(out->bytes, out->size);
        return;
    }
    const int32_t count = (int32_t)encoding->count;
    put(&count, sizeof count, 1);
    put(encoding->ids, sizeof *encoding->ids, (size_t)count);
    put(encoding->offsets, sizeof *encoding->offsets, (size_t)count);
    if (eh_tokenizer_decode(tokenizer, encoding->ids, encoding->count, true, out) != EH_OK)
        exit(3);
    put_text(out->bytes, out->size);
}

int main(int argc, char **argv)
{
    eh_tokenizer *tokenizer = NULL;
    eh_encoding encoding = {0};
    eh_string out = {0};
    char *text = NULL;
    uint32_t size = 0;
    double seconds = 0;
    const long long before = resident_bytes();
    const double begin = seconds_now();
    if (argc != 2 || eh_tokenizer_open(argv[1], &tokenizer) != EH_OK) {
        fprintf(stderr, "%s\n", argc == 2 ? eh_error_message() : "usage: tool_tokenizer TOKENIZER.JSON");
        return 2;
    }
    fprintf(stderr, "%.6f %lld ", seconds_now() - begin, resident_bytes() - before);
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        char *grown = realloc(text, (size_t)size + 1);
        if (grown == NULL)
            return 3;
        text = grown;
        if (fread(text, 1, size, stdin) != size)
            return 2;
        answer(tokenizer, text, size, &encoding, &out, &seconds);
    }
    fprintf(stderr, "%.6f\n", seconds);
    free(text);
    eh_string_deinit(&out);
    eh_encoding_deinit(&encoding);
    eh_tokenizer_close(&tokenizer);
    return fflush(stdout) == 0 ? 0 : 3;
}
