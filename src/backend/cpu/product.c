// Matrix products on all threads: y is cut into tiles, each a task. Packed copies of matrices that stay unchanged are
// kept.
#include "backend/cpu/cpu_internal.h"
#include "core/memory.h"

// One matrix in its packed form, and what it was packed from.
typedef struct {
    uint64_t serial, write_count;
    size_t offset;
    int64_t k, n;
    bool transposed, pairs;
    eh_dtype dtype;
    void *block;
    size_t bytes;
} packed_matrix;

struct eh_packed {
    packed_matrix *matrices;
    int64_t count, capacity;
};

void eh_cpu_packed_free(eh_packed **packed)
{
    if (*packed == NULL)
        return;
    for (int64_t i = 0; i < (*packed)->count; i++)
        eh_unmap(&(*packed)->matrices[i].block, (*packed)->matrices[i].bytes);
    eh_free(&(*packed)->matrices);
    eh_free(packed);
}

typedef struct {
    const eh_cpu *cpu;
    const eh_gemm *gemm;
    float *packed;
    int64_t columns; // of a task
} pack_job;

static void pack_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const pack_job *job = context;
    const int64_t first = i * job->columns, rest = job->gemm->n - first;
    job->cpu->kernels->pack(job->gemm, first, rest < job->columns ? rest : job->columns, job->packed);
}

static eh_status find_packed(eh_cpu *cpu, const packed_matrix *wanted, packed_matrix **found)
{
    if (cpu->packed == NULL)
        EH_TRY(EH_ALLOC(1, &cpu->packed));
    eh_packed *packed = cpu->packed;
    for (int64_t i = 0; i < packed->count; i++) {
        packed_matrix *matrix = &packed->matrices[i];
        if (matrix->serial == wanted->serial && matrix->offset == wanted->offset && matrix->k == wanted->k &&
            matrix->n == wanted->n && matrix->transposed == wanted->transposed && matrix->pairs == wanted->pairs &&
            matrix->dtype == wanted->dtype) {
            *found = matrix;
            return EH_OK;
        }
    }
    packed_matrix fresh = *wanted;
    fresh.write_count = UINT64_MAX; // nothing in it yet
    EH_TRY(eh_map(fresh.bytes, "packed weights", &fresh.block));
    const eh_status status = EH_APPEND(&packed->matrices, &packed->count, &packed->capacity, fresh);
    if (status != EH_OK) {
        eh_unmap(&fresh.block, fresh.bytes);
        return status;
    }
    *found = &packed->matrices[packed->count - 1];
    return EH_OK;
}

const float *eh_cpu_packed(eh_cpu *cpu, const eh_tensor *b, const eh_gemm *gemm, eh_status *status)
{
    const int64_t panel = cpu->kernels->panel_columns, columns = (gemm->n + panel - 1) / panel * panel;
    const bool pairs = cpu->kernels->pairs && gemm->a_type == EH_BF16 && gemm->b_type == EH_BF16;
    const packed_matrix wanted = {.serial = b->buffer->serial,
                                  .offset = b->offset,
                                  .k = gemm->k,
                                  .n = gemm->n,
                                  .transposed = gemm->b_row == 1,
                                  .pairs = pairs,
                                  .dtype = gemm->b_type,
                                  .bytes = (size_t)(columns * (pairs ? (gemm->k + 1) / 2 : gemm->k)) * sizeof(float)};
    packed_matrix *matrix = NULL;
    *status = find_packed(cpu, &wanted, &matrix);
    if (*status != EH_OK)
        return NULL;
    if (matrix->write_count != b->buffer->write_count) {
        pack_job job = {cpu, gemm, matrix->block, 16 * panel};
        eh_cpu_run(cpu, (gemm->n + job.columns - 1) / job.columns, pack_task, &job);
        matrix->write_count = b->buffer->write_count;
    }
    return matrix->block;
}

void eh_cpu_forget_packed(eh_cpu *cpu, uint64_t serial)
{
    eh_packed *packed = cpu->packed;
    for (int64_t i = packed == NULL ? 0 : packed->count; i-- > 0;)
        if (packed->matrices[i].serial == serial) {
            eh_unmap(&packed->matrices[i].block, packed->matrices[i].bytes);
            packed->matrices[i] = packed->matrices[--packed->count];
        }
}

