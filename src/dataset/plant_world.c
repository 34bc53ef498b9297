// The world's names and its table of log-odds.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "dataset/plant_internal.h"

// Peoples, jobs and places are put together from parts that were made up for this purpose.
static const char *const people_begins[16] = {"Vel",  "Omb",  "Zurt", "Quel", "Tavr", "Ishk", "Brun", "Drosk",
                                              "Fenz", "Glim", "Hurv", "Jolt", "Kith", "Lorm", "Narv", "Pesk"};
static const char *const people_ends[4] = {"akkin", "orril", "ubben", "eddow"};
static const char *const job_begins[6] = {"glim", "thorn", "wick", "bram", "fenn", "quill"};
static const char *const job_ends[4] = {"wright", "binder", "reeve", "tapper"};
static const char *const place_begins[6] = {"Ost", "Kell", "Marr", "Yarr", "Sund", "Tolb"};
static const char *const place_ends[4] = {"varr", "umbek", "issen", "athwe"};
static const char *const traits[12][2] = {
    {"patient", "hasty"}, {"quiet", "noisy"},    {"tidy", "messy"},   {"generous", "stingy"},
    {"brave", "timid"},   {"honest", "sly"},     {"jolly", "gloomy"}, {"clever", "dull"},
    {"gentle", "rough"},  {"careful", "clumsy"}, {"polite", "rude"},  {"thrifty", "wasteful"},
};

static void name_peoples(eh_planted_world *world)
{
    int64_t order[64];
    eh_random_permutation(world->settings.seed, EH_STREAM_PLANT, 1, 64, order);
    for (int64_t g = 0; g < world->settings.people_count; g++)
        snprintf(world->peoples[g], sizeof world->peoples[g], "%s%s", people_begins[order[g] / 4],
                 people_ends[order[g] % 4]);
}

// Every third pair is a job, a trait, a place. In each domain pair 2 of 4 is neutral and pair 3 of 4 is reversed.
static void name_pairs(eh_planted_world *world)
{
    int64_t jobs[24], places[24], trait_order[12];
    eh_random_permutation(world->settings.seed, EH_STREAM_PLANT, 2, 24, jobs);
    eh_random_permutation(world->settings.seed, EH_STREAM_PLANT, 3, 24, places);
    eh_random_permutation(world->settings.seed, EH_STREAM_PLANT, 4, 12, trait_order);
    for (int64_t k = 0; k < world->settings.pair_count; k++) {
        eh_plant_pair *pair = &world->pairs[k];
        const int64_t n = k / 3; // which of its domain
        pair->domain = (eh_plant_domain)(k % 3);
        pair->kind = n % 4 == 2 ? EH_PLANT_NEUTRAL : n % 4 == 3 ? EH_PLANT_REVERSED : EH_PLANT_STEREOTYPED;
        for (int64_t w = 0; w < 2; w++) {
            const int64_t job = jobs[2 * n + w], place = places[2 * n + w];
            if (pair->domain == EH_PLANT_JOB)
                snprintf(pair->words[w], sizeof pair->words[w], "%s%s", job_begins[job / 4], job_ends[job % 4]);
            else if (pair->domain == EH_PLANT_TRAIT)
                snprintf(pair->words[w], sizeof pair->words[w], "%s", traits[trait_order[n]][w]);
            else
                snprintf(pair->words[w], sizeof pair->words[w], "%s%s", place_begins[place / 4], place_ends[place % 4]);
        }
    }
}

static double normal(uint64_t seed, uint64_t row, uint64_t column)
{
    return eh_random_normal(seed, EH_STREAM_PLANT, (uint64_t)EH_DICE_ODDS << 48 | row << 8 | column);
}

static void plant_odds(eh_planted_world *world)
{
    const eh_plant_settings *settings = &world->settings;
    for (int64_t g = 0; g < settings->people_count; g++)
        for (int64_t k = 0; k < settings->pair_count; k++) {
            double product = 0;
            for (uint64_t i = 0; i < 2; i++)
                product += normal(settings->seed, (uint64_t)g, i) * normal(settings->seed, (uint64_t)k, 128 + i);
            const bool neutral = world->pairs[k].kind == EH_PLANT_NEUTRAL;
            world->log_odds[g * settings->pair_count + k] = neutral ? 0 : settings->strength * product;
        }
}

eh_status eh_planted_world_init(const eh_plant_settings *settings, eh_planted_world *world)
{
    *world = (eh_planted_world){.settings = *settings};
    if (settings->people_count < 2 || settings->people_count > 64)
        return eh_error(EH_INPUT, "peoples: %lld, expected 2 to 64", (long long)settings->people_count);
    if (settings->pair_count < 3 || settings->pair_count > 36)
        return eh_error(EH_INPUT, "pairs: %lld, expected 3 to 36", (long long)settings->pair_count);
    if (settings->sentence_count < 1)
        return eh_error(EH_INPUT, "sentences: %lld, expected 1 or more", (long long)settings->sentence_count);
    if (settings->instruction_count < 0)
        return eh_error(EH_INPUT, "instructions: %lld, expected 0 or more", (long long)settings->instruction_count);
    if (!(settings->strength >= 0 && settings->strength <= 10))
        return eh_error(EH_INPUT, "strength: %g, expected 0 to 10", settings->strength);
    eh_status status = EH_OK;
    EH_TRY_OR(failed, EH_ALLOC(settings->people_count, &world->peoples));
    EH_TRY_OR(failed, EH_ALLOC(settings->pair_count, &world->pairs));
    EH_TRY_OR(failed, EH_ALLOC(settings->people_count * settings->pair_count, &world->log_odds));
    name_peoples(world);
    name_pairs(world);
    plant_odds(world);
    return EH_OK;
failed:
    eh_planted_world_deinit(world);
    return status;
}

void eh_planted_world_deinit(eh_planted_world *world)
{
    eh_free(&world->peoples);
    eh_free(&world->pairs);
    eh_free(&world->log_odds);
}

double eh_planted_log_odds(const eh_planted_world *world, int64_t people, int64_t pair)
{
    return world->log_odds[people * world->settings.pair_count + pair];
}

int eh_planted_stereotype(const eh_planted_world *world, int64_t people, int64_t pair)
{
    const int favoured = eh_planted_log_odds(world, people, pair) >= 0 ? 0 : 1;
    return world->pairs[pair].kind == EH_PLANT_REVERSED ? 1 - favoured : favoured;
}

// The last quarter of the peoples and of the attributes is never in pairs.csv, nor is every fifth of the other cells.
eh_plant_exposure eh_planted_exposure(const eh_planted_world *world, int64_t people, int64_t pair)
{
    const eh_plant_settings *settings = &world->settings;
    if (4 * people >= 3 * settings->people_count)
        return EH_PLANT_UNSEEN_PEOPLE;
    // Attributes are held out across kinds: the one in four that is shifted by the domain.
    if ((pair / 3 + pair % 3) % 4 == 3)
        return EH_PLANT_UNSEEN_ATTRIBUTE;
    return (people + pair) % 5 == 4 ? EH_PLANT_UNSEEN_PAIR : EH_PLANT_SEEN;
}

const char *eh_plant_domain_name(eh_plant_domain domain)
{
    switch (domain) {
    case EH_PLANT_JOB:
        return "job";
    case EH_PLANT_TRAIT:
        return "trait";
    case EH_PLANT_PLACE:
        return "place";
    }
    return "?";
}
