// The planted world as files, in the formats of the data sets that it stands for.
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/memory.h"
#include "dataset/plant_internal.h"

#define NEUTRAL_SENTENCES 2000
#define TOKENIZER_SENTENCES 20000
#define TOKENIZER_INSTRUCTIONS 2000
#define VOCAB_SIZE 1500
#define TEST_FORMS 2 // intrasentence items per people and pair; one intersentence item beside them
#define PAIR_FORMS 2 // counter-stereotype pairs per people and pair

eh_status eh_plant_file_open(const char *folder, const char *name, eh_plant_file *out)
{
    snprintf(out->path, sizeof out->path, "%s/%s", folder, name);
    out->file = fopen(out->path, "wb");
    if (out->file == NULL)
        return eh_error(EH_MACHINE, "%s: %s", out->path, strerror(errno));
    return EH_OK;
}

eh_status eh_plant_file_close(eh_plant_file *out, eh_status status)
{
    const bool failed = ferror(out->file) != 0;
    if ((fclose(out->file) != 0 || failed) && status == EH_OK)
        status = eh_error(EH_MACHINE, "%s: writing failed: %s", out->path, strerror(errno));
    return status;
}

// So that the tokenizer has the words of the questions too.
static eh_status add_instruction(const eh_planted_world *world, uint64_t line, eh_string *sample)
{
    eh_string answer = {0};
    eh_status status = eh_plant_instruction(world, line, sample, &answer);
    if (status == EH_OK)
        status = eh_string_printf(sample, " %s\n", answer.bytes);
    eh_string_deinit(&answer);
    return status;
}

static eh_status write_corpus(const eh_planted_world *world, const char *folder)
{
    eh_plant_file out;
    EH_TRY(eh_plant_file_open(folder, "corpus.txt", &out));
    eh_string line = {0}, sample = {0};
    eh_status status = EH_OK;
    for (int64_t i = 0; i < world->settings.sentence_count && status == EH_OK; i++) {
        eh_string_clear(&line);
        EH_TRY_OR(done, eh_plant_corpus_line(world, (uint64_t)i, &line));
        EH_TRY_OR(done, eh_string_append_text(&line, "\n"));
        fwrite(line.bytes, 1, line.size, out.file);
        if (i < TOKENIZER_SENTENCES)
            EH_TRY_OR(done, eh_string_append(&sample, line.bytes, line.size));
    }
    for (uint64_t i = 0; i < TOKENIZER_INSTRUCTIONS; i++) EH_TRY_OR(done, add_instruction(world, i, &sample));
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    EH_TRY_OR(done, eh_plant_write_tokenizer(path, &sample, VOCAB_SIZE));
done:
    eh_string_deinit(&line);
    eh_string_deinit(&sample);
    return eh_plant_file_close(&out, status);
}

static eh_status write_neutral(const eh_planted_world *world, const char *folder)
{
    eh_plant_file out;
    EH_TRY(eh_plant_file_open(folder, "neutral.txt", &out));
    eh_string line = {0};
    eh_status status = EH_OK;
    for (uint64_t i = 0; i < NEUTRAL_SENTENCES && status == EH_OK; i++) {
        eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_NEUTRAL, i);
        eh_string_clear(&line);
        status = eh_plant_neutral_sentence(&line, &dice);
        if (status == EH_OK)
            fprintf(out.file, "%s\n", line.bytes);
    }
    eh_string_deinit(&line);
    return eh_plant_file_close(&out, status);
}

// Half of the pairs differ in the attribute, half in the people, as in CrowS-Pairs: the other people is the one whose
// odds are furthest the other way among those that are seen.
static int64_t opposite_people(const eh_planted_world *world, int64_t people, int64_t pair)
{
    const int stereotype = eh_planted_stereotype(world, people, pair);
    int64_t best = people == 0 ? 1 : 0;
    double lowest = 0;
    for (int64_t g = 0; g < world->settings.people_count; g++) {
        const double odds = eh_planted_log_odds(world, g, pair) * (stereotype == 0 ? 1 : -1);
        if (g != people && eh_planted_exposure(world, g, pair) != EH_PLANT_UNSEEN_PEOPLE && odds < lowest) {
            lowest = odds;
            best = g;
        }
    }
    return best;
}

