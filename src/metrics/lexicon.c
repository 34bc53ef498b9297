#include "metrics/lexicon.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/memory.h"
#include "io/csv.h"

typedef struct {
    char *lemma;
    char category[8];
    int64_t row;
} entry;

struct eh_lexicon {
    entry *entries; // by lemma; of equal ones the first row alone
    int64_t count, capacity;
};

static const struct {
    utf8proc_int32_t letter;
    const char *plain;
} letters[] = {
    {0xC6, "AE"},  {0xD0, "D"},   {0xD8, "O"},   {0xDE, "Th"},  {0xDF, "ss"},   {0xE6, "ae"},   {0xF0, "d"},
    {0xF8, "o"},   {0xFE, "th"},  {0x110, "D"},  {0x111, "d"},  {0x131, "i"},   {0x141, "L"},   {0x142, "l"},
    {0x152, "OE"}, {0x153, "oe"}, {0x2018, "'"}, {0x2019, "'"}, {0x201C, "\""}, {0x201D, "\""}, {0x2013, "-"},
};

static const char *plain_of(utf8proc_int32_t letter)
{
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].letter == letter)
            return letters[i].plain;
    return NULL;
}

eh_status eh_remove_accents(const char *text, size_t size, eh_string *plain)
{
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t point = 0, parts[32];
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &point);
        int boundary = 0;
        if (used <= 0) { // not UTF-8: kept as it is
            EH_TRY(eh_string_append(plain, text + at++, 1));
            continue;
        }
        at += (size_t)used;
        if (plain_of(point) != NULL) {
            EH_TRY(eh_string_append_text(plain, plain_of(point)));
            continue;
        }
        const utf8proc_ssize_t count = utf8proc_decompose_char(
            point, parts, 32, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STRIPMARK, &boundary);
        for (utf8proc_ssize_t i = 0; i < count && i < 32; i++) {
            utf8proc_uint8_t bytes[4];
            const utf8proc_ssize_t length = utf8proc_encode_char(parts[i], bytes);
            EH_TRY(eh_string_append(plain, (const char *)bytes, (size_t)length));
        }
    }
    return EH_OK;
}

static int by_lemma(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const int order = strcmp(x->lemma, y->lemma);
    return order != 0 ? order : x->row < y->row ? -1 : x->row > y->row;
}

static eh_status read_entries(eh_csv *csv, const int64_t columns[3], eh_lexicon *lexicon)
{
    for (;;) {
        eh_csv_row row;
        bool more = false;
        eh_string plain = {0};
        EH_TRY(eh_csv_next(csv, &row, &more));
        if (!more)
            return EH_OK;
        if (row.problem != NULL || strcmp(row.fields[columns[2]], "conservative") != 0)
            continue;
        const char *lemma = row.fields[columns[1]], *category = row.fields[columns[0]];
        eh_status status = eh_remove_accents(lemma, strlen(lemma), &plain);
        entry fresh = {.lemma = plain.bytes, .row = row.row};
        const size_t length = strlen(category) < sizeof fresh.category ? strlen(category) : sizeof fresh.category - 1;
        memcpy(fresh.category, category, length);
        if (status == EH_OK && plain.size > 0)
            status = EH_APPEND(&lexicon->entries, &lexicon->count, &lexicon->capacity, fresh);
        if (status != EH_OK || plain.size == 0)
            eh_string_deinit(&plain);
        EH_TRY(status);
    }
}

static void keep_first_rows(eh_lexicon *lexicon)
{
    int64_t kept = 0;
    if (lexicon->count > 0)
        qsort(lexicon->entries, (size_t)lexicon->count, sizeof *lexicon->entries, by_lemma);
    for (int64_t i = 0; i < lexicon->count; i++) {
        if (kept > 0 && strcmp(lexicon->entries[kept - 1].lemma, lexicon->entries[i].lemma) == 0)
            eh_free(&lexicon->entries[i].lemma);
        else
            lexicon->entries[kept++] = lexicon->entries[i];
    }
    lexicon->count = kept;
}

eh_status eh_lexicon_open(const char *path, eh_lexicon **lexicon)
{
    static const char *const names[] = {"category", "lemma", "level"};
    eh_status status = EH_OK;
    eh_lexicon *fresh = NULL;
    eh_csv *csv = NULL;
    int64_t columns[3];
    EH_TRY_OR(done, EH_ALLOC(1, &fresh));
    EH_TRY_OR(done, eh_csv_open(path, '\t', EH_CSV_PLAIN, &csv));
    EH_TRY_OR(done, eh_csv_columns(csv, names, 3, columns));
    EH_TRY_OR(done, read_entries(csv, columns, fresh));
    keep_first_rows(fresh);
    if (fresh->count == 0)
        status = eh_error(EH_INPUT, "%s: no lemma of level 'conservative': is it HurtLex?", path);
done:
    eh_csv_close(&csv);
    if (status != EH_OK)
        eh_lexicon_close(&fresh);
    *lexicon = fresh;
    return status;
}

void eh_lexicon_close(eh_lexicon **lexicon)
{
    if (*lexicon == NULL)
        return;
    for (int64_t i = 0; i < (*lexicon)->count; i++) eh_free(&(*lexicon)->entries[i].lemma);
    eh_free(&(*lexicon)->entries);
    eh_free(lexicon);
}

int64_t eh_lexicon_size(const eh_lexicon *lexicon)
{
    return lexicon->count;
}

const char *eh_lexicon_category(const eh_lexicon *lexicon, const char *word, size_t size)
{
    int64_t low = 0, high = lexicon->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const char *lemma = lexicon->entries[middle].lemma;
        int order = strncmp(lemma, word, size);
        if (order == 0)
            order = lemma[size] == '\0' ? 0 : 1;
        if (order == 0)
            return lexicon->entries[middle].category;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
