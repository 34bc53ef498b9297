// A restricted unpickler: a stack machine over the opcodes that torch.save uses, whose only objects are numbers, texts,
// containers, storages and tensors. Objects are never freed before the end; their number is bounded by the input's
// size.
#include "io/pickle_internal.h"

#include <string.h>

#include "core/memory.h"

// --- Objects -------------------------------------------------------------------------------------------------------
static eh_status fail(const eh_unpickler *u, const char *what)
{
    return eh_error(EH_INPUT, "%s: the pickle at byte %zu: %s", u->path, u->at, what);
}

static eh_status new_object(eh_unpickler *u, eh_object_kind kind, int64_t *index)
{
    const eh_object object = {.kind = kind};
    *index = u->object_count;
    return EH_APPEND(&u->objects, &u->object_count, &u->object_capacity, object);
}

static eh_status push(eh_unpickler *u, int64_t index)
{
    return EH_APPEND(&u->stack, &u->stack_count, &u->stack_capacity, index);
}

static eh_status push_new(eh_unpickler *u, const eh_object *value)
{
    const int64_t index = u->object_count;
    EH_TRY(EH_APPEND(&u->objects, &u->object_count, &u->object_capacity, *value));
    return push(u, index);
}

static eh_status pop(eh_unpickler *u, int64_t *index)
{
    if (u->stack_count == 0 || u->stack[u->stack_count - 1] < 0)
        return fail(u, "takes from an empty stack");
    *index = u->stack[--u->stack_count];
    return EH_OK;
}

// Items are kept in one growing array; a container is a range of it, moved to the end when it grows.
static eh_status add_items(eh_unpickler *u, int64_t container, const int64_t *values, int64_t count)
{
    eh_object *object = &u->objects[container];
    if (object->first + object->count != u->item_count) {
        const int64_t from = object->first;
        object->first = u->item_count;
        if (u->item_count + object->count > u->item_limit)
            return fail(u, "its containers grow without bound");
        for (int64_t i = 0; i < object->count; i++) {
            const int64_t value = u->items[from + i];
            EH_TRY(EH_APPEND(&u->items, &u->item_count, &u->item_capacity, value));
        }
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t value = values[i];
        EH_TRY(EH_APPEND(&u->items, &u->item_count, &u->item_capacity, value));
    }
    u->objects[container].count += count;
    return EH_OK;
}

static eh_status make_container(eh_unpickler *u, eh_object_kind kind, const int64_t *values, int64_t count)
{
    int64_t index;
    EH_TRY(new_object(u, kind, &index));
    u->objects[index].first = u->item_count;
    EH_TRY(add_items(u, index, values, count));
    return push(u, index);
}

// Items above the last mark.
static eh_status find_mark(eh_unpickler *u, int64_t *mark)
{
    for (*mark = u->stack_count - 1; *mark >= 0; --*mark)
        if (u->stack[*mark] < 0)
            return EH_OK;
    return fail(u, "lacks a mark");
}

static eh_status since_mark(eh_unpickler *u, eh_object_kind kind)
{
    int64_t mark;
    EH_TRY(find_mark(u, &mark));
    const int64_t count = u->stack_count - mark - 1;
    u->stack_count = mark;
    return make_container(u, kind, u->stack + mark + 1, count);
}

static eh_status top_container(eh_unpickler *u, int64_t below, int64_t *index)
{
    if (u->stack_count <= below || u->stack[u->stack_count - 1 - below] < 0)
        return fail(u, "takes from an empty stack");
    *index = u->stack[u->stack_count - 1 - below];
    const eh_object_kind kind = u->objects[*index].kind;
    return kind == EH_OBJECT_DICT || kind == EH_OBJECT_LIST ? EH_OK : fail(u, "adds to what is no container");
}

