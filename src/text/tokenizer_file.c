#include "text/tokenizer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yajl/yajl_parse.h>

#include "core/memory.h"

enum { DEEPEST = 64 };

// Where in the document the parser is. VOCABULARY and MERGES are the two parts that don't become JSON values.
typedef enum { DOCUMENT, VOCABULARY, MERGES } section;

typedef struct {
    eh_tokenizer_file *file;
    eh_status status; // why a callback stopped the parser
    section section;
    json_t *open[DEEPEST]; // borrowed: the containers around the parser, the innermost last
    char *keys[DEEPEST];   // owned: the key in each of them that awaits its value
    int depth;
    int part_depth; // inside VOCABULARY and MERGES: containers open, the part itself included
    bool part_is_map;
    char *text; // the last string of an entry that is not complete
    int64_t text_size, text_capacity;
    int fields; // of the entry that is not complete
} reader;

static int fail(reader *in, eh_status status)
{
    in->status = status;
    return 0; // stops yajl
}

static int keep_text(reader *in, const unsigned char *text, size_t size)
{
    const eh_status status = eh_reserve((int64_t)size + 1, &in->text_capacity, 1, (void **)&in->text);
    if (status != EH_OK)
        return fail(in, status);
    memcpy(in->text, text, size);
    in->text[size] = '\0';
    in->text_size = (int64_t)size;
    return 1;
}

// --- Values of the document ---

static bool in_model(const reader *in)
{
    return in->depth == 2 && in->keys[0] != NULL && strcmp(in->keys[0], "model") == 0;
}

static int add_value(reader *in, json_t *value)
{
    if (value == NULL)
        return fail(in, eh_error(EH_MACHINE, "out of memory while reading JSON"));
    if (in->depth == 0) {
        in->file->root = value;
        return 1;
    }
    json_t *container = in->open[in->depth - 1];
    const char *key = in->keys[in->depth - 1];
    const int failed = json_is_array(container) ? json_array_append_new(container, value)
                                                : json_object_set_new_nocheck(container, key ? key : "", value);
    return failed ? fail(in, eh_error(EH_MACHINE, "out of memory while reading JSON")) : 1;
}

static int open_container(reader *in, json_t *container)
{
    if (in->depth == DEEPEST) {
        json_decref(container);
        return fail(in, eh_error(EH_INPUT, "nested more than %d deep", DEEPEST));
    }
    if (!add_value(in, container))
        return 0;
    in->open[in->depth++] = container;
    return 1;
}

static int close_container(reader *in)
{
    in->depth--;
    free(in->keys[in->depth]);
    in->keys[in->depth] = NULL;
    return 1;
}

// --- Entries of the vocabulary and of the merges ---

// serde_json, which the reference reads scores with, does not round correctly: it takes up to 19 digits as an integer
// and scales them once. The last bit decides ties between segmentations, so the same is done here.
static bool parse_number(const char *text, size_t size, double *number)
{
    size_t at = size > 0 && text[0] == '-';
    uint64_t digits = 0;
    long exponent = 0;
    bool full = false;
    for (bool fraction = false; at < size && text[at] != 'e' && text[at] != 'E'; at++) {
        if (text[at] == '.') {
            fraction = true;
            continue;
        }
        const uint64_t digit = (uint64_t)(text[at] - '0');
        full = full || digits > (UINT64_MAX - digit) / 10;
        if (!full) {
            digits = digits * 10 + digit;
            exponent -= fraction;
        } else
            exponent += !fraction;
    }
    if (at < size) {
        char rest[16] = {0};
        memcpy(rest, text + at + 1, size - at - 1 < sizeof rest - 1 ? size - at - 1 : sizeof rest - 1);
        exponent += strtol(rest, NULL, 10);
    }
    double value = (double)digits;
    for (; exponent < -308 && value != 0; exponent += 308) value /= 1e308;
    if (value != 0) {
        char power[32];
        snprintf(power, sizeof power, "1e%ld", labs(exponent));
        const double scale = strtod(power, NULL);
        value = exponent < 0 ? value / scale : value * scale;
    }
    *number = text[0] == '-' ? -value : value;
    return isfinite(value);
}

static eh_status add_mapped_token(reader *in, const char *number, size_t size)
{
    char digits[24] = {0};
    char *end = NULL;
    memcpy(digits, number, size < sizeof digits - 1 ? size : sizeof digits - 1);
    const long long id = strtoll(digits, &end, 10);
    if (*end != '\0' || size >= sizeof digits)
        return eh_error(EH_INPUT, "token '%.80s' has id %.20s, expected a whole number", in->text, digits);
    EH_TRY(eh_vocabulary_add(&in->file->vocabulary, in->text, (size_t)in->text_size, id));
    if (in->file->vocabulary.repeated > 0)
        return eh_error(EH_INPUT, "token '%.80s' is given twice", in->text);
    return EH_OK;
}

