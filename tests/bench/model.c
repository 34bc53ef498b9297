// One side of tests/bench/peers.py: evenhand's own training step, scoring, generation and pseudo-log-likelihood on work
// that the script wrote down, so that peers do the same. Each line on standard input asks for one round; each round
// answers with a line of JSON: seconds by the clock, processor seconds of all ranks and threads, and the results.
//   bench_model [-t threads] [-p fp32|bf16] [-m micro-batches] [-b batch] [-s slots, or tokens of a batch]
//               [-n new tokens] [-r tree|fast] [-z 0|1] [-T trace file] FOLDER train|score|choose|generate|pll
// FOLDER/model is a Hugging Face folder, FOLDER/MODE.txt the work: whole numbers, a list being its length and its
// items.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "backend/profile.h"
#include "core/clock.h"
#include "core/memory.h"
#include "metrics/batch_internal.h"
#include "model/generate.h"
#include "model/pll.h"
#include "train/trainer.h"

typedef struct {
    eh_comm *comm;
    eh_backend *backend;
    eh_model *model;
    const char *folder, *mode, *trace;
    eh_dtype dtype;
    int threads, zero;
    int64_t micro_batches, batch, size, new_tokens;
    const char *reduction;
    FILE *work;
} bench;

static eh_status next_number(const bench *b, int64_t *number)
{
    long long value = 0;
    const bool found = fscanf(b->work, "%lld", &value) == 1;
    *number = value;
    if (!found)
        return eh_error(EH_INPUT, "%s/%s.txt ends early", b->folder, b->mode);
    return EH_OK;
}

static eh_status next_list(const bench *b, int32_t **ids, int64_t *count, int64_t *capacity)
{
    int64_t length, value;
    EH_TRY(next_number(b, &length));
    for (int64_t i = 0; i < length; i++) {
        EH_TRY(next_number(b, &value));
        EH_TRY(EH_APPEND(ids, count, capacity, (int32_t)value));
    }
    return EH_OK;
}

// Seconds of all threads of all ranks.
static eh_status processor_seconds(const bench *b, double *seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    *seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    return eh_comm_sum_double(b->comm, seconds, 1);
}

// Waits for the next request; false at the end.
static eh_status asked(const bench *b, bool *again)
{
    int64_t go = 0;
    char line[64];
    if (eh_comm_rank(b->comm) == 0)
        go = fgets(line, sizeof line, stdin) != NULL;
    EH_TRY(eh_comm_broadcast(b->comm, &go, sizeof go, 0));
    *again = go != 0;
    return EH_OK;
}

typedef struct {
    double seconds, processor;
} stopwatch;

static eh_status start(const bench *b, stopwatch *watch)
{
    EH_TRY(processor_seconds(b, &watch->processor));
    watch->seconds = eh_seconds();
    return EH_OK;
}

// Ends with the part of the answer that all modes have; rank 0 alone speaks.
static eh_status stop(const bench *b, stopwatch *watch)
{
    double now;
    watch->seconds = eh_seconds() - watch->seconds;
    EH_TRY(processor_seconds(b, &now));
    watch->processor = now - watch->processor;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (eh_comm_rank(b->comm) == 0)
        printf("{\"seconds\":%.6f,\"processor\":%.6f,\"peak_gib\":%.3f,\"faults\":%ld", watch->seconds,
               watch->processor, (double)eh_peak_resident_bytes() / 1073741824.0, usage.ru_minflt);
    return EH_OK;
}

static void print_floats(const char *name, const float *values, int64_t count)
{
    printf(",\"%s\":[", name);
    for (int64_t i = 0; i < count; i++) printf("%s%.7g", i > 0 ? "," : "", (double)values[i]);
    printf("]");
}

// --- Training -----------------------------------------------------------------------------------------------------