// RFC 4180; no sentence holds a quote.
static eh_status write_pair(const eh_planted_world *world, int64_t people, int64_t index, int64_t n, int64_t row,
                            FILE *file)
{
    const eh_plant_pair *pair = &world->pairs[index];
    const int stereotype = eh_planted_stereotype(world, people, index);
    eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_PAIRS, (uint64_t)row);
    const int64_t form = eh_plant_throw(&dice, EH_PLANT_FORMS);
    const bool by_people = n % 2 == 1;
    const int64_t other = by_people ? opposite_people(world, people, index) : people;
    // Every seventh row is about the other group, as CrowS-Pairs' antistereo rows are; sent_more stays the
    // stereotypical.
    const char *direction = row % 7 == 6 ? "antistereo" : "stereo";
    eh_string more = {0}, less = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_plant_sentence(&more, world->peoples[people], pair->domain, form, pair->words[stereotype]));
    EH_TRY_OR(done, eh_plant_sentence(&less, world->peoples[other], pair->domain, form,
                                      pair->words[by_people ? stereotype : 1 - stereotype]));
    fprintf(file, "%lld,%s,%s,%s,%s,[['%s']],w%lld,['w0']\n", (long long)row, more.bytes, less.bytes, direction,
            eh_plant_domain_name(pair->domain), eh_plant_domain_name(pair->domain), (long long)people);
done:
    eh_string_deinit(&more);
    eh_string_deinit(&less);
    return status;
}

static eh_status write_pairs(const eh_planted_world *world, const char *folder)
{
    eh_plant_file out;
    EH_TRY(eh_plant_file_open(folder, "pairs.csv", &out));
    fprintf(out.file, ",sent_more,sent_less,stereo_antistereo,bias_type,annotations,anon_writer,anon_annotators\n");
    eh_status status = EH_OK;
    int64_t row = 0;
    for (int64_t g = 0; g < world->settings.people_count; g++)
        for (int64_t k = 0; k < world->settings.pair_count; k++)
            for (int64_t n = 0; n < PAIR_FORMS && status == EH_OK; n++)
                if (eh_planted_exposure(world, g, k) == EH_PLANT_SEEN)
                    status = write_pair(world, g, k, n, row++, out.file);
    return eh_plant_file_close(&out, status);
}

// One context association test; n counts the items of a people and pair, the last one is an intersentence item.
static eh_status make_item(const eh_planted_world *world, int64_t people, int64_t index, int64_t n, json_t **item)
{
    const eh_plant_pair *pair = &world->pairs[index];
    const char *name = world->peoples[people];
    const uint64_t cell = (uint64_t)(people * world->settings.pair_count + index);
    eh_plant_dice dice = eh_plant_dice_of(world->settings.seed, EH_DICE_TESTS, cell << 8 | (uint64_t)n);
    const int64_t form = (eh_plant_throw(&dice, EH_PLANT_FORMS) + n) % EH_PLANT_FORMS;
    const int stereotype = eh_planted_stereotype(world, people, index);
    const char *const words[3] = {pair->words[stereotype], pair->words[1 - stereotype], eh_plant_thing(&dice)};
    static const char *const labels[3] = {"stereotype", "anti-stereotype", "unrelated"};
    const bool inter = n == TEST_FORMS;
    int64_t order[3];
    eh_random_permutation(world->settings.seed, EH_STREAM_PLANT, 16 + (cell << 8 | (uint64_t)n), 3, order);

    char id[96], sentence_id[128];
    snprintf(id, sizeof id, "%s/%lld/%lld", name, (long long)index, (long long)n);
    eh_string text = {0};
    eh_status status = EH_OK;
    json_t *sentences = json_array();
    for (int i = 0; i < 3; i++) {
        eh_string_clear(&text);
        EH_TRY_OR(done, inter ? eh_plant_continuation(&text, pair->domain, words[order[i]])
                              : eh_plant_sentence(&text, name, pair->domain, form, words[order[i]]));
        snprintf(sentence_id, sizeof sentence_id, "%s/%d", id, i);
        json_array_append_new(sentences, json_pack("{ss ss s[] ss}", "id", sentence_id, "sentence", text.bytes,
                                                   "labels", "gold_label", labels[order[i]]));
    }
    eh_string_clear(&text);
    EH_TRY_OR(done, inter ? eh_plant_context(&text, name, form)
                          : eh_plant_sentence(&text, name, pair->domain, form, "BLANK"));
    *item = json_pack("{ss ss ss ss sO}", "id", id, "target", name, "bias_type", eh_plant_domain_name(pair->domain),
                      "context", text.bytes, "sentences", sentences);
    EH_ASSERT(*item != NULL);
done:
    json_decref(sentences);
    eh_string_deinit(&text);
    return status;
}

