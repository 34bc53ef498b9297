// How fast each operation is, one line each: milliseconds, GFLOP/s, GB/s. The times are the processor's, divided by the
// threads, because other programs may share the machine: the median and the quickest of the runs that fit in `seconds`,
// and the quickest by the clock on the wall. The rates are those of the quickest.
//   bench_ops [-d device] [-t threads] [-s seconds] [-p fp32|bf16|fp16] [-o part of a name] [-m] [-g gpu] [-S]
// On a GPU, calls are queued by tens and timed by the clock, and shapes are those of a batch of 8192 tokens where
// arithmetic bounds and of 32768 where memory does, so that no cache holds what a call reads. -g: the share of what
// bounds the operation, by the published peaks of t4, v100, a100, h100 or h200 (job/roofline.h). -m: rows of Markdown.
// -S: small shapes, to try the program. The shapes are those of peers/BASELINE.md section 1, and of a bloom-560m step
// (486 tokens, 38 labels, 250,880 words).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/backend.h"
#include "core/clock.h"
#include "job/roofline.h"

typedef struct {
    eh_backend *backend;
    double seconds;
    int threads;
    eh_dtype dtype;
    const char *only;
    bool queues, markdown, small;     // queues: a GPU; small: shapes that an emulated one does in a moment
    const eh_roofline_device *device; // NULL: no bound is told
} bench;

// Seconds of all threads of this process.
static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(eh_status status)
{
    if (status == EH_OK)
        return;
    fprintf(stderr, "%s\n", eh_error_message());
    exit(eh_exit_code(status));
}

static eh_tensor tensor(const bench *b, int64_t rows, int64_t columns, eh_dtype dtype)
{
    eh_tensor t = {.dtype = dtype, .dimension_count = columns > 0 ? 2 : 1, .shape = {rows, columns}};
    must(eh_buffer_new(b->backend, eh_tensor_bytes(&t), "the benchmark", &t.buffer));
    if (dtype != EH_I32)
        must(eh_fill(b->backend, 0.01f, &t)); // touches every page; the numbers do not matter to the time
    return t;
}

typedef struct {
    eh_product product;
    eh_output_layer output;
    eh_attention attention;
    eh_heads query, key, value, mix;
    eh_attention_grads attention_grads;
    eh_norm norm;
    eh_tensor x, y, z, mean, scale, row_weight;
    eh_adamw adamw;
} operands;

typedef eh_status run_function(eh_backend *backend, const operands *o);

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Seconds of a call among calls that are queued together.
static double queued_seconds(const bench *b, run_function *run, const operands *o)
{
    int together = 10;
    const double begin = eh_seconds();
    double best = 1e9;
    for (int round = 0; round < 3 || eh_seconds() - begin < b->seconds; round++) {
        const double start = eh_seconds();
        for (int i = 0; i < together; i++) must(run(b->backend, o));
        must(eh_backend_wait(b->backend));
        const double each = (eh_seconds() - start) / together;
        best = each < best ? each : best;
        together = each > 0.05 ? 1 : 10; // what takes long needs no queue
    }
    return best;
}

static void print_queued(const bench *b, const char *name, double seconds, double flops, double bytes)
{
    char bound[64] = "|";
    if (b->device != NULL) {
        const double peak = b->dtype == EH_F32 ? b->device->single_tflops : b->device->half_tflops;
        const double by_flops = flops / (peak * 1e12), by_bytes = bytes / (b->device->gigabytes_per_second * 1e9);
        snprintf(bound, sizeof bound, "%s | %.0f %%", by_flops > by_bytes ? "FLOP" : "bytes",
                 100 * (by_flops > by_bytes ? by_flops : by_bytes) / seconds);
    }
    printf("| %s | %.4f | %.1f | %.1f | %s |\n", name, seconds * 1e3, flops / seconds * 1e-9, bytes / seconds * 1e-9,
           bound);
    fflush(stdout);
}

