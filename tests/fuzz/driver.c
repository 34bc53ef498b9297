// In place of libFuzzer where there is no clang: mutates the files of a folder without looking at what they reach.
// Takes libFuzzer's -runs=N, -seed=N and -max_len=N and the folder; prints what its statistics would.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEDS_MOST = 64, BYTES_MOST = 1 << 16 };
static struct {
    uint8_t *bytes;
    size_t size;
} seeds[SEEDS_MOST];
static size_t seed_count;
static uint64_t state = 1;

static uint64_t draw(uint64_t bound) // xorshift64*
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return bound == 0 ? 0 : (state * 2685821657736338717u >> 16) % bound;
}

static void read_seeds(const char *folder)
{
    struct dirent **names;
    const int count = scandir(folder, &names, NULL, alphasort); // sorted: the same order everywhere
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        FILE *file = names[i]->d_name[0] == '.' || seed_count == SEEDS_MOST ? NULL : fopen(path, "rb");
        if (file != NULL) {
            seeds[seed_count].bytes = malloc(BYTES_MOST);
            seeds[seed_count].size = fread(seeds[seed_count].bytes, 1, BYTES_MOST, file);
            seed_count++;
            fclose(file);
        }
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

// One change of `size` bytes, of which there may be `most`; the new size.
static size_t mutate(uint8_t *bytes, size_t size, size_t most)
{
    static const char *const words[] = {"0",  "-1",  "4294967296", "9223372036854775807", "1e309", "null", "[]",
                                        "{}", "../", "\""};
    const size_t at = draw(size + 1), rest = size - at, length = 1 + draw(8);
    switch (draw(7)) {
    case 0: // a bit
        if (rest > 0)
            bytes[at] ^= (uint8_t)(1u << draw(8));
        return size;
    case 1: // some bytes
        for (size_t i = 0; i < length && i < rest; i++) bytes[at + i] = (uint8_t)draw(256);
        return size;
    case 2: // all ones or zeros
        memset(bytes + at, draw(2) == 0 ? 0 : 0xff, length < rest ? length : rest);
        return size;
    case 3: { // gone
        const size_t gone = draw(rest + 1);
        memmove(bytes + at, bytes + at + gone, rest - gone);
        return size - gone;
    }
    case 4: { // a piece of another seed
        const size_t s = draw(seed_count), from = draw(seeds[s].size), count = draw(seeds[s].size - from);
        if (size + count > most)
            return size;
        memmove(bytes + at + count, bytes + at, rest);
        memcpy(bytes + at, seeds[s].bytes + from, count);
        return size + count;
    }
    case 5: { // a word in front of the rest
        const char *word = words[draw(sizeof words / sizeof *words)];
        if (size + strlen(word) > most)
            return size;
        memmove(bytes + at + strlen(word), bytes + at, rest);
        memcpy(bytes + at, word, strlen(word));
        return size + strlen(word);
    }
    default: // a number's digits become another's
        for (size_t i = at; i < size; i++)
            if (bytes[i] >= '0' && bytes[i] <= '9') {
                bytes[i] = (uint8_t)('0' + draw(10));
                break;
            }
        return size;
    }
}

int main(int argc, char **argv)
{
    unsigned long long runs = 1000, most = 4096, seed = 1;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            read_seeds(argv[i]);
        sscanf(argv[i], "-runs=%llu", &runs);
        sscanf(argv[i], "-seed=%llu", &seed);
        sscanf(argv[i], "-max_len=%llu", &most);
    }
    most = most > BYTES_MOST ? BYTES_MOST : most;
    if (seed_count == 0 || most == 0)
        return 1;
    for (unsigned long long run = 0; run < runs; run++) {
        state = seed * 0x9E3779B97F4A7C15u + run + 1;
        const size_t s = run < seed_count ? run : draw(seed_count);
        size_t size = seeds[s].size < most ? seeds[s].size : most;
        uint8_t *bytes = malloc(most);
        memcpy(bytes, seeds[s].bytes, size);
        for (uint64_t changes = run < seed_count ? 0 : 1 + draw(6); changes > 0; changes--)
            size = mutate(bytes, size, most);
        uint8_t *exact = malloc(size + 1); // a read behind the end is seen
        uint8_t *input = realloc(exact, size == 0 ? 1 : size);
        memcpy(input, bytes, size);
        free(bytes);
        alarm(20); // an input that takes longer is a failure
        LLVMFuzzerTestOneInput(input, size);
        free(input);
    }
    printf("stat::number_of_executed_units: %llu\n", runs);
    return 0;
}