static eh_status read_examples(const bench *b, eh_training_set *set)
{
    int64_t count, rows;
    const eh_model_facts facts = eh_model_facts_of(b->model);
    EH_TRY(eh_training_set_init(&facts, set));
    EH_TRY(next_number(b, &count));
    eh_free(&set->id_offsets);
    eh_free(&set->decoder_offsets);
    eh_free(&set->label_offsets);
    EH_TRY(EH_ALLOC(count + 1, &set->id_offsets));
    EH_TRY(EH_ALLOC(count + 1, &set->decoder_offsets));
    EH_TRY(EH_ALLOC(count + 1, &set->label_offsets));
    EH_TRY(EH_ALLOC(count, &set->splits)); // EH_SPLIT_TRAIN
    EH_TRY(EH_ALLOC(count, &set->masked));
    EH_TRY(EH_ALLOC(count, &set->source));
    EH_TRY(EH_ALLOC(1, &set->replay));
    set->source_count = 1;
    set->count = count;
    for (int64_t e = 0; e < count; e++) {
        int64_t *ids = &set->id_offsets[e + 1], *decoder = &set->decoder_offsets[e + 1];
        int64_t *labels = &set->label_offsets[e + 1];
        *ids = set->id_offsets[e];
        *decoder = set->decoder_offsets[e];
        *labels = rows = set->label_offsets[e];
        EH_TRY(next_list(b, &set->ids, ids, &set->id_capacity));
        EH_TRY(next_list(b, &set->decoder_ids, decoder, &set->decoder_capacity));
        EH_TRY(next_list(b, &set->label_rows, &rows, &set->row_capacity));
        EH_TRY(next_list(b, &set->label_ids, labels, &set->label_capacity));
    }
    return EH_OK;
}

static eh_status make_job(const bench *b, eh_job *job)
{
    char text[1024];
    snprintf(text, sizeof text,
             "model: {path: %s/model}\noutput: %s/out\nprecision: %s\n"
             "train: {epochs: 1000000, max_steps: 1000, batch: %lld, micro_batches: %lld, lr: 3.0e-5, "
             "weight_decay: 0.01, clip: 1.0, schedule: constant, optimizer: adamw, reduction: %s, dropout: 0}\n"
             "memory: {zero: %d}\n",
             b->folder, b->folder, eh_dtype_name(b->dtype), (long long)b->batch, (long long)b->micro_batches,
             b->reduction, b->zero);
    return eh_job_parse("bench.yaml", text, strlen(text), NULL, 0, job);
}

static eh_status one_step(const bench *b, eh_trainer *trainer, int64_t step)
{
    stopwatch watch;
    eh_step_outcome outcome;
    EH_TRY(eh_comm_barrier(b->comm));
    const int64_t allocations = eh_allocation_count();
    EH_TRY(start(b, &watch));
    eh_batches_plan(&trainer->batches, step);
    EH_TRY(eh_trainer_gradients(trainer, false, &outcome));
    EH_TRY(eh_trainer_update(trainer, &outcome));
    EH_TRY(stop(b, &watch));
    if (eh_comm_rank(b->comm) > 0)
        return EH_OK;
    printf(",\"loss\":%.8g,\"norm\":%.8g,\"tokens\":%lld,\"labels\":%lld,\"allocations\":%lld,\"examples\":[",
           outcome.loss, outcome.gradient_norm, (long long)outcome.token_count, (long long)outcome.label_count,
           (long long)(eh_allocation_count() - allocations));
    for (int64_t i = 0; i < trainer->batches.example_count; i++)
        printf("%s%lld", i > 0 ? "," : "", (long long)trainer->batches.examples[i]);
    printf("]}\n");
    return EH_OK;
}

// The first request is answered with the dropout of `dropout: 0`, so that losses can be compared; a line that reads
// "dropout" switches to the model's own rates.
static eh_status bench_training(bench *b)
{
    eh_training_set set = {0};
    eh_job job = {0};
    eh_trainer trainer = {0};
    eh_status status = EH_OK;
    bool again = true;
    EH_TRY_OR(done, read_examples(b, &set));
    EH_TRY_OR(done, make_job(b, &job));
    EH_TRY_OR(done, eh_trainer_init(b->comm, b->backend, b->model, &job, &set, &trainer));
    for (int64_t step = 0; step < trainer.batches.step_count; step++) {
        EH_TRY_OR(done, asked(b, &again));
        if (!again)
            break;
        if (step >= 2)
            job.train.dropout = -1;
        EH_TRY_OR(done, one_step(b, &trainer, step));
        fflush(stdout);
    }
done:
    eh_trainer_deinit(&trainer);
    eh_job_deinit(&job);
    eh_training_set_deinit(&set);
    return status;
}

