// Where torch.save puts its pickles and storages: as stored entries of a zip file (since torch 1.6), or one behind the
// other (before). Compressed entries are refused: torch writes none, and a zip bomb needs them.
#include <string.h>

#include "core/memory.h"
#include "io/pickle.h"
#include "io/pickle_internal.h"

typedef struct {
    const char *name;
    size_t name_size;
    const uint8_t *bytes;
    size_t size;
} part; // a zip entry, or a storage of the older format

typedef struct {
    const char *path;
    const uint8_t *bytes;
    size_t size;
    part *parts;
    int64_t part_count, part_capacity;
    size_t folder_size; // zip: of the folder's name with its '/', before "data.pkl"
} torch_file;

static uint64_t little(const uint8_t *bytes, int width)
{
    uint64_t number = 0;
    for (int i = 0; i < width; i++) number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

static eh_status fail(const torch_file *file, const char *what)
{
    return eh_error(EH_INPUT, "%s: %s", file->path, what);
}

// --- zip -------------------------------------------------------------------------------------------------------------
// The central directory: where it begins and how many entries it has; zip64 where the old fields are full.
static eh_status find_directory(const torch_file *file, uint64_t *begin, uint64_t *count)
{
    const size_t least = 22, longest = least + 65535;
    for (size_t back = least; back <= file->size && back <= longest; back++) {
        const uint8_t *end = file->bytes + file->size - back;
        if (little(end, 4) != 0x06054b50)
            continue;
        *count = little(end + 10, 2);
        *begin = little(end + 16, 4);
        if (*begin != 0xffffffff && *count != 0xffff)
            return EH_OK;
        const uint8_t *locator = end - 20;
        if (back + 20 > file->size || little(locator, 4) != 0x07064b50)
            return fail(file, "the zip64 locator is missing");
        const uint64_t record = little(locator + 8, 8);
        if (file->size < 56 || record > file->size - 56 || little(file->bytes + record, 4) != 0x06064b50)
            return fail(file, "the zip64 directory is not where it should be");
        *count = little(file->bytes + record + 32, 8);
        *begin = little(file->bytes + record + 48, 8);
        return EH_OK;
    }
    return fail(file, "the zip directory is missing: is the file cut off?");
}

// Sizes and place that do not fit 32 bits are in the extra field, in this order.
static void read_zip64(const uint8_t *extra, size_t size, uint64_t *full, uint64_t *packed, uint64_t *place)
{
    for (size_t at = 0; at + 4 <= size;) {
        const size_t length = (size_t)little(extra + at + 2, 2), end = at + 4 + length;
        if (end > size)
            return;
        uint64_t *fields[] = {full, packed, place};
        size_t next = at + 4;
        for (int f = 0; little(extra + at, 2) == 1 && f < 3; f++)
            if (*fields[f] == 0xffffffff && next + 8 <= end) {
                *fields[f] = little(extra + next, 8);
                next += 8;
            }
        at = end;
    }
}

static eh_status read_entry(torch_file *file, uint64_t *at)
{
    if (*at > file->size || file->size - *at < 46 || little(file->bytes + *at, 4) != 0x02014b50)
        return fail(file, "the zip directory is damaged");
    const uint8_t *entry = file->bytes + *at;
    const uint64_t method = little(entry + 10, 2), name_size = little(entry + 28, 2),
                   extra_size = little(entry + 30, 2);
    uint64_t packed = little(entry + 20, 4), full = little(entry + 24, 4), place = little(entry + 42, 4);
    const uint64_t end = *at + 46 + name_size + extra_size + little(entry + 32, 2);
    if (end > file->size)
        return fail(file, "the zip directory is cut off");
    const char *name = (const char *)entry + 46;
    read_zip64(entry + 46 + name_size, (size_t)extra_size, &full, &packed, &place);
    if (method != 0 || packed != full)
        return eh_error(EH_INPUT, "%s: zip entry '%.*s' is compressed, which torch.save never does", file->path,
                        (int)(name_size < 200 ? name_size : 200), name);
    if (place > file->size || file->size - place < 30 || little(file->bytes + place, 4) != 0x04034b50)
        return eh_error(EH_INPUT, "%s: zip entry '%.*s' is not where the directory says", file->path,
                        (int)(name_size < 200 ? name_size : 200), name);
    const uint64_t data = place + 30 + little(file->bytes + place + 26, 2) + little(file->bytes + place + 28, 2);
    if (data > file->size || full > file->size - data)
        return eh_error(EH_INPUT, "%s: zip entry '%.*s' ends behind the file", file->path,
                        (int)(name_size < 200 ? name_size : 200), name);
    const part own = {name, (size_t)name_size, file->bytes + data, (size_t)full};
    *at = end;
    return EH_APPEND(&file->parts, &file->part_count, &file->part_capacity, own);
}

static const part *find_part(const torch_file *file, const char *folder, size_t folder_size, const char *name,
                             size_t name_size)
{
    for (int64_t i = 0; i < file->part_count; i++) {
        const part *own = &file->parts[i];
        if (own->name_size == folder_size + name_size && memcmp(own->name, folder, folder_size) == 0 &&
            memcmp(own->name + folder_size, name, name_size) == 0)
            return own;
    }
    return NULL;
}

static const part *find_pickle(torch_file *file)
{
    for (int64_t i = 0; i < file->part_count; i++) {
        const part *own = &file->parts[i];
        if (own->name_size >= 8 && memcmp(own->name + own->name_size - 8, "data.pkl", 8) == 0) {
            file->folder_size = own->name_size - 8;
            return own;
        }
    }
    return NULL;
}

// --- From objects to tensors -----------------------------------------------------------------------------------------
static eh_status add_tensor(const torch_file *file, const char *name, size_t name_size, const eh_object *object,
                            const part *storage, int64_t file_index, eh_stored_tensors *list)
{
    const int shown = (int)(name_size < 200 ? name_size : 200);
    if (storage == NULL)
        return eh_error(EH_INPUT, "%s: the storage of tensor '%.*s' is missing", file->path, shown, name);
    if (!object->is_dense)
        return eh_error(EH_INPUT, "%s: tensor '%.*s' is not contiguous: save it with .contiguous()", file->path, shown,
                        name);
    size_t size, begin, end;
    if (__builtin_mul_overflow((size_t)object->number, object->element_bytes, &size) ||
        __builtin_mul_overflow((size_t)object->offset, object->element_bytes, &begin) ||
        __builtin_add_overflow(begin, size, &end) || end > storage->size)
        return eh_error(EH_INPUT, "%s: tensor '%.*s' ends behind its storage of %zu bytes", file->path, shown, name,
                        storage->size);
    eh_stored_tensor tensor = {.dtype = object->dtype,
                               .dtype_name = object->dtype_name,
                               .dimension_count = object->dimension_count,
                               .count = object->number,
                               .bytes = storage->bytes + begin,
                               .size = size,
                               .file = file_index};
    memcpy(tensor.shape, object->shape, sizeof tensor.shape);
    EH_TRY(eh_copy_bytes(name, name_size, &tensor.name));
    const eh_status status = EH_APPEND(&list->tensors, &list->count, &list->capacity, tensor);
    if (status != EH_OK)
        eh_free(&tensor.name);
    return status;
}

static eh_status add_tensors(const torch_file *file, const eh_unpickler *u, int64_t result, int64_t file_index,
                             eh_stored_tensors *list)
{
    const eh_object *dict = &u->objects[result];
    if (dict->kind != EH_OBJECT_DICT)
        return fail(file, "does not hold a dictionary of tensors");
    for (int64_t i = 0; i + 1 < dict->count; i += 2) {
        const eh_object *key = &u->objects[u->items[dict->first + i]],
                        *value = &u->objects[u->items[dict->first + i + 1]];
        if (key->kind != EH_OBJECT_TEXT || value->kind != EH_OBJECT_TENSOR)
            return fail(file, "holds more than tensors by name: a checkpoint of another kind?");
        const part *storage = NULL;
        if (file->folder_size > 0) {
            char folder[512];
            const size_t size = file->folder_size + 5;
            if (size <= sizeof folder) {
                memcpy(folder, find_pickle((torch_file *)file)->name, file->folder_size);
                memcpy(folder + file->folder_size, "data/", 5);
                storage = find_part(file, folder, size, value->text, value->text_size);
            }
        } else {
            storage = find_part(file, "", 0, value->text, value->text_size);
        }
        EH_TRY(add_tensor(file, key->text, key->text_size, value, storage, file_index, list));
    }
    return EH_OK;
}

static eh_status parse_zip(torch_file *file, int64_t file_index, eh_stored_tensors *list)
{
    uint64_t at = 0, count = 0;
    EH_TRY(find_directory(file, &at, &count));
    for (uint64_t i = 0; i < count; i++) EH_TRY(read_entry(file, &at));
    const part *pickle = find_pickle(file);
    if (pickle == NULL || file->folder_size == 0)
        return fail(file, "is a zip file without data.pkl: not one of torch.save");
    eh_unpickler u = {.path = file->path, .bytes = pickle->bytes, .size = pickle->size};
    int64_t result;
    eh_status status = eh_unpickle(&u, &result);
    if (status == EH_OK)
        status = add_tensors(file, &u, result, file_index, list);
    eh_unpickler_deinit(&u);
    return status;
}

// --- The older format: magic number, protocol, machine, the state_dict; keys of storages; then each as count and bytes
// --
static size_t element_bytes(const eh_unpickler *u, const eh_object *key)
{
    for (int64_t i = 0; i < u->object_count; i++)
        if (u->objects[i].kind == EH_OBJECT_STORAGE && u->objects[i].text_size == key->text_size &&
            memcmp(u->objects[i].text, key->text, key->text_size) == 0)
            return u->objects[i].element_bytes;
    return 0;
}

static eh_status read_storages(torch_file *file, eh_unpickler *u, int64_t keys)
{
    const int64_t first = u->objects[keys].first, count = u->objects[keys].count;
    if (u->objects[keys].kind != EH_OBJECT_LIST)
        return fail(file, "the list of storages is missing");
    for (int64_t i = 0; i < count; i++) {
        const eh_object *key = &u->objects[u->items[first + i]];
        if (key->kind != EH_OBJECT_TEXT || u->size - u->at < 8)
            return fail(file, "the storages are cut off");
        const uint64_t elements = little(u->bytes + u->at, 8);
        const size_t width = element_bytes(u, key);
        size_t size;
        u->at += 8;
        if (width == 0 || __builtin_mul_overflow((size_t)elements, width, &size) || size > u->size - u->at)
            return eh_error(EH_INPUT, "%s: storage '%.*s' ends behind the file", file->path,
                            (int)(key->text_size < 200 ? key->text_size : 200), key->text);
        const part own = {key->text, key->text_size, u->bytes + u->at, size};
        u->at += size;
        EH_TRY(EH_APPEND(&file->parts, &file->part_count, &file->part_capacity, own));
    }
    return EH_OK;
}

static eh_status skip_magic(eh_unpickler *u)
{
    // PROTO 2, LONG1 of 10 bytes: 0x1950a86a20f9469cfc6c
    static const uint8_t magic[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
    if (u->size < sizeof magic || memcmp(u->bytes, magic, sizeof magic) != 0)
        return eh_error(EH_INPUT, "%s: is neither a zip file nor an older file of torch.save", u->path);
    u->at = sizeof magic;
    return EH_OK;
}

static eh_status parse_older(torch_file *file, int64_t file_index, eh_stored_tensors *list)
{
    eh_unpickler u = {.path = file->path, .bytes = file->bytes, .size = file->size};
    int64_t ignored, dict = 0, keys = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, skip_magic(&u));
    EH_TRY_OR(done, eh_unpickle(&u, &ignored)); // protocol
    EH_TRY_OR(done, eh_unpickle(&u, &ignored)); // byte order and sizes of the machine
    EH_TRY_OR(done, eh_unpickle(&u, &dict));
    u.memo_count = 0; // a new pickle remembers nothing of the last
    EH_TRY_OR(done, eh_unpickle(&u, &keys));
    EH_TRY_OR(done, read_storages(file, &u, keys));
    status = add_tensors(file, &u, dict, file_index, list);
done:
    eh_unpickler_deinit(&u);
    return status;
}

eh_status eh_torch_file_parse(const char *path, const uint8_t *bytes, size_t size, int64_t file_index,
                              eh_stored_tensors *list)
{
    torch_file file = {.path = path, .bytes = bytes, .size = size};
    const bool is_zip = size >= 4 && little(bytes, 4) == 0x04034b50;
    const eh_status status = is_zip ? parse_zip(&file, file_index, list) : parse_older(&file, file_index, list);
    eh_free(&file.parts);
    return status;
}

eh_status eh_torch_file_open(const char *path, eh_stored_tensors *list)
{
    eh_mapped_file file;
    EH_TRY(eh_mapped_file_open(path, &file));
    const eh_status status = EH_APPEND(&list->files, &list->file_count, &list->file_capacity, file);
    if (status != EH_OK) {
        eh_mapped_file_close(&file);
        return status;
    }
    return eh_torch_file_parse(path, file.bytes, file.size, list->file_count - 1, list);
}
