// Reads pairs of lines of whole numbers and writes their matching blocks, "a b count" each, one line a pair.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/matcher.h"
#include "core/memory.h"

#define MOST 4096

static int64_t read_numbers(char *line, int32_t *numbers)
{
    int64_t count = 0;
    for (char *word = strtok(line, " \n"); word != NULL && count < MOST; word = strtok(NULL, " \n"))
        numbers[count++] = (int32_t)strtol(word, NULL, 10);
    return count;
}

int main(void)
{
    static char lines[2][16 * MOST];
    static int32_t numbers[2][MOST];
    while (fgets(lines[0], sizeof lines[0], stdin) != NULL && fgets(lines[1], sizeof lines[1], stdin) != NULL) {
        const int64_t a = read_numbers(lines[0], numbers[0]), b = read_numbers(lines[1], numbers[1]);
        eh_match *matches = NULL;
        int64_t count = 0;
        if (eh_match_sequences(numbers[0], a, numbers[1], b, &matches, &count) != EH_OK)
            return 1;
        for (int64_t m = 0; m < count; m++)
            printf("%s%lld %lld %lld", m > 0 ? " " : "", (long long)matches[m].first_a, (long long)matches[m].first_b,
                   (long long)matches[m].count);
        printf("\n");
        eh_free(&matches);
    }
    return 0;
}
