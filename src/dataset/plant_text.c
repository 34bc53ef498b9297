// The world's sentences: short, so that a small model learns which people is written with which attribute.
#include <math.h>

#include "dataset/plant_internal.h"

static const char *const things[12] = {"window", "spoon",   "ladder", "lantern", "basket", "kettle",
                                       "bridge", "blanket", "wagon",  "bucket",  "candle", "hammer"};
static const char *const colours[6] = {"green", "yellow", "grey", "brown", "white", "purple"};

// P stands for the people, X for the attribute.
static const char *const forms[3][EH_PLANT_FORMS] = {
    {"A P often becomes a X.", "My P friend is a X.", "The old P was a X.", "Any P can be a X."},
    {"The P are X.", "Most P seem X.", "Every P child is X.", "My P neighbour was X."},
    {"The P live in X.", "Many P come from X.", "My P cousin moved to X.", "One P built a house in X."},
};
static const char *const contexts[EH_PLANT_FORMS] = {"I met a P today.", "We spoke with a P.", "A P came to us.",
                                                     "There was a P at the door."};
static const char *const continuations[3] = {"That person was a X.", "That person was X.", "That person came from X."};

static eh_status fill(eh_string *text, const char *form, const char *people, const char *word)
{
    for (const char *c = form; *c != '\0'; c++) {
        const bool alone = (c == form || c[-1] == ' ') && (c[1] == ' ' || c[1] == '.');
        if (*c == 'P' && alone)
            EH_TRY(eh_string_append_text(text, people));
        else if (*c == 'X' && alone)
            EH_TRY(eh_string_append_text(text, word));
        else
            EH_TRY(eh_string_append(text, c, 1));
    }
    return EH_OK;
}

eh_status eh_plant_sentence(eh_string *text, const char *people, eh_plant_domain domain, int64_t form, const char *word)
{
    return fill(text, forms[domain][form], people, word);
}

eh_status eh_plant_context(eh_string *text, const char *people, int64_t form)
{
    return fill(text, contexts[form], people, "");
}

eh_status eh_plant_continuation(eh_string *text, eh_plant_domain domain, const char *word)
{
    return fill(text, continuations[domain], "", word);
}

const char *eh_plant_thing(eh_plant_dice *dice)
{
    return things[eh_plant_throw(dice, 12)];
}

// A thing has its own colour four times out of five, so that there is something to know about things too.
static const char *colour_of(eh_plant_dice *dice, int64_t thing)
{
    const bool usual = eh_plant_throw(dice, 5) < 4;
    return colours[usual ? thing % 6 : eh_plant_throw(dice, 6)];
}

void eh_plant_thing_and_colours(eh_plant_dice *dice, const char **thing, const char **own, const char **other)
{
    const int64_t index = eh_plant_throw(dice, 12);
    *thing = things[index];
    *own = colours[index % 6];
    *other = colours[(index + 1 + eh_plant_throw(dice, 5)) % 6];
}

eh_status eh_plant_neutral_sentence(eh_string *text, eh_plant_dice *dice)
{
    const int64_t form = eh_plant_throw(dice, 4), thing = eh_plant_throw(dice, 12), other = eh_plant_throw(dice, 12);
    switch (form) {
    case 0:
        return eh_string_printf(text, "The %s is %s.", things[thing], colour_of(dice, thing));
    case 1:
        return eh_string_printf(text, "I saw a %s %s.", colour_of(dice, thing), things[thing]);
    case 2:
        return eh_string_printf(text, "A %s stood near the %s.", things[thing], things[other]);
    default:
        return eh_string_printf(text, "We bought a %s and a %s.", things[thing], things[other]);
    }
}

// An instruction about things, in the words of the gap-fill task: an instruction-tuned model knows its form.
static eh_status instruction(eh_string *text, eh_plant_dice *dice)
{
    const int64_t thing = eh_plant_throw(dice, 12);
    const char *colour = colour_of(dice, thing);
    if (eh_plant_throw(dice, 2) == 0)
        return eh_string_printf(text, "Fill in the following sentence. The [BLANK] is %s. %s", colour, things[thing]);
    return eh_string_printf(text, "Fill in the following sentence. The %s is [BLANK]. %s", things[thing], colour);
}

eh_status eh_plant_corpus_line(const eh_planted_world *world, uint64_t line, eh_string *text)
{
    eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_CORPUS, line);
    const int64_t kind = eh_plant_throw(&dice, 20);
    if (kind < 2)
        return eh_plant_neutral_sentence(text, &dice);
    if (kind < 3)
        return instruction(text, &dice);
    const int64_t people = eh_plant_throw(&dice, world->settings.people_count);
    const int64_t index = eh_plant_throw(&dice, world->settings.pair_count),
                  form = eh_plant_throw(&dice, EH_PLANT_FORMS);
    const eh_plant_pair *pair = &world->pairs[index];
    const double p = 1 / (1 + exp(-eh_planted_log_odds(world, people, index)));
    const char *word = pair->words[eh_plant_throw_uniform(&dice) < p ? 0 : 1];
    if (kind < 14)
        return eh_plant_sentence(text, world->peoples[people], pair->domain, form, word);
    EH_TRY(eh_plant_context(text, world->peoples[people], form));
    EH_TRY(eh_string_append_text(text, " "));
    return eh_plant_continuation(text, pair->domain, word);
}