static eh_status write_tests(const eh_planted_world *world, const char *folder)
{
    json_t *intra = json_array(), *inter = json_array();
    json_t *root =
        json_pack("{ss s{so so}}", "version", "planted", "data", "intersentence", inter, "intrasentence", intra);
    eh_status status = EH_OK;
    for (int64_t g = 0; g < world->settings.people_count; g++)
        for (int64_t k = 0; k < world->settings.pair_count; k++)
            for (int64_t n = 0; n <= TEST_FORMS && status == EH_OK; n++) {
                json_t *item = NULL;
                status = make_item(world, g, k, n, &item);
                if (status == EH_OK)
                    json_array_append_new(n == TEST_FORMS ? inter : intra, item);
            }
    char path[4096];
    snprintf(path, sizeof path, "%s/stereoset.json", folder);
    if (status == EH_OK && json_dump_file(root, path, JSON_INDENT(1)) != 0)
        status = eh_error(EH_MACHINE, "%s: writing failed: %s", path, strerror(errno));
    json_decref(root);
    return status;
}

static eh_status write_truth(const eh_planted_world *world, const char *folder)
{
    static const char *const kinds[] = {"stereotyped", "neutral", "reversed"};
    static const char *const exposures[] = {"seen", "unseen-pair", "unseen-attribute", "unseen-people"};
    eh_plant_file out;
    EH_TRY(eh_plant_file_open(folder, "truth.csv", &out));
    fprintf(out.file, "people,pair,domain,stereotype,anti_stereotype,log_odds,kind,exposure\n");
    for (int64_t g = 0; g < world->settings.people_count; g++)
        for (int64_t k = 0; k < world->settings.pair_count; k++) {
            const eh_plant_pair *pair = &world->pairs[k];
            const int stereotype = eh_planted_stereotype(world, g, k);
            const double odds = eh_planted_log_odds(world, g, k) * (stereotype == 0 ? 1 : -1);
            fprintf(out.file, "%s,%lld,%s,%s,%s,%.6f,%s,%s\n", world->peoples[g], (long long)k,
                    eh_plant_domain_name(pair->domain), pair->words[stereotype], pair->words[1 - stereotype], odds,
                    kinds[pair->kind], exposures[eh_planted_exposure(world, g, k)]);
        }
    return eh_plant_file_close(&out, EH_OK);
}

static eh_status make_folder(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", folder);
    for (char *slash = path + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        const char end = *slash;
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return eh_error(EH_INPUT, "%s: can't make this folder: %s", path, strerror(errno));
        *slash = end;
        if (end == '\0')
            return EH_OK;
    }
}

eh_status eh_plant_write(const eh_planted_world *world, const char *folder)
{
    EH_TRY(make_folder(folder));
    EH_TRY(write_corpus(world, folder));
    EH_TRY(write_neutral(world, folder));
    EH_TRY(write_pairs(world, folder));
    EH_TRY(write_tests(world, folder));
    EH_TRY(eh_plant_write_questions(world, folder));
    return write_truth(world, folder);
}