static eh_status add_since_mark(eh_unpickler *u)
{
    int64_t mark, index;
    EH_TRY(find_mark(u, &mark));
    const int64_t count = u->stack_count - mark - 1;
    EH_TRY(top_container(u, u->stack_count - mark, &index));
    if (u->objects[index].kind == EH_OBJECT_DICT && count % 2 != 0)
        return fail(u, "a dictionary has a key without a value");
    u->stack_count = mark;
    return add_items(u, index, u->stack + mark + 1, count);
}

static eh_status add_last(eh_unpickler *u, int64_t count)
{
    int64_t index;
    EH_TRY(top_container(u, count, &index));
    for (int64_t i = 1; i <= count; i++)
        if (u->stack[u->stack_count - i] < 0)
            return fail(u, "takes from an empty stack");
    u->stack_count -= count;
    return add_items(u, index, u->stack + u->stack_count, count);
}

// --- Classes: the short list of what may be made
// -----------------------------------------------------------------------
static const struct {
    const char *module, *name;
    eh_pickle_class class;
    eh_stored_dtype dtype;
    const char *dtype_name;
    size_t bytes;
} classes[] = {
    {"collections", "OrderedDict", EH_CLASS_DICT, EH_STORED_OTHER, "", 0},
    {"torch._utils", "_rebuild_tensor_v2", EH_CLASS_TENSOR, EH_STORED_OTHER, "", 0},
    {"torch._utils", "_rebuild_parameter", EH_CLASS_PARAMETER, EH_STORED_OTHER, "", 0},
    {"torch", "FloatStorage", EH_CLASS_STORAGE, EH_STORED_F32, "F32", 4},
    {"torch", "HalfStorage", EH_CLASS_STORAGE, EH_STORED_F16, "F16", 2},
    {"torch", "BFloat16Storage", EH_CLASS_STORAGE, EH_STORED_BF16, "BF16", 2},
    {"torch", "DoubleStorage", EH_CLASS_STORAGE, EH_STORED_F64, "F64", 8},
    {"torch", "LongStorage", EH_CLASS_STORAGE, EH_STORED_OTHER, "I64", 8},
    {"torch", "IntStorage", EH_CLASS_STORAGE, EH_STORED_OTHER, "I32", 4},
    {"torch", "ShortStorage", EH_CLASS_STORAGE, EH_STORED_OTHER, "I16", 2},
    {"torch", "CharStorage", EH_CLASS_STORAGE, EH_STORED_OTHER, "I8", 1},
    {"torch", "ByteStorage", EH_CLASS_STORAGE, EH_STORED_OTHER, "U8", 1},
    {"torch", "BoolStorage", EH_CLASS_STORAGE, EH_STORED_OTHER, "BOOL", 1},
};

static eh_status push_class(eh_unpickler *u, const char *module, size_t module_size, const char *name, size_t name_size)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].module) == module_size && memcmp(classes[i].module, module, module_size) == 0 &&
            strlen(classes[i].name) == name_size && memcmp(classes[i].name, name, name_size) == 0)
            return push_new(u, &(eh_object){.kind = EH_OBJECT_CLASS,
                                            .class = classes[i].class,
                                            .dtype = classes[i].dtype,
                                            .dtype_name = classes[i].dtype_name,
                                            .element_bytes = classes[i].bytes});
    return eh_error(EH_INPUT, "%s: wants to make a '%.*s.%.*s', only tensors are allowed", u->path,
                    (int)(module_size < 100 ? module_size : 100), module, (int)(name_size < 100 ? name_size : 100),
                    name);
}

static const eh_object *item(const eh_unpickler *u, const eh_object *container, int64_t i)
{
    return &u->objects[u->items[container->first + i]];
}