static void measure(const bench *b, const char *name, run_function *run, const operands *o, double flops, double bytes)
{
    enum { RUNS = 1000 };
    double times[RUNS], wall = 1e9;
    int count = 0;
    if (b->only != NULL && strstr(name, b->only) == NULL)
        return;
    must(run(b->backend, o));
    must(eh_backend_wait(b->backend));
    if (b->queues) {
        print_queued(b, name, queued_seconds(b, run, o), flops, bytes);
        return;
    }
    const double begin = eh_seconds();
    while (count < RUNS && (count < 3 || eh_seconds() - begin < b->seconds)) {
        const double start = eh_seconds(), processor = processor_seconds();
        must(run(b->backend, o));
        must(eh_backend_wait(b->backend));
        times[count++] = (processor_seconds() - processor) / b->threads;
        wall = eh_seconds() - start < wall ? eh_seconds() - start : wall;
    }
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("%-44s %10.3f ms %8.1f GFLOP/s %7.1f GB/s  median %.3f ms, wall %.3f ms, %d runs\n", name, times[0] * 1e3,
           flops / times[0] * 1e-9, bytes / times[0] * 1e-9, times[count / 2] * 1e3, wall * 1e3, count);
    fflush(stdout);
}

static eh_status run_product(eh_backend *backend, const operands *o)
{
    return eh_multiply(backend, &o->product);
}

static void bench_product(const bench *b, const char *kind, int64_t m, int64_t k, int64_t n, bool constant)
{
    char name[96];
    const bool gradient = strcmp(kind, "gradient") == 0;
    snprintf(name, sizeof name, "product %s %lldx%lld->%lld%s", kind, (long long)m, (long long)k, (long long)n,
             constant ? " packed" : "");
    if (b->only != NULL && strstr(name, b->only) == NULL)
        return;
    operands o = {.product = {.a = tensor(b, gradient ? k : m, gradient ? m : k, b->dtype),
                              .b = strcmp(kind, "forward") == 0 ? tensor(b, n, k, b->dtype) : tensor(b, k, n, b->dtype),
                              .y = tensor(b, m, n, gradient ? EH_F32 : b->dtype),
                              .transpose_a = gradient,
                              .transpose_b = strcmp(kind, "forward") == 0,
                              .b_is_constant = constant,
                              .mode = gradient ? EH_ADD : EH_WRITE}};
    measure(b, name, run_product, &o, 2.0 * (double)m * (double)n * (double)k,
            (double)(eh_tensor_bytes(&o.product.a) + eh_tensor_bytes(&o.product.b) + eh_tensor_bytes(&o.product.y)));
    eh_buffer_free(&o.product.a.buffer);
    eh_buffer_free(&o.product.b.buffer);
    eh_buffer_free(&o.product.y.buffer);
}

static void bench_products(const bench *b)
{
    const int64_t forward[][3] = {{1024, 1024, 3072}, {1024, 1024, 4096}, {1024, 4096, 1024}, {256, 4096, 1024},
                                  {1024, 512, 384},   {486, 1024, 4096},  {64, 1024, 4096},   {24, 1024, 4096}};
    for (size_t i = 0; i < sizeof forward / sizeof *forward; i++)
        bench_product(b, "forward", forward[i][0], forward[i][1], forward[i][2], false);
    for (size_t i = 0; i < sizeof forward / sizeof *forward; i++)
        bench_product(b, "forward", forward[i][0], forward[i][1], forward[i][2], true);
    bench_product(b, "backward", 1024, 4096, 1024, false);
    bench_product(b, "gradient", 4096, 1024, 1024, false);
    for (int64_t rows = 1; rows <= 16; rows *= 2) bench_product(b, "forward", rows, 4096, 32768, false);
    bench_product(b, "forward", 1, 4096, 32768, true);
}

static eh_status run_output(eh_backend *backend, const operands *o)
{
    return eh_output_forward(backend, &o->output);
}
static eh_status run_output_both(eh_backend *backend, const operands *o)
{
    EH_TRY(eh_output_forward(backend, &o->output));
    return eh_output_backward(backend, &o->output, &o->row_weight, &o->x, &o->y, &o->z);
}