typedef struct {
    eh_cpu *cpu;
    const eh_product *product;
    eh_gemm gemm;
    int64_t tile_rows, tile_columns, tiles_down, tiles_across; // tasks go down first: the columns of b stay near
} multiply_job;

static void multiply_task(void *context, int64_t i, int worker)
{
    const multiply_job *job = context;
    const eh_tensor *y = &job->product->y;
    const int64_t top = i % job->tiles_down * job->tile_rows, left = i / job->tiles_down * job->tile_columns;
    eh_gemm tile = job->gemm;
    tile.m = tile.m - top < job->tile_rows ? tile.m - top : job->tile_rows;
    tile.n = tile.n - left < job->tile_columns ? tile.n - left : job->tile_columns;
    tile.a = (const char *)tile.a + (size_t)(top * tile.a_row) * eh_dtype_bytes(tile.a_type);
    tile.b = (const char *)tile.b + (size_t)(left * tile.b_column) * eh_dtype_bytes(tile.b_type);
    tile.first_column += left;
    tile.first_row += top;
    float *scratch = job->cpu->workers[worker].block, *rest = scratch + EH_GEMM_SCRATCH;
    if (tile.bias != NULL)
        tile.bias = eh_cpu_read(job->cpu, &job->product->bias, left, tile.n, rest);
    if (y->dtype == EH_F32) {
        tile.c += top * tile.c_row + left;
        job->cpu->kernels->gemm(&tile, scratch);
        return;
    }
    tile.c = rest + job->tile_columns;
    tile.c_row = job->tile_columns;
    for (int64_t r = 0; r < tile.m && tile.accumulate; r++)
        job->cpu->kernels->to_float(tile.c + r * tile.c_row,
                                    (const uint16_t *)eh_tensor_address(y) + (top + r) * job->gemm.n + left, y->dtype,
                                    tile.n);
    job->cpu->kernels->gemm(&tile, scratch);
    for (int64_t r = 0; r < tile.m; r++)
        eh_cpu_write(job->cpu, y, (top + r) * job->gemm.n + left, tile.n, tile.c + r * tile.c_row);
}

enum { WIDEST_STRETCH = 2048 };

// Tiles about as high as a block of packed rows and EH_GEMM_COLUMNS wide; narrower if threads would have nothing to do.
// A few rows of a are bound by the reading of b: its longest stretches, for their beginnings are not brought in ahead.
static void choose_tiles(multiply_job *job)
{
    const int64_t m = job->gemm.m, n = job->gemm.n, panel = job->cpu->kernels->panel_columns;
    const int64_t row = job->cpu->kernels->panel_rows, most = EH_GEMM_ROWS / row * row, down = (m + most - 1) / most;
    job->tile_rows = ((m + down - 1) / down + row - 1) / row * row;
    int64_t columns = EH_GEMM_COLUMNS;
    while (columns > panel && job->cpu->threads > 1 && down * ((n + columns - 1) / columns) < 3 * job->cpu->threads)
        columns /= 2;
    if (m <= EH_GEMM_FEW) {
        const int64_t share = (n + job->cpu->threads - 1) / job->cpu->threads;
        const int64_t stretch = ((share < WIDEST_STRETCH ? share : WIDEST_STRETCH) + panel - 1) / panel * panel;
        columns = columns > stretch ? columns : stretch;
    }
    job->tile_columns = columns < panel ? panel : columns;
    job->tiles_down = (m + job->tile_rows - 1) / job->tile_rows;
    job->tiles_across = (n + job->tile_columns - 1) / job->tile_columns;
}

// Both operands are brought into panels once, not tile by tile: with 486 rows and 4096 columns each element of a would
// be packed 16 times and each of b twice, a fifth of the product's time. A large b of few rows is not: it passes by.
static const size_t packed_once_most = (size_t)64 << 20;

typedef struct {
    const eh_cpu *cpu;
    const eh_gemm *gemm;
    float *a, *b;
    int64_t rows, columns, row_tasks; // of a task; the tasks of a come first
} pack_both_job;