// ('storage', class, key, location, count) and, in the older format, a view (None).
static eh_status make_storage(eh_unpickler *u, int64_t index)
{
    const eh_object *id = &u->objects[index];
    if (id->kind != EH_OBJECT_TUPLE || id->count < 5 || item(u, id, 0)->kind != EH_OBJECT_TEXT ||
        item(u, id, 1)->kind != EH_OBJECT_CLASS || item(u, id, 1)->class != EH_CLASS_STORAGE ||
        item(u, id, 2)->kind != EH_OBJECT_TEXT || item(u, id, 4)->kind != EH_OBJECT_NUMBER ||
        item(u, id, 4)->number < 0)
        return fail(u, "names something else than a storage");
    if (id->count > 5 && item(u, id, 5)->kind != EH_OBJECT_NONE)
        return fail(u, "has a view of a storage, which is not supported");
    eh_object storage = *item(u, id, 1);
    storage.kind = EH_OBJECT_STORAGE;
    storage.text = item(u, id, 2)->text;
    storage.text_size = item(u, id, 2)->text_size;
    storage.number = item(u, id, 4)->number;
    return push_new(u, &storage);
}

static bool read_numbers(const eh_unpickler *u, const eh_object *tuple, int64_t *numbers)
{
    if (tuple->kind != EH_OBJECT_TUPLE || tuple->count > EH_STORED_DIMENSIONS)
        return false;
    for (int64_t i = 0; i < tuple->count; i++) {
        if (item(u, tuple, i)->kind != EH_OBJECT_NUMBER || item(u, tuple, i)->number < 0)
            return false;
        numbers[i] = item(u, tuple, i)->number;
    }
    return true;
}

// _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
static eh_status make_tensor(eh_unpickler *u, const eh_object *arguments)
{
    if (arguments->kind != EH_OBJECT_TUPLE || arguments->count < 4 ||
        item(u, arguments, 0)->kind != EH_OBJECT_STORAGE || item(u, arguments, 1)->kind != EH_OBJECT_NUMBER ||
        item(u, arguments, 1)->number < 0)
        return fail(u, "makes a tensor from something else than a storage");
    eh_object tensor = *item(u, arguments, 0);
    const eh_object *shape = item(u, arguments, 2), *strides = item(u, arguments, 3);
    int64_t steps[EH_STORED_DIMENSIONS], expected = 1;
    tensor.kind = EH_OBJECT_TENSOR;
    tensor.offset = item(u, arguments, 1)->number;
    if (!read_numbers(u, shape, tensor.shape) || !read_numbers(u, strides, steps) || strides->count != shape->count)
        return fail(u, "has a tensor whose shape or strides are no small numbers");
    tensor.dimension_count = (int)shape->count;
    tensor.is_dense = true;
    for (int64_t d = shape->count - 1; d >= 0; d--) {
        tensor.is_dense = tensor.is_dense && (tensor.shape[d] <= 1 || steps[d] == expected);
        if (__builtin_mul_overflow(expected, tensor.shape[d], &expected))
            return fail(u, "has a tensor that no file can hold");
    }
    tensor.number = expected; // elements
    return push_new(u, &tensor);
}

static eh_status reduce(eh_unpickler *u)
{
    int64_t arguments, function;
    EH_TRY(pop(u, &arguments));
    EH_TRY(pop(u, &function));
    const eh_object class = u->objects[function], tuple = u->objects[arguments];
    if (class.kind != EH_OBJECT_CLASS || tuple.kind != EH_OBJECT_TUPLE)
        return fail(u, "calls what is no class");
    if (class.class == EH_CLASS_DICT)
        return tuple.count == 0 ? make_container(u, EH_OBJECT_DICT, NULL, 0)
                                : fail(u, "has a dictionary made from a list");
    if (class.class == EH_CLASS_TENSOR)
        return make_tensor(u, &tuple);
    if (class.class == EH_CLASS_PARAMETER && tuple.count > 0)
        return push(u, u->items[tuple.first]);
    return fail(u, "calls a class that only names a type");
}

// --- Opcodes ---------------------------------------------------------------------------------------------------------
static eh_status take_bytes(eh_unpickler *u, size_t count, const uint8_t **bytes)
{
    if (count > u->size - u->at)
        return fail(u, "is cut off");
    *bytes = u->bytes + u->at;
    u->at += count;
    return EH_OK;
}

