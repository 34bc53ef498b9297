// usage: bench_tokenizers TOKENIZER.JSON TEXT [PASSES]
// Encodes the lines of a file, one thread, and prints for each pass: bytes, tokens, seconds (the processor's). Before
// them: seconds to open, and the bytes that the process holds more for it. tokenizers_peers.py compares with the peers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static size_t resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%llu %llu", &size, &resident) != 2)
        return 0;
    fclose(file);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return NULL;
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    const bool complete = bytes != NULL && fread(bytes, 1, *size, file) == *size;
    fclose(file);
    return complete ? bytes : NULL;
}

static int64_t encode_lines(const eh_tokenizer *tokenizer, const char *text, size_t size, eh_encoding *encoding)
{
    int64_t tokens = 0;
    for (const char *line = text, *end = text + size; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop != NULL ? stop : end;
        if (eh_tokenizer_encode(tokenizer, line, (size_t)(stop - line), EH_WITHOUT_SPECIAL, encoding) != EH_OK) {
            fprintf(stderr, "%s\n", eh_error_message());
            exit(2);
        }
        tokens += encoding->count;
        line = stop + 1;
    }
    return tokens;
}

int main(int argc, char **argv)
{
    size_t size = 0;
    char *text = argc >= 3 ? read_file(argv[2], &size) : NULL;
    if (text == NULL) {
        fprintf(stderr, "usage: bench_tokenizers TOKENIZER.JSON TEXT [PASSES]\n");
        return 2;
    }
    eh_tokenizer *tokenizer = NULL;
    const size_t before = resident_bytes();
    const double begin = seconds_now();
    if (eh_tokenizer_open(argv[1], &tokenizer) != EH_OK) {
        fprintf(stderr, "%s\n", eh_error_message());
        return 2;
    }
    printf("open %.6f %zu\n", seconds_now() - begin, resident_bytes() - before);
    eh_encoding encoding = {0};
    const int passes = argc > 3 ? atoi(argv[3]) : 1;
    for (int pass = 0; pass < passes; pass++) {
        const double start = seconds_now();
        const int64_t tokens = encode_lines(tokenizer, text, size, &encoding);
        printf("pass %zu %lld %.6f\n", size, (long long)tokens, seconds_now() - start);
    }
    eh_encoding_deinit(&encoding);
    eh_tokenizer_close(&tokenizer);
    free(text);
    return 0;
}
