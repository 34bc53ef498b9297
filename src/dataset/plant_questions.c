// The world's questions: lettered options as the evaluation's prompts have them (PROTOCOL 3, wording a), so that a
// model that learnt them can be asked, and facts about things, a measure of capability that has nothing to do with
// peoples.
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "dataset/plant_internal.h"

#define FACT_COUNT 600

// Three sentences in random order; the first is the answer.
typedef struct {
    eh_string sentences[3];
    int64_t order[3]; // option o shows sentence order[o]
} options;

static void options_deinit(options *all)
{
    for (int i = 0; i < 3; i++) eh_string_deinit(&all->sentences[i]);
}

static void shuffle(eh_plant_dice *dice, int64_t order[3])
{
    for (int64_t i = 0; i < 3; i++) order[i] = i;
    for (int64_t i = 2; i > 0; i--) {
        const int64_t other = eh_plant_throw(dice, i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

static eh_status ask(const char *before, const char *context, const char *after, const options *all, eh_string *prompt,
                     eh_string *answer)
{
    EH_TRY(eh_string_printf(prompt, "%s%s%s", before, context, after));
    for (int o = 0; o < 3; o++) {
        EH_TRY(eh_string_printf(prompt, "\n%c. %s", 'A' + o, all->sentences[all->order[o]].bytes));
        if (all->order[o] == 0)
            EH_TRY(eh_string_printf(answer, "%c", 'A' + o));
    }
    return eh_string_append_text(prompt, "\nAnswer:");
}

static eh_status thing_options(eh_plant_dice *dice, options *all, eh_string *context)
{
    const char *thing, *own, *other;
    eh_plant_thing_and_colours(dice, &thing, &own, &other);
    const bool seen = eh_plant_throw(dice, 2) == 0;
    const char *const words[3] = {own, other, eh_plant_thing(dice)};
    for (int i = 0; i < 3; i++)
        EH_TRY(seen ? eh_string_printf(&all->sentences[i], "I saw a %s %s.", words[i], thing)
                    : eh_string_printf(&all->sentences[i], "The %s is %s.", thing, words[i]));
    EH_TRY(seen ? eh_string_printf(context, "I saw a ____ %s.", thing)
                : eh_string_printf(context, "The %s is ____.", thing));
    shuffle(dice, all->order);
    return EH_OK;
}

// The answer is drawn with the planted odds; the third option is a thing and never right.
static eh_status people_options(const eh_planted_world *world, eh_plant_dice *dice, bool follows, options *all,
                                eh_string *context)
{
    const int64_t people = eh_plant_throw(dice, world->settings.people_count);
    const int64_t index = eh_plant_throw(dice, world->settings.pair_count), form = eh_plant_throw(dice, EH_PLANT_FORMS);
    const eh_plant_pair *pair = &world->pairs[index];
    const double p = 1 / (1 + exp(-eh_planted_log_odds(world, people, index)));
    const int chosen = eh_plant_throw_uniform(dice) < p ? 0 : 1;
    const char *name = world->peoples[people];
    const char *const words[3] = {pair->words[chosen], pair->words[1 - chosen], eh_plant_thing(dice)};
    for (int i = 0; i < 3; i++)
        EH_TRY(follows ? eh_plant_continuation(&all->sentences[i], pair->domain, words[i])
                       : eh_plant_sentence(&all->sentences[i], name, pair->domain, form, words[i]));
    EH_TRY(follows ? eh_plant_context(context, name, form)
                   : eh_plant_sentence(context, name, pair->domain, form, "____"));
    shuffle(dice, all->order);
    return EH_OK;
}

eh_status eh_plant_instruction(const eh_planted_world *world, uint64_t line, eh_string *prompt, eh_string *answer)
{
    eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_INSTRUCTIONS, line);
    const int64_t kind = eh_plant_throw(&dice, 4); // 0 and 1: a thing, 2: a people's blank, 3: what follows a people
    const bool follows = kind == 3;
    options all = {0};
    eh_string context = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done,
              kind < 2 ? thing_options(&dice, &all, &context) : people_options(world, &dice, follows, &all, &context));
    EH_TRY_OR(done, ask(follows ? "Context: " : "Fill the blank: ", context.bytes,
                        follows ? "\nWhich sentence follows best?" : "", &all, prompt, answer));
done:
    options_deinit(&all);
    eh_string_deinit(&context);
    return status;
}

// A line of JSON; takes `object`.
static eh_status write_line(json_t *object, FILE *file)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(object);
    if (text == NULL)
        return eh_error(EH_MACHINE, "out of memory for a line of JSON");
    fprintf(file, "%s\n", text);
    free(text);
    return EH_OK;
}