static eh_status take_number(eh_unpickler *u, size_t width, uint64_t *number)
{
    const uint8_t *bytes = NULL;
    EH_TRY(take_bytes(u, width, &bytes));
    *number = 0;
    for (size_t i = 0; i < width; i++) *number |= (uint64_t)bytes[i] << (8 * i);
    return EH_OK;
}

static eh_status push_number(eh_unpickler *u, int64_t number)
{
    return push_new(u, &(eh_object){.kind = EH_OBJECT_NUMBER, .number = number});
}

static eh_status push_text(eh_unpickler *u, size_t length_width)
{
    uint64_t length;
    const uint8_t *bytes = NULL;
    EH_TRY(take_number(u, length_width, &length));
    EH_TRY(take_bytes(u, length > u->size ? u->size + 1 : (size_t)length, &bytes));
    return push_new(u, &(eh_object){.kind = EH_OBJECT_TEXT, .text = (const char *)bytes, .text_size = (size_t)length});
}

static eh_status take_line(eh_unpickler *u, const char **line, size_t *size)
{
    const uint8_t *end = memchr(u->bytes + u->at, '\n', u->size - u->at);
    if (end == NULL)
        return fail(u, "is cut off");
    *line = (const char *)u->bytes + u->at;
    *size = (size_t)(end - (u->bytes + u->at));
    u->at += *size + 1;
    return EH_OK;
}

static eh_status push_global(eh_unpickler *u)
{
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    EH_TRY(take_line(u, &module, &module_size));
    EH_TRY(take_line(u, &name, &name_size));
    return push_class(u, module, module_size, name, name_size);
}

static eh_status push_stack_global(eh_unpickler *u)
{
    int64_t name, module;
    EH_TRY(pop(u, &name));
    EH_TRY(pop(u, &module));
    const eh_object *a = &u->objects[module], *b = &u->objects[name];
    if (a->kind != EH_OBJECT_TEXT || b->kind != EH_OBJECT_TEXT)
        return fail(u, "names a class without a name");
    return push_class(u, a->text, a->text_size, b->text, b->text_size);
}

// Integers of up to 8 bytes, two's complement.
static eh_status push_long(eh_unpickler *u)
{
    uint64_t width, number;
    EH_TRY(take_number(u, 1, &width));
    if (width > 8)
        return fail(u, "has a number of more than 64 bits");
    EH_TRY(take_number(u, (size_t)width, &number));
    if (width > 0 && width < 8 && (number >> (8 * width - 1) & 1) != 0)
        number |= ~(uint64_t)0 << (8 * width);
    return push_number(u, (int64_t)number);
}

static eh_status put_memo(eh_unpickler *u, uint64_t place)
{
    if (u->stack_count == 0 || u->stack[u->stack_count - 1] < 0)
        return fail(u, "remembers nothing");
    if (place > u->size) // each entry takes at least a byte of the pickle
        return fail(u, "remembers at an impossible place");
    while (u->memo_count <= (int64_t)place) {
        const int64_t none = -1;
        EH_TRY(EH_APPEND(&u->memo, &u->memo_count, &u->memo_capacity, none));
    }
    u->memo[place] = u->stack[u->stack_count - 1];
    return EH_OK;
}

static eh_status get_memo(eh_unpickler *u, uint64_t place)
{
    if (place >= (uint64_t)u->memo_count || u->memo[place] < 0)
        return fail(u, "asks for what it did not remember");
    return push(u, u->memo[place]);
}

static eh_status make_tuple(eh_unpickler *u, int64_t count)
{
    if (u->stack_count < count)
        return fail(u, "takes from an empty stack");
    for (int64_t i = 1; i <= count; i++)
        if (u->stack[u->stack_count - i] < 0)
            return fail(u, "takes from an empty stack");
    u->stack_count -= count;
    return make_container(u, EH_OBJECT_TUPLE, u->stack + u->stack_count, count);
}

