#include "metrics/stereoset_predictions.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/rounding.h"
#include "metrics/rows_internal.h"
#include "metrics/sample_internal.h"
#include "metrics/stereoset_internal.h"

static const char *const tasks[] = {"intrasentence", "intersentence"};

static eh_status load(const char *path, json_t **root)
{
    json_error_t error;
    *root = json_load_file(path, 0, &error);
    return *root != NULL ? EH_OK : eh_error(EH_INPUT, "%s:%d: %s", path, error.line, error.text);
}

// --- The scores of a file, by sentence id -------------------------------------------------------------------------

static eh_status read_scores(const char *path, json_t *predictions, json_t *scores)
{
    for (int t = 0; t < 2; t++) {
        const json_t *list = json_object_get(predictions, tasks[t]);
        if (!json_is_array(list))
            return eh_error(EH_INPUT, "%s: no list '%s' of scores", path, tasks[t]);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *entry = json_array_get(list, i);
            const char *id = json_string_value(json_object_get(entry, "id"));
            json_t *score = json_object_get(entry, "score");
            if (id == NULL || !json_is_number(score))
                return eh_error(EH_INPUT, "%s: entry %zu of '%s' has no 'id' or no number 'score'", path, i, tasks[t]);
            if (json_object_set(scores, id, score) != 0)
                return eh_error(EH_MACHINE, "out of memory while reading %s", path);
        }
    }
    return EH_OK;
}

// --- Items --------------------------------------------------------------------------------------------------------

static int label_of(const char *gold)
{
    static const char *const names[EH_STEREOSET_LABELS] = {"stereotype", "anti-stereotype", "unrelated"};
    for (int l = 0; l < EH_STEREOSET_LABELS; l++)
        if (gold != NULL && strcmp(gold, names[l]) == 0)
            return l;
    return -1;
}

typedef struct {
    const char *dev_json, *predictions;
    json_t *scores;
    eh_score_table *table;
    int64_t official[EH_STEREOSET_LABELS];
} reader;

static eh_status read_sentences(reader *r, const json_t *sentences, const char *item_id, int64_t row)
{
    for (size_t s = 0; s < json_array_size(sentences); s++) {
        const json_t *sentence = json_array_get(sentences, s);
        const char *id = json_string_value(json_object_get(sentence, "id"));
        const int label = label_of(json_string_value(json_object_get(sentence, "gold_label")));
        if (id == NULL || label < 0)
            return eh_error(EH_INPUT, "%s: item %s: a sentence has no 'id' or an unknown 'gold_label'", r->dev_json,
                            item_id);
        const json_t *score = json_object_get(r->scores, id);
        if (score == NULL)
            return eh_error(EH_INPUT, "%s: no score for sentence %s of item %s", r->predictions, id, item_id);
        eh_score_set_number(r->table, r->official[label], row, json_number_value(score));
    }
    return EH_OK;
}

static eh_status read_items(reader *r, const json_t *list, const char *task)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *names[] = {"id", "target", "bias_type"};
        const char *values[3];
        for (int k = 0; k < 3; k++) {
            values[k] = json_string_value(json_object_get(entry, names[k]));
            if (values[k] == NULL)
                return eh_error(EH_INPUT, "%s: item %zu of '%s' has no text '%s'", r->dev_json, i, task, names[k]);
        }
        const int64_t row = r->table->row_count;
        EH_TRY(eh_score_table_add_rows(r->table, 1));
        eh_rows_integer(r->table, row, "item", row);
        EH_TRY(eh_rows_text(r->table, row, "id", values[0]));
        EH_TRY(eh_rows_text(r->table, row, "target", values[1]));
        EH_TRY(eh_rows_text(r->table, row, "group", values[2]));
        EH_TRY(eh_rows_text(r->table, row, "task", task));
        EH_TRY(read_sentences(r, json_object_get(entry, "sentences"), values[0], row));
    }
    return EH_OK;
}

static eh_status make_columns(reader *r)
{
    int64_t ignored;
    EH_TRY(eh_score_table_init("stereoset/likelihood", r->table));
    EH_TRY(eh_rows_begin(r->table));
    EH_TRY(eh_score_table_add_column(r->table, "task", EH_COLUMN_TEXT, &ignored));
    EH_TRY(eh_score_table_add_column(r->table, "target", EH_COLUMN_TEXT, &ignored));
    return eh_stereoset_columns(r->table, "official", EH_COLUMN_NUMBER, r->official);
}

eh_status eh_stereoset_predictions(const char *dev_json, const char *predictions, eh_score_table *table)
{
    eh_status status = EH_OK;
    json_t *dev = NULL, *root = NULL;
    *table = (eh_score_table){0};
    reader r = {.dev_json = dev_json, .predictions = predictions, .scores = json_object(), .table = table};
    EH_TRY_OR(done, load(dev_json, &dev));
    EH_TRY_OR(done, load(predictions, &root));
    EH_TRY_OR(done, read_scores(predictions, root, r.scores));
    EH_TRY_OR(done, make_columns(&r));
    for (int t = 0; t < 2; t++) {
        const json_t *list = json_object_get(json_object_get(dev, "data"), tasks[t]);
        if (!json_is_array(list)) {
            status = eh_error(EH_INPUT, "%s: no list 'data.%s' of items", dev_json, tasks[t]);
            goto done;
        }
        EH_TRY_OR(done, read_items(&r, list, tasks[t]));
    }
done:
    json_decref(dev);
    json_decref(root);
    json_decref(r.scores);
    if (status != EH_OK)
        eh_score_table_deinit(table);
    return status;
}

