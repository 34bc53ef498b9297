// evenhand-plant: writes a planted world (dataset/plant.h), on which the meter can be checked since the truth is known.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/version.h"
#include "dataset/plant.h"

static void print_help(const eh_plant_settings *defaults)
{
    printf("usage: evenhand-plant [options] FOLDER\n\n"
           "Writes an invented world whose biases are known: corpus.txt (training text), neutral.txt (held-out text "
           "without\n"
           "peoples), pairs.csv (counter-stereotype pairs, CrowS-Pairs' format), stereoset.json (context association "
           "tests,\n"
           "StereoSet's format), instructions.jsonl (lettered questions and answers), infill.jsonl (gaps to\n"
           "fill, for encoder-decoders), facts.jsonl (questions about "
           "things),\n"
           "truth.csv (the planted log-odds) and tokenizer.json.\n\n"
           "  --seed N        world number N (default %llu)\n"
           "  --peoples N     2 to 64 (default %lld)\n"
           "  --pairs N       attribute pairs, 3 to 36 (default %lld)\n"
           "  --sentences N   lines of the corpus (default %lld)\n"
           "  --instructions N lines of instructions.jsonl (default %lld)\n"
           "  --strength X    of the planted log-odds (default %g)\n"
           "  --help, --version\n",
           (unsigned long long)defaults->seed, (long long)defaults->people_count, (long long)defaults->pair_count,
           (long long)defaults->sentence_count, (long long)defaults->instruction_count, defaults->strength);
}

static eh_status parse_number(const char *option, const char *text, double *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0)
        return eh_error(EH_INPUT, "--%s: '%s' is not a number", option, text);
    return EH_OK;
}

static eh_status parse(int argc, char **argv, eh_plant_settings *settings, const char **folder)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"peoples", required_argument, NULL, 'g'},
        {"pairs", required_argument, NULL, 'k'},
        {"sentences", required_argument, NULL, 'n'},
        {"strength", required_argument, NULL, 'x'},
        {"instructions", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int index = 0;
    double value = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, &index)) != -1;) {
        if (option == 'h') {
            print_help(settings);
            exit(0);
        }
        if (option == 'v') {
            printf("evenhand-plant %s (%s)\n", eh_version(), eh_git_revision());
            exit(0);
        }
        if (option == '?')
            return eh_error(EH_INPUT, "see evenhand-plant --help");
        EH_TRY(parse_number(options[index].name, optarg, &value));
        if (option == 's')
            settings->seed = (uint64_t)value;
        else if (option == 'g')
            settings->people_count = (int64_t)value;
        else if (option == 'k')
            settings->pair_count = (int64_t)value;
        else if (option == 'n')
            settings->sentence_count = (int64_t)value;
        else if (option == 'i')
            settings->instruction_count = (int64_t)value;
        else
            settings->strength = value;
    }
    if (argc - optind != 1)
        return eh_error(EH_INPUT, "one folder to write to is expected, see evenhand-plant --help");
    *folder = argv[optind];
    return EH_OK;
}

int main(int argc, char **argv)
{
    eh_plant_settings settings = {.seed = 2023,
                                  .people_count = 24,
                                  .pair_count = 12,
                                  .sentence_count = 160000,
                                  .instruction_count = 40000,
                                  .strength = 1.4};
    const char *folder = NULL;
    eh_planted_world world = {0};
    eh_status status = parse(argc, argv, &settings, &folder);
    if (status == EH_OK)
        status = eh_planted_world_init(&settings, &world);
    if (status == EH_OK)
        status = eh_plant_write(&world, folder);
    if (status != EH_OK)
        fprintf(stderr, "evenhand-plant: %s\n", eh_error_message());
    eh_planted_world_deinit(&world);
    return eh_exit_code(status);
}