static eh_status add_scored_token(reader *in, const char *number, size_t size)
{
    eh_tokenizer_file *file = in->file;
    const int64_t id = file->vocabulary.count;
    double score = 0;
    if (!parse_number(number, size, &score))
        return eh_error(EH_INPUT, "token '%.80s' has a score that is out of range", in->text);
    EH_TRY(eh_reserve(id + 1, &file->score_capacity, sizeof *file->scores, (void **)&file->scores));
    file->scores[id] = score;
    return eh_vocabulary_add(&file->vocabulary, in->text, (size_t)in->text_size, id);
}

// `first_size` bytes of the text are the first half; the rest, from `second` on, is the other.
static eh_status add_merge(eh_tokenizer_file *file, const char *first, size_t first_size, const char *second,
                           size_t second_size)
{
    const int64_t end = file->merge_byte_count + (int64_t)first_size + (int64_t)second_size;
    EH_TRY(eh_reserve(end + 1, &file->merge_byte_capacity, 1, (void **)&file->merge_bytes));
    EH_TRY(eh_reserve(file->merge_count + 1, &file->merge_capacity, sizeof *file->merges, (void **)&file->merges));
    memcpy(file->merge_bytes + file->merge_byte_count, first, first_size);
    memcpy(file->merge_bytes + file->merge_byte_count + first_size, second, second_size);
    file->merge_byte_count = end;
    file->merges[file->merge_count][0] = (uint32_t)first_size;
    file->merges[file->merge_count++][1] = (uint32_t)second_size;
    return EH_OK;
}

static eh_status add_spaced_merge(reader *in, const char *text, size_t size)
{
    if (size >= 8 && memcmp(text, "#version", 8) == 0) // the first line of a merges.txt, kept by some converters
        return EH_OK;
    const char *space = memchr(text, ' ', size);
    const size_t first = space != NULL ? (size_t)(space - text) : size;
    if (space == NULL || memchr(space + 1, ' ', size - first - 1) != NULL)
        return eh_error(EH_INPUT, "merge %lld is '%.*s', expected two tokens with a space between them",
                        (long long)in->file->merge_count, size < 80 ? (int)size : 80, text);
    return add_merge(in->file, text, first, space + 1, size - first - 1);
}

static int refuse_shape(reader *in)
{
    return fail(in, in->section == VOCABULARY
                        ? eh_error(EH_INPUT, "model.vocab must be {\"token\": id, ...} or [[\"token\", score], ...]")
                        : eh_error(EH_INPUT, "model.merges must be [\"a b\", ...] or [[\"a\", \"b\"], ...]"));
}

static int part_string(reader *in, const unsigned char *text, size_t size)
{
    if (in->section == VOCABULARY && !in->part_is_map && in->part_depth == 2 && in->fields++ == 0)
        return keep_text(in, text, size);
    if (in->section == MERGES && in->part_depth == 1) {
        const eh_status status = add_spaced_merge(in, (const char *)text, size);
        return status == EH_OK ? 1 : fail(in, status);
    }
    if (in->section == MERGES && in->part_depth == 2 && in->fields < 2) {
        if (in->fields++ == 0)
            return keep_text(in, text, size);
        const eh_status status = add_merge(in->file, in->text, (size_t)in->text_size, (const char *)text, size);
        return status == EH_OK ? 1 : fail(in, status);
    }
    return refuse_shape(in);
}

static int part_number(reader *in, const char *number, size_t size)
{
    if (in->section == VOCABULARY && in->part_is_map && in->part_depth == 1) {
        const eh_status status = add_mapped_token(in, number, size);
        return status == EH_OK ? 1 : fail(in, status);
    }
    if (in->section == VOCABULARY && !in->part_is_map && in->part_depth == 2 && in->fields++ == 1) {
        const eh_status status = add_scored_token(in, number, size);
        return status == EH_OK ? 1 : fail(in, status);
    }
    return refuse_shape(in);
}

static int part_open(reader *in, bool map)
{
    if (map || in->part_is_map || in->part_depth != 1)
        return refuse_shape(in);
    in->part_depth++;
    in->fields = 0;
    return 1;
}

static int part_close(reader *in)
{
    if (in->part_depth == 2 && in->fields != 2)
        return refuse_shape(in);
    if (--in->part_depth == 0)
        in->section = DOCUMENT;
    return 1;
}

// Whether the container that opens now is one of the two big parts.
static bool enter_part(reader *in, bool map)
{
    if (!in_model(in) || in->keys[1] == NULL)
        return false;
    const bool vocabulary = strcmp(in->keys[1], "vocab") == 0;
    if (!vocabulary && (map || strcmp(in->keys[1], "merges") != 0))
        return false;
    in->section = vocabulary ? VOCABULARY : MERGES;
    in->part_is_map = map;
    in->part_depth = 1;
    return true;
}

// --- yajl's callbacks ---

static int on_open(reader *in, bool map)
{
    if (in->section != DOCUMENT)
        return part_open(in, map);
    if (enter_part(in, map)) {
        bool *seen = in->section == VOCABULARY ? &in->file->has_vocabulary : &in->file->has_merges;
        if (*seen)
            return fail(in, eh_error(EH_INPUT, "model.%s is given twice", in->keys[1]));
        *seen = true;
        return 1;
    }
    return open_container(in, map ? json_object() : json_array());
}