static void bench_output(const bench *b)
{
    const int64_t width = b->small ? 64 : 1024, words = b->small ? 1000 : 250880;
    const int64_t labels[] = {b->queues ? 256 : 38, b->queues ? 2048 : 64, b->queues ? 8192 : 256};
    if (b->only != NULL && strstr("output", b->only) == NULL)
        return;
    operands o = {.output = {.weight = tensor(b, words, width, b->dtype), .scale = 1, .backward_follows = true}};
    o.y = tensor(b, words, width, EH_F32);
    for (int i = 0; i < 3; i++) {
        const int64_t n = b->small ? labels[i] / 64 : labels[i];
        char name[64];
        o.output.hidden = tensor(b, n, width, b->dtype);
        o.output.target = tensor(b, n, 0, EH_I32);
        o.output.log_probability = tensor(b, n, 0, EH_F32);
        o.output.log_sum_exp = tensor(b, n, 0, EH_F32);
        o.row_weight = tensor(b, n, 0, EH_F32);
        o.x = tensor(b, n, width, b->dtype);
        const double flops = 2.0 * (double)n * (double)width * (double)words;
        const double bytes = (double)eh_tensor_bytes(&o.output.weight);
        snprintf(name, sizeof name, "output forward %lld labels", (long long)n);
        measure(b, name, run_output, &o, flops, bytes);
        snprintf(name, sizeof name, "output forward and backward %lld labels", (long long)n);
        measure(b, name, run_output_both, &o, 3 * flops, 2 * bytes + 2 * (double)eh_tensor_bytes(&o.y));
    }
}

static eh_status run_attention(eh_backend *backend, const operands *o)
{
    return eh_attention_forward(backend, &o->attention, &o->query, &o->key, &o->value, &o->mix, &o->scale);
}
static eh_status run_attention_backward(eh_backend *backend, const operands *o)
{
    return eh_attention_backward(backend, &o->attention, &o->attention_grads);
}

static void bench_attention(const bench *b, int64_t segments, int64_t length)
{
    char name[64];
    const int64_t heads = 16, size = 64, rows = segments * length, wide = heads * size;
    eh_segment *list = calloc((size_t)segments, sizeof *list);
    for (int64_t s = 0; s < segments; s++)
        list[s] =
            (eh_segment){(int32_t)(s * length), (int32_t)length, (int32_t)(s * length), (int32_t)length, 0, 0, 0, 0};
    operands o = {.attention = {.head_count = heads,
                                .head_size = size,
                                .scale = 0.125f,
                                .causal = true,
                                .position_bias = EH_ALIBI,
                                .host_segments = list,
                                .segment_count = segments}};
    o.attention.alibi_slopes = tensor(b, heads, 0, EH_F32);
    o.attention.segments = tensor(b, segments, EH_SEGMENT_WORDS, EH_I32);
    must(eh_backend_upload(b->backend, list, &o.attention.segments));
    eh_heads *all[] = {&o.query,
                       &o.key,
                       &o.value,
                       &o.mix,
                       &o.attention_grads.grad_output,
                       &o.attention_grads.grad_query,
                       &o.attention_grads.grad_key,
                       &o.attention_grads.grad_value};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = (eh_heads){tensor(b, rows, wide, b->dtype), wide, size};
    o.scale = tensor(b, rows, heads, EH_F32);
    o.attention_grads.query = o.query;
    o.attention_grads.key = o.key;
    o.attention_grads.value = o.value;
    o.attention_grads.output = o.mix;
    o.attention_grads.log_sum_exp = o.scale;
    const double flops = 4.0 * (double)(segments * length * (length + 1) / 2) * (double)wide;
    snprintf(name, sizeof name, "attention forward %lld x %lld", (long long)segments, (long long)length);
    measure(b, name, run_attention, &o, flops, 4.0 * (double)eh_tensor_bytes(&o.query.tensor));
    snprintf(name, sizeof name, "attention backward %lld x %lld", (long long)segments, (long long)length);
    measure(b, name, run_attention_backward, &o, 2.5 * flops, 9.0 * (double)eh_tensor_bytes(&o.query.tensor));
    free(list);
}