// --- Scoring ------------------------------------------------------------------------------------------------------

typedef struct {
    eh_asked *items;
    eh_asked **list;
    int64_t count;
} scored_items;

// An item: a context, the number of candidates, and each (score); or the ids of the choices, the number of prompts, and
// each (choose).
static eh_status read_item(const bench *b, eh_requests *requests)
{
    int32_t *context = NULL, *other = NULL;
    int64_t count = 0, capacity = 0, others, other_count, other_capacity = 0;
    const bool seq2seq = eh_model_kind_of(b->model) == EH_ENCODER_DECODER, choose = strcmp(b->mode, "choose") == 0;
    eh_status status = EH_OK;
    requests->decoder_start = eh_model_special_ids(b->model).decoder_start;
    EH_TRY_OR(done, next_list(b, &context, &count, &capacity));
    EH_TRY_OR(done, next_number(b, &others));
    for (int64_t i = 0; i < others; i++) {
        other_count = 0;
        EH_TRY_OR(done, next_list(b, &other, &other_count, &other_capacity));
        if (choose)
            EH_TRY_OR(done, eh_request_next(requests, other, other_count, context, count));
        else if (seq2seq)
            EH_TRY_OR(done, eh_request_target(requests, context, count, other, other_count));
        else
            EH_TRY_OR(done, eh_request_continuation(requests, context, count, other, other_count));
    }
done:
    eh_free(&context);
    eh_free(&other);
    return status;
}

static eh_status score_round(const bench *b, eh_batcher *batcher, const scored_items *items)
{
    stopwatch watch;
    EH_TRY(start(b, &watch));
    EH_TRY(eh_batcher_score(batcher, items->list, items->count));
    EH_TRY(stop(b, &watch));
    printf(",\"values\":[");
    for (int64_t i = 0; i < items->count; i++)
        for (int64_t s = 0; s < items->items[i].requests.sequence_count; s++) {
            const eh_asked *item = &items->items[i];
            double sum = 0;
            for (int64_t l = item->label_first[s]; l < item->label_first[s + 1]; l++)
                sum += (double)item->log_probabilities[l];
            printf("%s%.8g", i + s > 0 ? "," : "", sum);
        }
    printf("]}\n");
    return EH_OK;
}

static eh_status bench_scoring(bench *b)
{
    scored_items items = {0};
    eh_batcher *batcher = NULL;
    bool again = true;
    eh_status status = EH_OK;
    EH_TRY_OR(done, next_number(b, &items.count));
    EH_TRY_OR(done, EH_ALLOC(items.count, &items.items));
    EH_TRY_OR(done, EH_ALLOC(items.count, &items.list));
    for (int64_t i = 0; i < items.count; i++) {
        items.list[i] = &items.items[i];
        EH_TRY_OR(done, read_item(b, &items.items[i].requests));
    }
    EH_TRY_OR(done, eh_batcher_new(b->model, b->size, &batcher));
    for (;;) {
        EH_TRY_OR(done, asked(b, &again));
        if (!again)
            break;
        EH_TRY_OR(done, score_round(b, batcher, &items));
        fflush(stdout);
    }
done:
    eh_batcher_free(&batcher);
    for (int64_t i = 0; items.items != NULL && i < items.count; i++) {
        eh_requests_deinit(&items.items[i].requests);
        eh_free(&items.items[i].label_first);
        eh_free(&items.items[i].tags);
        eh_free(&items.items[i].log_probabilities);
    }
    eh_free(&items.items);
    eh_free(&items.list);
    return status;
}

// --- Generation and pseudo-log-likelihood -------------------------------------------------------------------------