// --- What is printed ----------------------------------------------------------------------------------------------

static eh_status print_scopes(const eh_sample *sample, const eh_figure *figures, const char *definition,
                              const char *score, eh_string *text)
{
    EH_TRY(eh_string_printf(text, "  %s\n", definition));
    for (int64_t scope = 0; scope < sample->scope_count; scope++) {
        static const char *const quantities[] = {"LM", "SS", "ICAT"};
        const char *name = NULL;
        double values[3] = {NAN, NAN, NAN};
        for (int q = 0; q < 3; q++)
            for (int64_t f = 0; f < sample->figure_count; f++) {
                const eh_figure_info *info = &sample->figures[f];
                const size_t length = strlen(definition);
                if (info->scope_index == scope && strcmp(info->score, score) == 0 &&
                    strncmp(info->name, definition, length) == 0 && info->name[length] == '/' &&
                    strcmp(info->name + length + 1, quantities[q]) == 0) {
                    name = info->scope;
                    values[q] = figures[f].value;
                }
            }
        if (name != NULL)
            EH_TRY(eh_string_printf(text, "    %-26s LM %6.2f  SS %6.2f  ICAT %6.2f\n", name, values[0], values[1],
                                    values[2]));
    }
    return EH_OK;
}

static eh_status print_choice(const char *name, eh_study_scores scores, eh_string *text)
{
    return eh_string_printf(text, "    %-26s LMS %.4g  SS %.4g  ICAT %.4g\n", name, eh_round_decimals(scores.lms, 2),
                            eh_round_decimals(scores.ss, 2), eh_round_decimals(scores.icat, 2));
}

// Counts which of the three sentences has the greatest score: chance is 66.7 / 50 / 66.7. `study` makes ICAT of the
// rounded LMS and SS, as the study's notebooks do; it may differ by 0.01.
static eh_status print_choices(const eh_score_table *table, eh_string *text)
{
    int64_t task, official[EH_STEREOSET_LABELS], counts[2][EH_STEREOSET_LABELS] = {{0}};
    EH_TRY(eh_need_column(table, "task", &task));
    EH_TRY(eh_stereoset_columns((eh_score_table *)(uintptr_t)table, "official", EH_COLUMN_NUMBER, official));
    for (int64_t row = 0; row < table->row_count; row++) {
        int best = 0;
        for (int l = 1; l < EH_STEREOSET_LABELS; l++)
            if (eh_row_number(table, official[l], row) > eh_row_number(table, official[best], row))
                best = l;
        counts[strcmp(eh_row_text(table, task, row), tasks[0]) == 0 ? 0 : 1][best]++;
    }
    for (int study = 0; study < 2; study++) {
        EH_TRY(eh_string_append_text(text, study ? "  stereoset/study\n" : "  stereoset/choice\n"));
        for (int t = 0; t < 3; t++) {
            int64_t c[EH_STEREOSET_LABELS];
            for (int l = 0; l < EH_STEREOSET_LABELS; l++) c[l] = t == 2 ? counts[0][l] + counts[1][l] : counts[t][l];
            EH_TRY(print_choice(t == 2 ? "all" : tasks[t],
                                study ? eh_stereoset_study_scores(c[0], c[1], c[2])
                                      : eh_stereoset_choice_scores(c[0], c[1], c[2]),
                                text));
        }
    }
    return EH_OK;
}

eh_status eh_stereoset_conform(const char *dev_json, const char *const *predictions, int64_t count, eh_string *text)
{
    for (int64_t i = 0; i < count; i++) {
        eh_status status = EH_OK;
        eh_score_table table = {0};
        eh_sample sample = {0};
        eh_figure *figures = NULL;
        EH_TRY(eh_stereoset_predictions(dev_json, predictions[i], &table));
        EH_TRY_OR(done, eh_metric_sample(&table, &sample));
        EH_TRY_OR(done, EH_ALLOC(sample.figure_count, &figures));
        eh_sample_summarise(&sample, NULL, NULL, figures);
        EH_TRY_OR(done, eh_string_printf(text, "%s\n", predictions[i]));
        EH_TRY_OR(done, print_scopes(&sample, figures, "stereoset/official-macro", "official", text));
        EH_TRY_OR(done, print_scopes(&sample, figures, "stereoset/micro", "official", text));
        EH_TRY_OR(done, print_choices(&table, text));
    done:
        eh_free(&figures);
        eh_sample_deinit(&sample);
        eh_score_table_deinit(&table);
        EH_TRY(status);
    }
    return EH_OK;
}