static eh_status run_gelu(eh_backend *backend, const operands *o)
{
    return eh_activation_forward(backend, EH_GELU_TANH, &o->x, &o->mean, &o->y);
}
static eh_status run_gelu_backward(eh_backend *backend, const operands *o)
{
    return eh_activation_backward(backend, EH_GELU_TANH, &o->x, &o->mean, &o->z, &o->y, &o->mean);
}
static eh_status run_norm(eh_backend *backend, const operands *o)
{
    return eh_norm_forward(backend, &o->norm, &o->x, &o->y, &o->x, &o->z, &o->mean, &o->scale);
}
static eh_status run_norm_backward(eh_backend *backend, const operands *o)
{
    return eh_norm_backward(backend, &o->norm, &o->x, &o->mean, &o->scale, &o->z, EH_ADD, &o->y, &o->norm.weight,
                            &o->norm.bias);
}
static eh_status run_adamw(eh_backend *backend, const operands *o)
{
    return eh_adamw_step(backend, &o->adamw, &o->x, &o->y, &o->mean, &o->scale, &o->z);
}
static eh_status run_squared_norm(eh_backend *backend, const operands *o)
{
    double sum;
    return eh_squared_norm(backend, &o->x, &sum);
}

static void bench_small(const bench *b)
{
    operands o = {
        .x = tensor(b, 486, 4096, b->dtype), .y = tensor(b, 486, 4096, b->dtype), .z = tensor(b, 486, 4096, b->dtype)};
    const double bytes = (double)eh_tensor_bytes(&o.x), count = (double)eh_tensor_count(&o.x);
    measure(b, "gelu forward 486 x 4096", run_gelu, &o, 10 * count, 2 * bytes);
    measure(b, "gelu backward 486 x 4096", run_gelu_backward, &o, 20 * count, 3 * bytes);
    operands n = {.x = tensor(b, 1024, 1024, b->dtype),
                  .y = tensor(b, 1024, 1024, b->dtype),
                  .z = tensor(b, 1024, 1024, b->dtype)};
    n.mean = tensor(b, 1024, 0, EH_F32);
    n.scale = tensor(b, 1024, 0, EH_F32);
    n.norm = (eh_norm){EH_LAYER_NORM, 1e-5f, tensor(b, 1024, 0, EH_F32), tensor(b, 1024, 0, EH_F32)};
    const double size = (double)eh_tensor_bytes(&n.x), elements = (double)eh_tensor_count(&n.x);
    measure(b, "norm forward + residual 1024 x 1024", run_norm, &n, 8 * elements, 4 * size);
    measure(b, "norm backward 1024 x 1024", run_norm_backward, &n, 14 * elements, 4 * size);
}

static void bench_optimiser(const bench *b)
{
    const int64_t many = b->small ? 4096 : (int64_t)32 << 20;
    operands a = {.x = tensor(b, many, 0, EH_F32), .y = tensor(b, many, 0, EH_F32), .mean = tensor(b, many, 0, EH_F32)};
    a.scale = tensor(b, many, 0, EH_F32);
    a.z = tensor(b, many, 0, EH_BF16);
    a.adamw = (eh_adamw){1e-4f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, 10, false};
    measure(b, "adamw, bf16 copy, 32M weights", run_adamw, &a, 15 * (double)many, 30 * (double)many);
    measure(b, "squared norm, 32M numbers", run_squared_norm, &a, 2 * (double)many, 4 * (double)many);
}