// Ragged lists from the file, and for generation the texts that came of them, prompt after prompt.
typedef struct {
    int32_t *ids, *made;
    int64_t *offsets, *items;
    int64_t id_count, id_capacity, count, new_tokens;
} texts;

static eh_status read_texts(const bench *b, texts *t)
{
    EH_TRY(next_number(b, &t->count));
    EH_TRY(EH_ALLOC(t->count + 1, &t->offsets));
    EH_TRY(EH_ALLOC(t->count, &t->items));
    EH_TRY(EH_ALLOC(t->count * b->new_tokens, &t->made));
    t->new_tokens = b->new_tokens;
    for (int64_t i = 0; i < t->count; i++) {
        EH_TRY(next_list(b, &t->ids, &t->id_count, &t->id_capacity));
        t->offsets[i + 1] = t->id_count;
        t->items[i] = i;
    }
    return EH_OK;
}

static eh_status keep_text(void *context, const eh_generated *text)
{
    texts *t = context;
    memcpy(t->made + text->item * t->new_tokens, text->ids, (size_t)text->count * sizeof *text->ids);
    return EH_OK;
}

static eh_status generation_round(const bench *b, texts *t)
{
    stopwatch watch;
    const eh_generation settings = {.max_new_tokens = b->new_tokens,
                                    .min_new_tokens = b->new_tokens,
                                    .samples = 1,
                                    .temperature = 1,
                                    .top_p = 1,
                                    .repetition_penalty = 1,
                                    .eos = -1,
                                    .slots = b->size};
    EH_TRY(start(b, &watch));
    EH_TRY(eh_generate(b->model, &settings, t->count, t->ids, t->offsets, t->items, keep_text, t));
    EH_TRY(stop(b, &watch));
    printf(",\"ids\":[");
    for (int64_t i = 0; i < t->count * b->new_tokens; i++) printf("%s%d", i > 0 ? "," : "", (int)t->made[i]);
    printf("]}\n");
    return EH_OK;
}

// Every position but the first and the last token is masked in turn, by BERT's own mask (no tokenizer is read here).
static eh_status pll_round(const bench *b, const texts *t, int32_t *positions, int64_t *first, float *found)
{
    stopwatch watch;
    int64_t count = 0;
    for (int64_t r = 0; r < t->count; r++) {
        first[r] = count;
        for (int64_t k = 1; k + 1 < t->offsets[r + 1] - t->offsets[r]; k++) positions[count++] = (int32_t)k;
    }
    first[t->count] = count;
    EH_TRY(start(b, &watch));
    EH_TRY(eh_pseudo_log_likelihood(b->model, t->count, t->ids, t->offsets, NULL, positions, first, 103, found));
    EH_TRY(stop(b, &watch));
    for (int64_t r = 0; r < t->count; r++) {
        double sum = 0;
        for (int64_t k = first[r]; k < first[r + 1]; k++) sum += (double)found[k];
        found[r] = (float)sum; // r <= first[r]: read before it is written over
    }
    print_floats("values", found, t->count);
    printf("}\n");
    return EH_OK;
}

static eh_status bench_texts(bench *b)
{
    texts t = {0};
    int32_t *positions = NULL;
    int64_t *first = NULL;
    float *found = NULL;
    bool again = true;
    const bool pll = strcmp(b->mode, "pll") == 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, read_texts(b, &t));
    if (pll) {
        const int64_t tokens = b->size > 0 ? b->size : 2048;
        EH_TRY_OR(done, EH_ALLOC(t.id_count, &positions));
        EH_TRY_OR(done, EH_ALLOC(t.id_count, &found));
        EH_TRY_OR(done, EH_ALLOC(t.count + 1, &first));
        EH_TRY_OR(done,
                  eh_model_reserve(
                      b->model, &(eh_batch_limits){.tokens = tokens, .sequences = tokens / 4, .labels = tokens / 4}));
    }
    for (;;) {
        EH_TRY_OR(done, asked(b, &again));
        if (!again)
            break;
        EH_TRY_OR(done, pll ? pll_round(b, &t, positions, first, found) : generation_round(b, &t));
        fflush(stdout);
    }
