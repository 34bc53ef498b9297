// StereoSet (Nadeem et al. 2021): context association tests, each with three sentences. Reads the authors' JSON and the
// CSV of firminovitoria/stereoset-ptbr (three rows an item, English original). Items keep the file's order.
#include <string.h>

#include "core/memory.h"
#include "dataset/dataset.h"
#include "io/csv.h"
#include "io/json.h"

enum { SENTENCES = EH_RECORD_LABELS };

static bool find_label(const char *name, int8_t *label)
{
    static const char *const names[] = {"stereotype", "anti-stereotype", "unrelated", "related"};
    for (int8_t i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *label = i;
            return true;
        }
    }
    return false;
}

// One test, wherever it came from; NULL where a text is missing.
typedef struct {
    const char *id, *task, *target, *bias_type, *context;
    const char *sentences[SENTENCES], *ids[SENTENCES], *labels[SENTENCES];
} test_item;

static eh_status add_item(const test_item *item, uint64_t row, int64_t line, eh_records *records)
{
    const char *const texts[] = {item->id,      item->task,         item->target,       item->bias_type,
                                 item->context, item->sentences[0], item->sentences[1], item->sentences[2],
                                 item->ids[0],  item->ids[1],       item->ids[2]};
    EH_TRY(eh_records_begin(records, row, line));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i] == NULL)
            eh_records_problem(records, "lacks id, target, bias_type, context or one of three sentences");
        EH_TRY(eh_records_field_text(records, texts[i] != NULL ? texts[i] : ""));
    }
    for (int s = 0; s < SENTENCES; s++) {
        int8_t label = 0;
        if (item->labels[s] == NULL || !find_label(item->labels[s], &label))
            eh_records_problem(records, "a gold label is none of stereotype, anti-stereotype, unrelated, related");
        eh_records_label(records, label);
    }
    if (item->context != NULL && strcmp(item->task, "intra") == 0 && strstr(item->context, "BLANK") == NULL)
        eh_records_problem(records, "the context of an intrasentence test lacks BLANK");
    return eh_records_end(records);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static eh_status add_items(const json_t *list, const char *task, uint64_t *row, eh_records *records)
{
    size_t i = 0;
    const json_t *value = NULL;
    json_array_foreach(list, i, value)
    {
        const json_t *sentences = json_object_get(value, "sentences");
        test_item item = {.id = text_of(value, "id"),
                          .task = task,
                          .target = text_of(value, "target"),
                          .bias_type = text_of(value, "bias_type"),
                          .context = text_of(value, "context")};
        for (size_t s = 0; s < SENTENCES && json_array_size(sentences) == SENTENCES; s++) {
            const json_t *sentence = json_array_get(sentences, s);
            item.sentences[s] = text_of(sentence, "sentence");
            item.ids[s] = text_of(sentence, "id");
            item.labels[s] = text_of(sentence, "gold_label");
        }
        if (eh_records_full(records, *row))
            return EH_OK;
        EH_TRY(add_item(&item, *row, 1, records));
        ++*row;
    }
    return EH_OK;
}

static eh_status read_json(const char *path, eh_records *records)
{
    json_t *document = NULL;
    EH_TRY(eh_json_read(path, &document));
    const json_t *data = json_object_get(document, "data");
    const json_t *inter = json_object_get(data, "intersentence"), *intra = json_object_get(data, "intrasentence");
    uint64_t row = 0;
    eh_status status = EH_OK;
    if (!json_is_array(inter) && !json_is_array(intra)) {
        status =
            eh_error(EH_INPUT, "%s:1: no list data.intersentence or data.intrasentence: not a StereoSet file", path);
        goto done;
    }
    EH_TRY_OR(done, add_items(inter, "inter", &row, records));
    EH_TRY_OR(done, add_items(intra, "intra", &row, records));
done:
    json_decref(document);
    return status;
}

// --- CSV
// --------------------------------------------------------------------------------------------------------------
enum { TYPE, CLUSTER, BIAS_TYPE, TARGET, CONTEXT, SENTENCE, GOLD_LABEL, SENTENCE_ID, COLUMNS };