static eh_status run_activated(eh_backend *backend, const operands *o)
{
    return eh_multiply_activate(backend, &o->product, EH_GELU_TANH, &o->x);
}
static eh_status run_gather(eh_backend *backend, const operands *o)
{
    return eh_gather_rows(backend, &o->x, &o->mean, EH_WRITE, &o->y);
}
static eh_status run_scatter(eh_backend *backend, const operands *o)
{
    return eh_scatter_add_rows(backend, &o->y, &o->mean, &o->z);
}
static eh_status run_column_sum(eh_backend *backend, const operands *o)
{
    return eh_column_sum(backend, &o->y, &o->scale);
}
static eh_status run_dropout(eh_backend *backend, const operands *o)
{
    return eh_dropout(backend, &o->y, 0.1f, 7, 0, &o->y);
}
static eh_status run_convert(eh_backend *backend, const operands *o)
{
    return eh_convert(backend, &o->row_weight, &o->y);
}
static eh_status run_log_softmax(eh_backend *backend, const operands *o)
{
    return eh_log_softmax_rows(backend, &o->x);
}
static eh_status run_sample(eh_backend *backend, const operands *o)
{
    const eh_sampling sampling = {
        .logits = o->x, .draws = o->y, .penalty = 1, .temperature = 1, .top_p = 0.9, .top_k = 50, .index = o->z};
    return eh_sample_rows(backend, &sampling);
}

// How many of the ids differ: rows that memory is asked for once.
static int64_t count_different(const int32_t *ids, int64_t count, int64_t words)
{
    unsigned char *seen = calloc((size_t)words, 1);
    int64_t different = 0;
    for (int64_t i = 0; i < count; i++) {
        different += !seen[ids[i]];
        seen[ids[i]] = 1;
    }
    free(seen);
    return different;
}

static void measure_named(const bench *b, const char *what, int64_t m, int64_t n, run_function *run, const operands *o,
                          double flops, double bytes)
{
    char name[96];
    snprintf(name, sizeof name, "%s %lld x %lld", what, (long long)m, (long long)n);
    measure(b, name, run, o, flops, bytes);
}

static void bench_wide(const bench *b, int64_t tokens, int64_t width)
{
    const int64_t wide = 4 * width, many = 4 * tokens;
    const double element = (double)eh_dtype_bytes(b->dtype), in = (double)(tokens * width);
    const double out = (double)(tokens * wide), inner = (double)(many * wide), flops = 2 * in * (double)wide;
    operands p = {.product = {.a = tensor(b, tokens, width, b->dtype),
                              .b = tensor(b, wide, width, b->dtype),
                              .bias = tensor(b, wide, 0, EH_F32),
                              .y = tensor(b, tokens, wide, b->dtype),
                              .transpose_b = true},
                  .x = tensor(b, tokens, wide, b->dtype)};
    const double weights = (double)eh_tensor_bytes(&p.product.b);
    measure_named(b, "product to four times the width,", tokens, width, run_product, &p, flops,
                  element * (in + out) + weights);
    measure_named(b, "product and gelu to four times the width,", tokens, width, run_activated, &p, flops,
                  element * (in + 2 * out) + weights);
    operands a = {.x = tensor(b, many, wide, b->dtype),
                  .y = tensor(b, many, wide, b->dtype),
                  .z = tensor(b, many, wide, b->dtype)};
    measure_named(b, "gelu forward", many, wide, run_gelu, &a, 10 * inner, 2 * element * inner);
    measure_named(b, "gelu backward", many, wide, run_gelu_backward, &a, 20 * inner, 3 * element * inner);
}