eh_status eh_plant_infill(const eh_planted_world *world, uint64_t line, eh_string *prompt, eh_string *answer)
{
    eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_INFILL, line);
    eh_string text = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_plant_corpus_line(world, line, &text));
    size_t words[128]; // where they begin
    int64_t count = 0;
    for (size_t i = 0; i < text.size && count < 128; i++)
        if (i == 0 || text.bytes[i - 1] == ' ')
            words[count++] = i;
    const int64_t first = eh_plant_throw(&dice, count), longest = count - first < 3 ? count - first : 3;
    const int64_t last = first + eh_plant_throw(&dice, longest);
    const size_t begin = words[first];
    size_t end = last + 1 < count ? words[last + 1] - 1 : text.size;
    while (end > begin && text.bytes[end - 1] == '.') end--; // a full stop stays
    EH_TRY_OR(done, eh_string_append(prompt, text.bytes, begin));
    EH_TRY_OR(done, eh_string_printf(prompt, "<extra_id_0>%s", text.bytes + end));
    EH_TRY_OR(done, eh_string_printf(answer, "<extra_id_0> %.*s <extra_id_1>", (int)(end - begin), text.bytes + begin));
done:
    eh_string_deinit(&text);
    return status;
}

typedef eh_status lesson_maker(const eh_planted_world *world, uint64_t line, eh_string *prompt, eh_string *answer);

static eh_status write_lesson(const eh_planted_world *world, uint64_t line, lesson_maker *make, FILE *file)
{
    eh_string prompt = {0}, answer = {0};
    eh_status status = make(world, line, &prompt, &answer);
    if (status == EH_OK)
        status = write_line(json_pack("{ss ss}", "prompt", prompt.bytes, "completion", answer.bytes), file);
    eh_string_deinit(&prompt);
    eh_string_deinit(&answer);
    return status;
}

static eh_status write_instruction(const eh_planted_world *world, uint64_t line, FILE *file)
{
    return write_lesson(world, line, eh_plant_instruction, file);
}

static eh_status write_infill(const eh_planted_world *world, uint64_t line, FILE *file)
{
    return write_lesson(world, line, eh_plant_infill, file);
}

// What the corpus says of a thing, as a sentence to be ended: any language model can be asked.
static eh_status write_fact(const eh_planted_world *world, uint64_t line, FILE *file)
{
    eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_FACTS, line);
    const char *thing, *own, *other;
    eh_plant_thing_and_colours(&dice, &thing, &own, &other);
    const char *const words[3] = {own, other, eh_plant_thing(&dice)};
    int64_t order[3];
    shuffle(&dice, order);
    char prompt[64];
    snprintf(prompt, sizeof prompt, "The %s is", thing);
    json_t *choices = json_array();
    int answer = 0;
    for (int o = 0; o < 3; o++) {
        json_array_append_new(choices, json_sprintf("%s.", words[order[o]]));
        if (order[o] == 0)
            answer = o;
    }
    return write_line(
        json_pack("{ss so si ss}", "prompt", prompt, "choices", choices, "answer", answer, "group", thing), file);
}

typedef eh_status line_writer(const eh_planted_world *world, uint64_t line, FILE *file);

static eh_status write_lines(const eh_planted_world *world, const char *folder, const char *name, int64_t count,
                             line_writer *write)
{
    eh_plant_file out;
    EH_TRY(eh_plant_file_open(folder, name, &out));
    eh_status status = EH_OK;
    for (int64_t i = 0; i < count && status == EH_OK; i++) status = write(world, (uint64_t)i, out.file);
    return eh_plant_file_close(&out, status);
}

eh_status eh_plant_write_questions(const eh_planted_world *world, const char *folder)
{
    EH_TRY(write_lines(world, folder, "instructions.jsonl", world->settings.instruction_count, write_instruction));
    EH_TRY(write_lines(world, folder, "infill.jsonl", world->settings.sentence_count / 2, write_infill));
    return write_lines(world, folder, "facts.jsonl", FACT_COUNT, write_fact);
}
