// Writing a Hugging Face folder, and the digest that names a model. A file is written beside its goal and renamed.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/half.h"
#include "core/memory.h"
#include "core/sha256.h"
#include "io/safetensors.h"
#include "model/model_internal.h"

#define SHARD_BYTES (5000000000u) // as transformers counts 5 GB
#define CHUNK 1048576             // bytes that are downloaded at a time

static const char *stored_name(eh_dtype dtype)
{
    return dtype == EH_F32 ? "F32" : dtype == EH_BF16 ? "BF16" : "F16";
}

static eh_dtype dtype_of(const eh_model *model, int64_t p)
{
    return model->shared.how.level == 3 ? EH_F32 : model->layout.slots[p].value.dtype;
}

// Of a model whose weights are divided: all ranks go through all pieces, whatever becomes of them.
static eh_status each_shared_piece(eh_model *model, int64_t p, uint8_t *piece,
                                   eh_status (*take)(void *context, const void *bytes, size_t size), void *context)
{
    const int64_t total = model->layout.parameters[p].count, most = CHUNK / (int64_t)sizeof(float);
    eh_status status = EH_OK;
    for (int64_t first = 0; first < total; first += most) {
        const int64_t count = total - first < most ? total - first : most;
        EH_TRY(eh_sharing_read(model, p, first, count, (float *)(void *)piece));
        if (status == EH_OK && take != NULL)
            status = take(context, piece, (size_t)count * sizeof(float));
    }
    return status;
}

// Calls `take` with the bytes of a parameter, a piece at a time.
static eh_status each_piece(eh_model *model, int64_t p, uint8_t *piece,
                            eh_status (*take)(void *context, const void *bytes, size_t size), void *context)
{
    if (model->shared.how.level == 3 && !eh_adapters_change(model, p))
        return each_shared_piece(model, p, piece, take, context);
    eh_merging merging = {0};
    eh_tensor merged;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_adapters_merge(model, p, &merging, &merged));
    const size_t element = eh_dtype_bytes(merged.dtype);
    const int64_t count = eh_tensor_count(&merged), most = CHUNK / (int64_t)element;
    for (int64_t first = 0; take != NULL && first < count; first += most) {
        const int64_t now = count - first < most ? count - first : most;
        eh_tensor part = merged;
        part.offset += (size_t)first * element;
        part.dimension_count = 1;
        part.shape[0] = now;
        EH_TRY_OR(done, eh_backend_download(model->backend, &part, piece));
        EH_TRY_OR(done, take(context, piece, (size_t)now * element));
    }
done:
    eh_merging_deinit(&merging);
    return status;
}

static eh_status append(void *context, const void *bytes, size_t size)
{
    return eh_safetensors_append(context, bytes, size);
}

eh_status eh_save_tensors(eh_model *model, const char *path, const eh_safetensors_entry *entries, int64_t count)
{
    eh_status status = EH_OK;
    eh_string part = {0};
    eh_safetensors_writer *writer = NULL;
    uint8_t *piece = NULL;
    EH_TRY_OR(done, EH_ALLOC(CHUNK, &piece));
    EH_TRY_OR(done, eh_string_printf(&part, "%s.part", path));
    EH_TRY_OR(done, eh_safetensors_create(part.bytes, entries, count, &writer));
    for (int64_t i = 0; i < count; i++) {
        const int64_t kept = entries[i].index - model->layout.count;
        EH_TRY_OR(done, kept >= 0 ? eh_safetensors_append(writer, model->kept[kept]->bytes, model->kept[kept]->size)
                                  : each_piece(model, entries[i].index, piece, append, writer));
    }
    EH_TRY_OR(done, eh_safetensors_finish(&writer));
    if (rename(part.bytes, path) != 0)
        status = eh_error(EH_MACHINE, "%s: cannot rename: %s", part.bytes, strerror(errno));
done:
    eh_safetensors_abandon(&writer);
    if (status != EH_OK && part.bytes != NULL)
        (void)unlink(part.bytes);
    eh_string_deinit(&part);
    eh_free(&piece);
    return status;
}