static void pack_both_task(void *context, int64_t i, int worker)
{
    (void)worker;
    const pack_both_job *job = context;
    const eh_gemm *gemm = job->gemm;
    if (i < job->row_tasks) {
        const int64_t first = i * job->rows, rest = gemm->m - first;
        job->cpu->kernels->pack_a(gemm, first, rest < job->rows ? rest : job->rows, job->a);
        return;
    }
    const int64_t first = (i - job->row_tasks) * job->columns, rest = gemm->n - first;
    job->cpu->kernels->pack(gemm, first, rest < job->columns ? rest : job->columns, job->b);
}

static eh_status pack_operands(multiply_job *job)
{
    eh_cpu *cpu = job->cpu;
    eh_gemm *gemm = &job->gemm;
    const int64_t panel = cpu->kernels->panel_columns, row = cpu->kernels->panel_rows;
    const size_t b_bytes = (size_t)((gemm->n + panel - 1) / panel * panel * gemm->k) * sizeof(float);
    gemm->packed_rows = (gemm->m + row - 1) / row * row;
    const size_t a_bytes = (size_t)(gemm->packed_rows * gemm->k) * sizeof(float);
    const bool a = gemm->k > 0 && job->tiles_across > 1 && gemm->m > EH_GEMM_FEW && a_bytes <= packed_once_most;
    const bool b = gemm->k > 0 && job->tiles_down > 1 && gemm->packed_b == NULL && b_bytes <= packed_once_most;
    if (!a && !b)
        return EH_OK;
    EH_TRY(eh_arena_reserve(&cpu->shared, (a ? a_bytes : 0) + (b ? b_bytes : 0)));
    pack_both_job packing = {.cpu = cpu, .gemm = gemm, .a = cpu->shared.block, .rows = 8 * row, .columns = 16 * panel};
    packing.b = packing.a + (a ? gemm->packed_rows * gemm->k : 0);
    packing.row_tasks = a ? (gemm->m + packing.rows - 1) / packing.rows : 0;
    const int64_t column_tasks = b ? (gemm->n + packing.columns - 1) / packing.columns : 0;
    eh_cpu_run(cpu, packing.row_tasks + column_tasks, pack_both_task, &packing);
    gemm->packed_a = a ? packing.a : NULL;
    gemm->packed_b = b ? packing.b : gemm->packed_b;
    return EH_OK;
}

eh_status eh_cpu_multiply(eh_backend *backend, const eh_product *product)
{
    eh_cpu *cpu = eh_cpu_of(backend);
    const int64_t m = product->y.shape[0], n = product->y.shape[1];
    const int64_t k = product->a.shape[product->transpose_a ? 0 : 1];
    multiply_job job = {.cpu = cpu, .product = product};
    job.gemm = (eh_gemm){
        .m = m,
        .n = n,
        .k = k,
        .a = eh_tensor_address(&product->a),
        .b = eh_tensor_address(&product->b),
        .a_type = product->a.dtype,
        .b_type = product->b.dtype,
        .a_row = product->transpose_a ? 1 : k,
        .a_column = product->transpose_a ? m : 1,
        .b_row = product->transpose_b ? 1 : n,
        .b_column = product->transpose_b ? k : 1,
        .c = product->y.dtype == EH_F32 ? eh_tensor_address(&product->y) : NULL,
        .c_row = n,
        .bias = eh_host_address(&product->bias),
        .alpha = product->alpha == 0 ? 1 : product->alpha,
        .accumulate = product->mode == EH_ADD,
    };
    choose_tiles(&job);
    EH_TRY(eh_cpu_reserve_workers(cpu,
                                  (size_t)(EH_GEMM_SCRATCH + job.tile_columns * (1 + job.tile_rows)) * sizeof(float)));
    if (product->b_is_constant && k > 0) {
        eh_status status = EH_OK;
        job.gemm.packed_b = eh_cpu_packed(cpu, &product->b, &job.gemm, &status);
        EH_TRY(status);
    }
    EH_TRY(pack_operands(&job));
    eh_cpu_run(cpu, job.tiles_down * job.tiles_across, multiply_task, &job);
    return EH_OK;
}