// Up to three rows of one item, copied, since a row is borrowed until the next.
typedef struct {
    char *texts[SENTENCES][COLUMNS];
    int64_t count, line;
} csv_group;

static void clear_group(csv_group *group)
{
    for (int64_t s = 0; s < SENTENCES; s++) {
        for (int c = 0; c < COLUMNS; c++) eh_free(&group->texts[s][c]);
    }
    group->count = 0;
}

static eh_status add_group(csv_group *group, uint64_t *row, eh_records *records)
{
    if (group->count == 0)
        return EH_OK;
    char **first = group->texts[0];
    test_item item = {.id = first[CLUSTER],
                      .task = strstr(first[TYPE], "intra") != NULL ? "intra" : "inter",
                      .target = first[TARGET],
                      .bias_type = first[BIAS_TYPE],
                      .context = first[CONTEXT]};
    for (int64_t s = 0; s < group->count && group->count == SENTENCES; s++) {
        item.sentences[s] = group->texts[s][SENTENCE];
        item.ids[s] = group->texts[s][SENTENCE_ID];
        item.labels[s] = group->texts[s][GOLD_LABEL];
    }
    const eh_status status = add_item(&item, *row, group->line, records);
    clear_group(group);
    ++*row;
    return status;
}

static eh_status take_row(csv_group *group, const eh_csv_row *row, const int64_t *columns, uint64_t *item_row,
                          eh_records *records)
{
    if (row->problem != NULL)
        return eh_records_reject(records, *item_row, row->line, row->problem);
    const bool same = group->count > 0 && strcmp(group->texts[0][CLUSTER], row->fields[columns[CLUSTER]]) == 0;
    if (!same || group->count == SENTENCES)
        EH_TRY(add_group(group, item_row, records));
    if (group->count == 0)
        group->line = row->line;
    for (int c = 0; c < COLUMNS; c++) EH_TRY(eh_copy_string(row->fields[columns[c]], &group->texts[group->count][c]));
    group->count++;
    return EH_OK;
}

static eh_status read_csv(const char *path, eh_records *records)
{
    static const char *const names[COLUMNS] = {"dataset_type", "cluster_id", "bias_type",  "target",
                                               "context",      "sentence",   "gold_label", "sentence_id"};
    eh_csv *csv = NULL;
    csv_group group = {0};
    int64_t columns[COLUMNS];
    uint64_t row = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_csv_open(path, ',', EH_CSV_QUOTED, &csv));
    EH_TRY_OR(done, eh_csv_columns(csv, names, COLUMNS, columns));
    for (bool more = true;;) {
        eh_csv_row found;
        EH_TRY_OR(done, eh_csv_next(csv, &found, &more));
        if (!more || eh_records_full(records, row))
            break;
        EH_TRY_OR(done, take_row(&group, &found, columns, &row, records));
    }
    if (!eh_records_full(records, row))
        EH_TRY_OR(done, add_group(&group, &row, records));
done:
    clear_group(&group);
    eh_csv_close(&csv);
    return status;
}

static eh_status read_any(const char *path, eh_records *records)
{
    const char *csv = strstr(path, ".csv");
    return csv != NULL && (csv[4] == '\0' || strcmp(csv + 4, ".gz") == 0) ? read_csv(path, records)
                                                                          : read_json(path, records);
}

static const char *const fields[] = {"id",           "task",         "target",       "bias_type",
                                     "context",      "sentence1",    "sentence2",    "sentence3",
                                     "sentence1_id", "sentence2_id", "sentence3_id", NULL};

const eh_data_format eh_format_stereoset = {
    .name = "stereoset",
    .kind = EH_RECORD_ITEM,
    .field_names = fields,
    .roles = {.id = 0,
              .group = 3,
              .context = 4,
              .sentence = 5,
              .more = -1,
              .less = -1,
              .direction = -1,
              .writer = -1,
              .prompt = -1,
              .completion = -1,
              .text = -1},
    .ids_are_unique = true,
    .read = read_any,
};