static eh_status write_text(const char *folder, const char *name, const char *text)
{
    eh_status status = EH_OK;
    eh_string path = {0}, part = {0};
    FILE *stream = NULL;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/%s", folder, name));
    EH_TRY_OR(done, eh_string_printf(&part, "%s.part", path.bytes));
    stream = fopen(part.bytes, "wb");
    bool written = stream != NULL && fputs(text, stream) >= 0 && fputc('\n', stream) >= 0 && fflush(stream) == 0 &&
                   fsync(fileno(stream)) == 0;
    written = (stream == NULL || fclose(stream) == 0) && written;
    if (!written || rename(part.bytes, path.bytes) != 0)
        status = eh_error(EH_MACHINE, "%s: cannot write: %s", path.bytes, strerror(errno));
done:
    eh_string_deinit(&path);
    eh_string_deinit(&part);
    return status;
}

eh_status eh_save_json(const char *folder, const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (text == NULL)
        return eh_error(EH_MACHINE, "%s/%s: no memory for its text", folder, name);
    const eh_status status = write_text(folder, name, text);
    free(text); // jansson's
    return status;
}

// The configuration as it came, with the dtype and class of what is in the file now.
static eh_status write_configs(const eh_model *model, const char *folder)
{
    const bool all_fp32 = model->use == EH_FOR_TRAINING || model->compute == EH_F32;
    const char *dtype = all_fp32 ? "float32" : model->compute == EH_BF16 ? "bfloat16" : "float16";
    json_t *config = json_deep_copy(model->config);
    json_t *generation = json_object();
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"};
    json_object_del(config, "torch_dtype");
    json_object_set_new(config, "dtype", json_string(dtype)); // transformers 5; 4 takes its default, fp32
    json_object_set_new(config, "torch_dtype", json_string(dtype));
    const char *class = NULL;
    for (const eh_arch_class *c = model->arch->classes; c->name != NULL && class == NULL; c++)
        class = c->head == model->t.head ? c->name : NULL;
    if (json_array_size(json_object_get(config, "architectures")) == 0)
        json_object_set_new(config, "architectures", json_pack("[s]", class));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_is_integer(json_object_get(config, keys[i])))
            json_object_set(generation, keys[i], json_object_get(config, keys[i]));
    json_object_set_new(generation, "_from_model_config", json_true());
    eh_status status = eh_save_json(folder, "config.json", config);
    if (status == EH_OK && model->t.kind != EH_ENCODER)
        status = eh_save_json(folder, "generation_config.json", generation);
    json_decref(config);
    json_decref(generation);
    return status;
}

static eh_status copy_file(const char *from, const char *to_folder, const char *name)
{
    eh_status status = EH_OK;
    eh_string path = {0};
    eh_mapped_file file = {0};
    FILE *stream = NULL;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/%s", from, name));
    if (access(path.bytes, F_OK) != 0)
        goto done; // a tokenizer need not have all of these files
    EH_TRY_OR(done, eh_mapped_file_open(path.bytes, &file));
    eh_string_clear(&path);
    EH_TRY_OR(done, eh_string_printf(&path, "%s/%s", to_folder, name));
    stream = fopen(path.bytes, "wb");
    bool written = stream != NULL && fwrite(file.bytes, 1, file.size, stream) == file.size;
    written = (stream == NULL || fclose(stream) == 0) && written;
    if (!written)
        status = eh_error(EH_MACHINE, "%s: cannot write: %s", path.bytes, strerror(errno));
done:
    eh_mapped_file_close(&file);
    eh_string_deinit(&path);
    return status;
}

static bool is_same_folder(const char *one, const char *other)
{
    struct stat a, b;
    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static eh_status copy_tokenizer(const char *from, const char *to)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "spiece.model",
                                        "sentencepiece.bpe.model",
                                        "chat_template.jinja"};
    if (from == NULL || is_same_folder(from, to))
        return EH_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) EH_TRY(copy_file(from, to, names[i]));
    return EH_OK;
}