static int on_open_map(void *context)
{
    return on_open(context, true);
}

static int on_open_array(void *context)
{
    return on_open(context, false);
}

static int on_close(void *context)
{
    reader *in = context;
    return in->section != DOCUMENT ? part_close(in) : close_container(in);
}

static int on_key(void *context, const unsigned char *key, size_t size)
{
    reader *in = context;
    if (in->section != DOCUMENT)
        return keep_text(in, key, size);
    char **kept = &in->keys[in->depth - 1];
    free(*kept);
    *kept = NULL;
    const eh_status status = eh_copy_bytes((const char *)key, size, kept);
    return status == EH_OK ? 1 : fail(in, status);
}

static int on_string(void *context, const unsigned char *text, size_t size)
{
    reader *in = context;
    return in->section != DOCUMENT ? part_string(in, text, size)
                                   : add_value(in, json_stringn_nocheck((const char *)text, size));
}

static int on_number(void *context, const char *number, size_t size)
{
    reader *in = context;
    if (in->section != DOCUMENT)
        return part_number(in, number, size);
    double value = 0;
    if (!parse_number(number, size, &value))
        return fail(in, eh_error(EH_INPUT, "the number %.*s is out of range", size < 40 ? (int)size : 40, number));
    const bool whole = value == floor(value) && fabs(value) < 9e15;
    return add_value(in, whole ? json_integer((json_int_t)value) : json_real(value));
}

static int on_boolean(void *context, int value)
{
    reader *in = context;
    return in->section != DOCUMENT ? refuse_shape(in) : add_value(in, json_boolean(value));
}

static int on_null(void *context)
{
    reader *in = context;
    return in->section != DOCUMENT ? refuse_shape(in) : add_value(in, json_null());
}

// --- The file ---

static size_t line_of(const char *bytes, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset; i++) line += bytes[i] == '\n';
    return line;
}

// yajl's first line of text ("parse error: premature EOF"), without its picture of the place.
static eh_status syntax_error(yajl_handle parser, const char *path, const char *bytes, size_t size, size_t line)
{
    unsigned char *text = yajl_get_error(parser, 0, (const unsigned char *)bytes, size);
    if (text == NULL)
        return eh_error(EH_MACHINE, "out of memory while reading %s", path);
    text[strcspn((char *)text, "\n")] = '\0';
    const eh_status status = eh_error(EH_INPUT, "%s:%zu: this is not JSON: %s", path, line, (char *)text);
    yajl_free_error(parser, text);
    return status;
}

eh_status eh_tokenizer_file_parse(const char *path, const char *bytes, size_t size, eh_tokenizer_file *file)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close,
    };
    reader in = {.file = file, .status = EH_OK};
    EH_TRY(eh_vocabulary_expect(&file->vocabulary, (int64_t)(size / 80))); // a token and its merge take 40 to 100 bytes
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &in);
    if (parser == NULL)
        return eh_error(EH_MACHINE, "out of memory while reading %s", path);
    yajl_status parsed = yajl_parse(parser, (const unsigned char *)bytes, size);
    if (parsed == yajl_status_ok)
        parsed = yajl_complete_parse(parser);
    eh_status status = in.status;
    const size_t consumed = yajl_get_bytes_consumed(parser);
    const size_t line = parsed != yajl_status_ok ? line_of(bytes, consumed < size ? consumed : size) : 0;
    if (status != EH_OK)
        status = eh_error_context(status, "%s:%zu", path, line);
    else if (parsed != yajl_status_ok)
        status = syntax_error(parser, path, bytes, size, line);
    else if (!json_is_object(file->root))
        status = eh_error(EH_INPUT, "%s: this is not a tokenizer: a JSON object is expected", path);
    yajl_free(parser);
    for (int i = 0; i < DEEPEST; i++) free(in.keys[i]);
    eh_free(&in.text);
    if (status != EH_OK)
        eh_tokenizer_file_deinit(file);
    return status;
}

eh_status eh_tokenizer_file_read(const char *path, eh_tokenizer_file *file)
{
    struct stat about;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return eh_error(EH_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size == 0) {
        close(descriptor);
        return eh_error(EH_INPUT, "%s: is empty or not a file", path);
    }
    const size_t size = (size_t)about.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    close(descriptor);
    if (bytes == MAP_FAILED)
        return eh_error(EH_MACHINE, "%s: cannot be mapped: %s", path, strerror(errno));
    const eh_status status = eh_tokenizer_file_parse(path, bytes, size, file);
    if (status == EH_OK)
        eh_sha256_text(bytes, size, file->sha256);
    munmap(bytes, size);
    return status;
}

void eh_tokenizer_file_deinit(eh_tokenizer_file *file)
{
    json_decref(file->root);
    eh_vocabulary_deinit(&file->vocabulary);
    eh_free(&file->scores);
    eh_free(&file->merge_bytes);
    eh_free(&file->merges);
    *file = (eh_tokenizer_file){0};
}