// What batches of bloomz-560m's shape ask of each kernel.
static void bench_large(const bench *b)
{
    const int64_t tokens = b->small ? 64 : 8192, many = 4 * tokens, width = b->small ? 64 : 1024;
    const int64_t words = b->small ? 1000 : 250880, sampled = b->small ? 2 : 256;
    const double element = (double)eh_dtype_bytes(b->dtype), rows = (double)(many * width);
    bench_wide(b, tokens, width);
    operands n = {.x = tensor(b, many, width, b->dtype),
                  .y = tensor(b, many, width, b->dtype),
                  .z = tensor(b, many, width, b->dtype),
                  .mean = tensor(b, many, 0, EH_F32),
                  .scale = tensor(b, many, 0, EH_F32),
                  .norm = {EH_LAYER_NORM, 1e-5f, tensor(b, width, 0, EH_F32), tensor(b, width, 0, EH_F32)}};
    measure_named(b, "norm forward + residual", many, width, run_norm, &n, 8 * rows, 4 * element * rows);
    measure_named(b, "norm backward", many, width, run_norm_backward, &n, 14 * rows,
                  (4 + 2) * element * rows); // two kernels
    operands r = {.x = tensor(b, words, width, b->dtype),
                  .y = tensor(b, many, width, b->dtype),
                  .z = tensor(b, words, width, EH_F32),
                  .mean = tensor(b, many, 0, EH_I32),
                  .scale = tensor(b, width, 0, EH_F32),
                  .row_weight = tensor(b, many, width, EH_F32)};
    int32_t *ids = calloc((size_t)many, sizeof *ids);
    for (int64_t i = 0; i < many; i++)
        ids[i] = (int32_t)(((uint64_t)i * 2654435761u >> 7) % (uint64_t)(i % 3 == 0 ? 64 : words));
    const double different = (double)(count_different(ids, many, words) * width);
    must(eh_backend_upload(b->backend, ids, &r.mean));
    must(eh_backend_wait(b->backend));
    free(ids);
    measure_named(b, "embedding forward", many, width, run_gather, &r, 0, element * (rows + different));
    measure_named(b, "embedding backward", many, width, run_scatter, &r, rows, element * rows + 8 * different);
    measure_named(b, "bias gradient", many, width, run_column_sum, &r, rows, element * rows);
    measure_named(b, "dropout", many, width, run_dropout, &r, 0, 2 * element * rows);
    measure_named(b, "cast", many, width, run_convert, &r, 0, (element + 4) * rows);
    operands l = {
        .x = tensor(b, sampled, words, EH_F32), .y = tensor(b, sampled, 2, EH_I32), .z = tensor(b, sampled, 0, EH_I32)};
    const double logits = (double)(sampled * words);
    measure_named(b, "log softmax", sampled, words, run_log_softmax, &l, 10 * logits, 8 * logits);
    measure_named(b, "sample top-k, top-p", sampled, words, run_sample, &l, 0, 4 * logits);
    bench_attention(b, b->small ? 1 : 32, b->small ? 48 : 512);
    bench_attention(b, b->small ? 4 : 256, b->small ? 16 : 64);
}

int main(int argc, char **argv)
{
    bench b = {.seconds = 0.3, .dtype = EH_F32, .threads = 1};
    const char *device = "cpu";
    int option;
    while ((option = getopt(argc, argv, "d:t:s:p:o:g:mS")) != -1) {
        switch (option) {
        case 'd':
            device = optarg;
            break;
        case 't':
            b.threads = atoi(optarg);
            break;
        case 's':
            b.seconds = atof(optarg);
            break;
        case 'p':
            b.dtype = strcmp(optarg, "bf16") == 0 ? EH_BF16 : strcmp(optarg, "fp16") == 0 ? EH_F16 : EH_F32;
            break;
        case 'g':
            b.device = eh_roofline_find(optarg);
            break;
        case 'm':
            b.markdown = true;
            break;
        case 'S':
            b.small = true;
            break;
        case 'o':
            b.only = optarg;
            break;
        default:
            return 2;
        }
    }
    must(eh_backend_open(device, 0, b.threads, &b.backend));
    b.queues = eh_tensor_host(&(eh_tensor){.buffer = tensor(&b, 1, 0, EH_F32).buffer}) == NULL;
    if (b.queues && b.markdown)
        printf("| kernel | ms | GFLOP/s | GB/s | bound by | share of the bound |\n|---|---:|---:|---:|---|---:|\n");
    else
        printf("# %s: %s, %s\n", eh_backend_name(b.backend), eh_backend_description(b.backend), eh_dtype_name(b.dtype));
    if (b.queues)
        bench_large(&b);
    else
        bench_products(&b);
    if (!b.queues && (b.only == NULL || strstr("attention forward attention backward", b.only) != NULL)) {
        bench_attention(&b, 20, 24);
        bench_attention(&b, 4, 512);
    }
    if (!b.queues)
        bench_small(&b);
    bench_optimiser(&b);
    bench_output(&b);
    eh_backend_close(&b.backend);
    return 0;
}