static eh_status step(eh_unpickler *u, uint8_t opcode)
{
    uint64_t number = 0;
    int64_t index = -1;
    const uint8_t *bytes = NULL;
    switch (opcode) {
    case 0x80: // PROTO
        return take_bytes(u, 1, &bytes);
    case 0x95: // FRAME
        return take_bytes(u, 8, &bytes);
    case '(': // MARK
        return push(u, -1);
    case '}': // EMPTY_DICT
        return make_container(u, EH_OBJECT_DICT, NULL, 0);
    case ']': // EMPTY_LIST
        return make_container(u, EH_OBJECT_LIST, NULL, 0);
    case ')': // EMPTY_TUPLE
        return make_container(u, EH_OBJECT_TUPLE, NULL, 0);
    case 't': // TUPLE
        return since_mark(u, EH_OBJECT_TUPLE);
    case 'l': // LIST
        return since_mark(u, EH_OBJECT_LIST);
    case 0x85: // TUPLE1
    case 0x86:
    case 0x87:
        return make_tuple(u, opcode - 0x84);
    case 'u': // SETITEMS
    case 'e': // APPENDS
        return add_since_mark(u);
    case 's': // SETITEM
        return add_last(u, 2);
    case 'a': // APPEND
        return add_last(u, 1);
    case 'N': // NONE
        return push_new(u, &(eh_object){.kind = EH_OBJECT_NONE});
    case 0x88: // NEWTRUE
    case 0x89:
        return push_number(u, opcode == 0x88);
    case 'K': // BININT1
        EH_TRY(take_number(u, 1, &number));
        return push_number(u, (int64_t)number);
    case 'M': // BININT2
        EH_TRY(take_number(u, 2, &number));
        return push_number(u, (int64_t)number);
    case 'J': // BININT
        EH_TRY(take_number(u, 4, &number));
        return push_number(u, (int32_t)(uint32_t)number);
    case 0x8a: // LONG1
        return push_long(u);
    case 'G': // BINFLOAT, of metadata
        EH_TRY(take_bytes(u, 8, &bytes));
        return push_new(u, &(eh_object){.kind = EH_OBJECT_NONE});
    case 'X': // BINUNICODE
        return push_text(u, 4);
    case 0x8c: // SHORT_BINUNICODE
        return push_text(u, 1);
    case 'c': // GLOBAL
        return push_global(u);
    case 0x93: // STACK_GLOBAL
        return push_stack_global(u);
    case 'q': // BINPUT
        EH_TRY(take_number(u, 1, &number));
        return put_memo(u, number);
    case 'r': // LONG_BINPUT
        EH_TRY(take_number(u, 4, &number));
        return put_memo(u, number);
    case 0x94: // MEMOIZE
        return put_memo(u, (uint64_t)u->memo_count);
    case 'h': // BINGET
        EH_TRY(take_number(u, 1, &number));
        return get_memo(u, number);
    case 'j': // LONG_BINGET
        EH_TRY(take_number(u, 4, &number));
        return get_memo(u, number);
    case 'Q': // BINPERSID
        EH_TRY(pop(u, &index));
        return make_storage(u, index);
    case 'R': // REDUCE
        return reduce(u);
    case 'b': // BUILD: a state_dict's _metadata; nothing that tensors need
        return pop(u, &index);
    default:
        return eh_error(EH_INPUT, "%s: the pickle at byte %zu: opcode 0x%02x is not one that tensors need", u->path,
                        u->at - 1, opcode);
    }
}

eh_status eh_unpickle(eh_unpickler *u, int64_t *result)
{
    u->item_limit = (int64_t)u->size * 16 + 1024;
    while (u->at < u->size) {
        const uint8_t opcode = u->bytes[u->at++];
        if (opcode == '.')
            return pop(u, result);
        EH_TRY(step(u, opcode));
    }
    return fail(u, "is cut off");
}

void eh_unpickler_deinit(eh_unpickler *u)
{
    eh_free(&u->objects);
    eh_free(&u->items);
    eh_free(&u->stack);
    eh_free(&u->memo);
}