done:
    eh_free(&positions);
    eh_free(&first);
    eh_free(&found);
    eh_free(&t.ids);
    eh_free(&t.made);
    eh_free(&t.offsets);
    eh_free(&t.items);
    return status;
}

// --- The program ----------------------------------------------------------------------------------------------------

static eh_status read_options(bench *b, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "t:p:m:b:s:n:r:z:T:")) != -1) {
        switch (option) {
        case 't':
            b->threads = atoi(optarg);
            break;
        case 'p':
            b->dtype = strcmp(optarg, "bf16") == 0 ? EH_BF16 : EH_F32;
            break;
        case 'm':
            b->micro_batches = atoll(optarg);
            break;
        case 'b':
            b->batch = atoll(optarg);
            break;
        case 's':
            b->size = atoll(optarg);
            break;
        case 'n':
            b->new_tokens = atoll(optarg);
            break;
        case 'r':
            b->reduction = optarg;
            break;
        case 'z':
            b->zero = atoi(optarg);
            break;
        case 'T':
            b->trace = optarg;
            break;
        default:
            return eh_error(EH_INPUT, "usage: bench_model [options] FOLDER MODE");
        }
    }
    if (argc != optind + 2)
        return eh_error(EH_INPUT, "usage: bench_model [options] FOLDER MODE");
    b->folder = argv[optind];
    b->mode = argv[optind + 1];
    return EH_OK;
}

static eh_status run(bench *b)
{
    char path[4096];
    const bool train = strcmp(b->mode, "train") == 0;
    snprintf(path, sizeof path, "%s/%s.txt", b->folder, b->mode);
    b->work = fopen(path, "rb");
    if (b->work == NULL)
        return eh_error(EH_INPUT, "%s can't be opened", path);
    EH_TRY(eh_backend_open("cpu", eh_comm_local_rank(b->comm), b->threads, &b->backend));
    snprintf(path, sizeof path, "%s/model", b->folder);
    EH_TRY(eh_model_open(b->backend, path, b->dtype, train ? EH_FOR_TRAINING : EH_FOR_INFERENCE, &b->model));
    if (b->trace != NULL)
        EH_TRY(eh_backend_profile_begin(b->backend, b->trace));
    EH_TRY(train                                                             ? bench_training(b)
           : strcmp(b->mode, "score") == 0 || strcmp(b->mode, "choose") == 0 ? bench_scoring(b)
                                                                             : bench_texts(b));
    const eh_profile_row *rows;
    int64_t count;
    double flops = 0, bytes = 0;
    EH_TRY(eh_backend_profile_report(b->backend, &rows, &count));
    if (count > 0) {
        EH_TRY(eh_backend_limits(b->backend, b->dtype, &flops, &bytes));
        fprintf(stderr, "limit: %.1f GFLOP/s, %.1f GB/s\n", flops * 1e-9, bytes * 1e-9);
    }
    for (int64_t i = 0; i < count; i++)
        fprintf(stderr, "%-24s %8lld calls %9.3f s %8.1f GFLOP/s %7.1f GB/s %4.0f %% of the limit\n", rows[i].operation,
                (long long)rows[i].calls, rows[i].seconds, rows[i].flops / rows[i].seconds * 1e-9,
                rows[i].bytes / rows[i].seconds * 1e-9, 100 * eh_profile_share(&rows[i], flops, bytes));
    return eh_backend_profile_end(b->backend);
}

int main(int argc, char **argv)
{
    bench b = {.dtype = EH_F32, .threads = 1, .micro_batches = 1, .batch = 20, .new_tokens = 40, .reduction = "tree"};
    eh_status status = eh_comm_begin(&argc, &argv, &b.comm);
    if (status == EH_OK)
        status = read_options(&b, argc, argv);
    if (status == EH_OK)
        status = run(&b);
    if (status != EH_OK)
        fprintf(stderr, "bench_model: %s\n", eh_error_message());
    if (b.work != NULL)
        fclose(b.work);
    eh_model_close(&b.model);
    eh_backend_close(&b.backend);
    eh_comm_end(&b.comm);
    return eh_exit_code(status);
}