// How many entries from `first` on fit one shard; at least one.
static int64_t shard_length(const eh_safetensors_entry *entries, int64_t first, int64_t count, uint64_t limit)
{
    uint64_t bytes = entries[first].size;
    int64_t end = first + 1;
    while (end < count && bytes + entries[end].size <= limit) bytes += entries[end++].size;
    return end - first;
}

static eh_status write_shards(eh_model *model, const char *folder, const eh_safetensors_entry *entries, int64_t count,
                              uint64_t limit)
{
    eh_status status = EH_OK;
    eh_string path = {0};
    int64_t shards = 0, total = 0;
    json_t *map = json_object(), *index = NULL;
    for (int64_t first = 0; first < count; first += shard_length(entries, first, count, limit)) shards++;
    for (int64_t first = 0, shard = 1; first < count; shard++) {
        const int64_t length = shard_length(entries, first, count, limit);
        char name[64] = "model.safetensors";
        if (shards > 1)
            snprintf(name, sizeof name, "model-%05lld-of-%05lld.safetensors", (long long)shard, (long long)shards);
        eh_string_clear(&path);
        EH_TRY_OR(done, eh_string_printf(&path, "%s/%s", folder, name));
        EH_TRY_OR(done, eh_save_tensors(model, path.bytes, entries + first, length));
        for (int64_t i = first; i < first + length; i++) {
            json_object_set_new(map, entries[i].name, json_string(name));
            total += (int64_t)entries[i].size;
        }
        first += length;
    }
    if (shards > 1) {
        index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
        status = eh_save_json(folder, "model.safetensors.index.json", index);
    }
done:
    json_decref(index);
    json_decref(map);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_save_attend(eh_model *model, int64_t first, int64_t count)
{
    uint8_t *piece = NULL;
    eh_status status = EH_ALLOC(CHUNK, &piece);
    for (int64_t p = first; status == EH_OK && p < first + count; p++) status = each_piece(model, p, piece, NULL, NULL);
    eh_free(&piece);
    return status;
}

static eh_status remove_file(const char *folder, const char *name)
{
    eh_string path = {0};
    eh_status status = eh_string_printf(&path, "%s/%s", folder, name);
    if (status == EH_OK && unlink(path.bytes) != 0 && errno != ENOENT)
        status = eh_error(EH_MACHINE, "%s: cannot remove: %s", path.bytes, strerror(errno));
    eh_string_deinit(&path);
    return status;
}

eh_status eh_model_save_unmerged(eh_model *model, const char *folder, const char *base, const char *tokenizer_folder)
{
    if (model->shared.how.level == 3 && eh_comm_rank(model->shared.how.comm) != 0)
        return eh_model_save_adapter(model, folder, base);
    if (is_same_folder(folder, base))
        return eh_error(EH_INPUT, "%s: is the model that the adapter would be for", folder);
    EH_TRY(eh_model_save_adapter(model, folder, base));
    EH_TRY(remove_file(folder, "model.safetensors"));
    EH_TRY(remove_file(folder, "model.safetensors.index.json"));
    EH_TRY(copy_tokenizer(tokenizer_folder, folder));
    return write_configs(model, folder);
}

// Beside the others; entries[k].index says that its bytes are the file's.
static void add_kept(const eh_model *model, eh_safetensors_entry *entries, char (*names)[256])
{
    static const char *const kept_types[] = {
        [EH_STORED_F32] = "F32", [EH_STORED_BF16] = "BF16", [EH_STORED_F16] = "F16"};
    for (int64_t k = 0; k < model->kept_count; k++) {
        const eh_stored_tensor *kept = model->kept[k];
        eh_kept_name(model, k, names[k]);
        entries[k] = (eh_safetensors_entry){.name = names[k],
                                            .dtype = kept_types[kept->dtype],
                                            .dimension_count = kept->dimension_count,
                                            .size = kept->size,
                                            .index = model->layout.count + k};
        memcpy(entries[k].shape, kept->shape, sizeof entries[k].shape);
    }
}

eh_status eh_model_save_shards(eh_model *model, const char *folder, const char *tokenizer_folder, uint64_t shard_bytes)
{
    eh_status status = EH_OK;
    eh_safetensors_entry *entries = NULL;
    char(*names)[256] = NULL; // of what is kept
    const int64_t count = model->layout.own_count;
    if (model->shared.how.level == 3 && eh_comm_rank(model->shared.how.comm) != 0)
        return eh_save_attend(model, 0, count);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return eh_error(EH_MACHINE, "%s: cannot make the folder: %s", folder, strerror(errno));
    EH_TRY_OR(done, EH_ALLOC(count + model->kept_count, &entries));
    EH_TRY_OR(done, EH_ALLOC(model->kept_count, &names));
    add_kept(model, entries + count, names);
    for (int64_t p = 0; p < count; p++) {
        const eh_parameter *parameter = &model->layout.parameters[p];
        const eh_dtype dtype = dtype_of(model, p);
        entries[p] = (eh_safetensors_entry){.name = parameter->name,
                                            .dtype = stored_name(dtype),
                                            .dimension_count = parameter->dimension_count,
                                            .size = (size_t)parameter->count * eh_dtype_bytes(dtype),
                                            .index = p};
        memcpy(entries[p].shape, parameter->shape, sizeof entries[p].shape);
    }
    EH_TRY_OR(done, write_shards(model, folder, entries, count + model->kept_count, shard_bytes));
    EH_TRY_OR(done, remove_file(folder, "adapter_config.json")); // of eh_model_save_unmerged: it would be merged again
    EH_TRY_OR(done, copy_tokenizer(tokenizer_folder, folder));
    status = write_configs(model, folder);
done:
    eh_free(&entries);
    eh_free(&names);
    return status;
}

eh_status eh_model_save(eh_model *model, const char *folder, const char *tokenizer_folder)
{
    return eh_model_save_shards(model, folder, tokenizer_folder, SHARD_BYTES);
}

// --- Digest ------------------------------------------------------------------------------------------------------
typedef struct {
    eh_sha256 sha;
    eh_dtype dtype;
} digest;

static eh_status add_values(void *context, const void *bytes, size_t size)
{
    digest *own = context;
    if (own->dtype == EH_F32) {
        eh_sha256_add(&own->sha, bytes, size);
        return EH_OK;
    }
    float values[256]; // as fp32, so that a model has one digest in whatever dtype it is kept
    const uint16_t *halves = bytes;
    for (size_t first = 0; first < size / 2; first += 256) {
        const size_t count = size / 2 - first < 256 ? size / 2 - first : 256;
        for (size_t i = 0; i < count; i++)
            values[i] =
                own->dtype == EH_BF16 ? eh_bf16_to_float(halves[first + i]) : eh_fp16_to_float(halves[first + i]);
        eh_sha256_add(&own->sha, values, count * 4);
    }
    return EH_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const eh_parameter *const *)a)->name, (*(const eh_parameter *const *)b)->name);
}

eh_status eh_model_digest(eh_model *model, char text[65])
{
    eh_status status = EH_OK;
    const eh_parameter **order = NULL;
    uint8_t *piece = NULL, bytes[EH_SHA256_BYTES];
    const int64_t count = model->layout.own_count;
    digest own;
    eh_sha256_begin(&own.sha);
    EH_TRY_OR(done, EH_ALLOC(CHUNK, &piece));
    EH_TRY_OR(done, EH_ALLOC(count, &order));
    for (int64_t p = 0; p < count; p++) order[p] = &model->layout.parameters[p];
    qsort(order, (size_t)count, sizeof *order, compare_names);
    for (int64_t i = 0; i < count; i++) {
        const int64_t p = order[i] - model->layout.parameters;
        char shape[160];
        eh_shape_text(order[i]->shape, order[i]->dimension_count, shape);
        eh_sha256_add(&own.sha, order[i]->name, strlen(order[i]->name) + 1);
        eh_sha256_add(&own.sha, shape, strlen(shape) + 1);
        own.dtype = dtype_of(model, p);
        EH_TRY_OR(done, each_piece(model, p, piece, add_values, &own));
    }
    eh_sha256_end(&own.sha, bytes);
    eh_sha256_to_text(bytes, text);
done:
    eh_free(&order);
    eh_free(&piece);
    return status;
}
