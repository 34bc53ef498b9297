// Matrix products by cuBLAS; with a bias, or a bias and GELU, by cublasLt, whose epilogues add and activate what is
// still in registers. Row-major C = A B is column-major C^T = B^T A^T, so the operands change places. 2 m n k flops
// bound them from some hundred rows up: expect 55-75 % of the tensor cores' peak at m, n, k >= 1024, less for few rows,
// where reading b bounds them: 80 % of the bandwidth.
#include <limits.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/product.cuh"

namespace
{

// y = bias, or y += bias, where cublasLt can't. Bytes bound it: read and write y once; expect 85 %.
__global__ void __launch_bounds__(eh_block_threads)
    bias_kernel(eh_array bias, eh_array y, int64_t rows, int64_t columns, bool add)
{
    const int64_t parts = (columns + 7) / 8;
    for (int64_t at = eh_thread_index(); at < rows * parts; at += eh_thread_count()) {
        const int64_t row = at / parts, column = 8 * (at % parts), begin = row * columns, end = begin + columns;
        eh_eight value = eh_load8(bias, column, columns);
        if (add) {
            const eh_eight old = eh_load8(y, begin + column, end);
#pragma unroll
            for (int j = 0; j < 8; j++) value.v[j] += old.v[j];
        }
        eh_store8(y, begin + column, end, value);
    }
}

cudaDataType cuda_type(eh_dtype dtype)
{
    return dtype == EH_F32 ? CUDA_R_32F : dtype == EH_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

} // namespace

eh_status eh_cuda_gemm(eh_backend *backend, const eh_cuda_gemm_call *call)
{
    EH_ASSERT(call->m <= INT_MAX && call->n <= INT_MAX && call->k <= INT_MAX);
    const int m = static_cast<int>(call->m), n = static_cast<int>(call->n), k = static_cast<int>(call->k);
    EH_CUBLAS(cublasGemmEx(eh_cuda(backend)->blas, call->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                           call->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &call->alpha, call->b,
                           cuda_type(call->input_type), call->transpose_b ? k : n, call->a, cuda_type(call->input_type),
                           call->transpose_a ? m : k, &call->beta, call->y, cuda_type(call->output_type), n,
                           CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    return EH_OK;
}

// --- cublasLt --------------------------------------------------------------------------------------
namespace
{

constexpr size_t most_plans = 256; // batches differ in length, so shapes do

void forget(eh_cuda_lt_plan *plan)
{
    cublasLtMatrixLayoutDestroy(plan->a);
    cublasLtMatrixLayoutDestroy(plan->b);
    cublasLtMatrixLayoutDestroy(plan->y);
    cublasLtMatmulDescDestroy(plan->operation);
}

// Where the operation finds the bias and keeps what it activates, as far as it has them.
eh_status point_at(const eh_cuda_lt_plan *plan, const void *bias, void *kept)
{
    if (plan->has_bias)
        EH_CUBLAS(
            cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    if (plan->activates)
        EH_CUBLAS(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &kept,
                                                 sizeof kept));
    return EH_OK;
}

// What an algorithm must do without: more workspace, addresses that are rounder than these, and sums that are put
// together in y's type, for y may have 16 bits.
cublasStatus_t set_limits(const eh_cuda_state *state, const eh_cuda_lt_plan *plan,
                          cublasLtMatmulPreference_t preference)
{
    const size_t workspace = state->lt_workspace_bytes;
    const uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t bytes;
    } limits[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &plan->b_alignment, sizeof plan->b_alignment},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &plan->a_alignment, sizeof plan->a_alignment},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &plan->y_alignment, sizeof plan->y_alignment},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &plan->y_alignment, sizeof plan->y_alignment}};
    for (const auto &limit : limits) {
        const cublasStatus_t error =
            cublasLtMatmulPreferenceSetAttribute(preference, limit.attribute, limit.value, limit.bytes);
        if (error != CUBLAS_STATUS_SUCCESS)
            return error;
    }
    return CUBLAS_STATUS_SUCCESS;
}

eh_status describe(eh_cuda_state *state, const void *bias, void *kept, eh_cuda_lt_plan *plan)
{
    const cublasOperation_t of_b = plan->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                            of_a = plan->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cudaDataType input = cuda_type(plan->input_type), output = cuda_type(plan->output_type);
    const auto m = static_cast<uint64_t>(plan->m), n = static_cast<uint64_t>(plan->n),
               k = static_cast<uint64_t>(plan->k);
    const cublasLtEpilogue_t epilogue =
        plan->activates  ? plan->has_bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX
        : plan->has_bias ? CUBLASLT_EPILOGUE_BIAS
                         : CUBLASLT_EPILOGUE_DEFAULT;
    EH_CUBLAS(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasLtMatmulDesc_t operation = plan->operation;
    EH_CUBLAS(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b));
    EH_CUBLAS(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a));
    EH_CUBLAS(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (plan->activates) {
        const int64_t stride = plan->n;
        EH_CUBLAS(
            cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &stride, sizeof stride));
    }
    EH_TRY(point_at(plan, bias, kept)); // the choice may depend on them
    EH_CUBLAS(cublasLtMatrixLayoutCreate(&plan->b, input, plan->transpose_b ? k : n, plan->transpose_b ? n : k,
                                         plan->transpose_b ? plan->k : plan->n));
    EH_CUBLAS(cublasLtMatrixLayoutCreate(&plan->a, input, plan->transpose_a ? m : k, plan->transpose_a ? k : m,
                                         plan->transpose_a ? plan->m : plan->k));
    EH_CUBLAS(cublasLtMatrixLayoutCreate(&plan->y, output, n, m, plan->n));
    cublasLtMatmulPreference_t preference;
    EH_CUBLAS(cublasLtMatmulPreferenceCreate(&preference));
    cublasLtMatmulHeuristicResult_t found = {};
    int count = 0;
    cublasStatus_t error = set_limits(state, plan, preference);
    if (error == CUBLAS_STATUS_SUCCESS)
        error = cublasLtMatmulAlgoGetHeuristic(state->blas_lt, operation, plan->b, plan->a, plan->y, plan->y,
                                               preference, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(preference);
    plan->usable = error == CUBLAS_STATUS_SUCCESS && count > 0; // else: cublasGemmEx and a kernel
    plan->algorithm = found.algo;
    return EH_OK;
}

bool same(const eh_cuda_lt_plan &x, const eh_cuda_lt_plan &y)
{
    return x.m == y.m && x.n == y.n && x.k == y.k && x.transpose_a == y.transpose_a && x.transpose_b == y.transpose_b &&
           x.has_bias == y.has_bias && x.activates == y.activates && x.input_type == y.input_type &&
           x.output_type == y.output_type && x.a_alignment == y.a_alignment && x.b_alignment == y.b_alignment &&
           x.y_alignment == y.y_alignment;
}

eh_status find_plan(eh_cuda_state *state, const eh_cuda_lt_plan &wanted, const void *bias, void *kept,
                    const eh_cuda_lt_plan **plan)
{
    if (state->lt_plans == nullptr)
        state->lt_plans = new std::vector<eh_cuda_lt_plan>();
    for (const eh_cuda_lt_plan &known : *state->lt_plans)
        if (same(known, wanted)) {
            *plan = &known;
            return point_at(&known, bias, kept);
        }
    if (state->lt_plans->size() == most_plans) {
        for (eh_cuda_lt_plan &old : *state->lt_plans) forget(&old);
        state->lt_plans->clear();
    }
    eh_cuda_lt_plan fresh = wanted;
    EH_TRY(describe(state, bias, kept, &fresh));
    state->lt_plans->push_back(fresh);
    *plan = &state->lt_plans->back();
    return EH_OK;
}

// The power of two that an address is a multiple of, up to what cublasLt asks about.
uint32_t alignment_of(const void *address)
{
    uint32_t alignment = 256;
    while (reinterpret_cast<uintptr_t>(address) % alignment != 0) alignment /= 2;
    return alignment;
}

// One product by cublasLt; *done false: it can't.
eh_status by_lt(eh_cuda_state *state, eh_cuda_lt_plan wanted, const eh_product *product, const eh_tensor &a,
                const eh_tensor &b, const void *bias, const eh_tensor &y, const eh_tensor *activated, bool *done)
{
    const eh_cuda_lt_plan *plan = nullptr;
    void *kept = eh_tensor_address(&y), *result = activated != nullptr ? eh_tensor_address(activated) : kept;
    wanted.a_alignment = alignment_of(eh_tensor_address(&a));
    wanted.b_alignment = alignment_of(eh_tensor_address(&b));
    wanted.y_alignment = alignment_of(result);
    EH_TRY(find_plan(state, wanted, bias, kept, &plan));
    *done = plan->usable;
    if (!plan->usable)
        return EH_OK;
    const float alpha = product->alpha == 0 ? 1.0f : product->alpha, beta = product->mode == EH_ADD ? 1.0f : 0.0f;
    EH_CUBLAS(cublasLtMatmul(state->blas_lt, plan->operation, &alpha, eh_tensor_address(&b), plan->b,
                             eh_tensor_address(&a), plan->a, &beta, result, plan->y, result, plan->y, &plan->algorithm,
                             state->lt_workspace, state->lt_workspace_bytes, state->stream));
    return EH_OK;
}

// The tensor in another type, converted into scratch memory at *next, which moves on.
eh_status converted(eh_backend *backend, const eh_tensor *x, eh_dtype dtype, eh_buffer *scratch, size_t *next,
                    eh_tensor *y)
{
    *y = *x;
    y->buffer = scratch;
    y->offset = *next;
    y->dtype = dtype;
    *next += aligned(eh_tensor_bytes(y));
    return eh_cuda_convert(backend, x, y);
}

// What a product needs beside its operands: cuBLAS wants a and b of one type, and y in fp32 or like them.
struct setting {
    int64_t m, n, k;
    eh_dtype type; // of a and b; fp32 where theirs differ
    eh_tensor a, b, y;
    eh_buffer scratch;
    size_t next;
};

eh_status set_up(eh_backend *backend, const eh_product *product, setting *s)
{
    s->m = product->y.shape[0];
    s->n = product->y.shape[1];
    s->k = product->transpose_a ? product->a.shape[0] : product->a.shape[1];
    s->a = product->a;
    s->b = product->b;
    s->y = product->y;
    s->type = s->a.dtype == s->b.dtype ? s->a.dtype : EH_F32;
    s->scratch = {};
    s->scratch.backend = backend;
    s->next = 0;
    const auto floats = [](const eh_tensor &t) {
        return aligned(static_cast<size_t>(eh_tensor_count(&t)) * sizeof(float));
    };
    // The bias in y's type, or y in fp32 where cublasLt can't add the bias.
    size_t bytes = aligned(static_cast<size_t>(s->n) * 4) + (s->a.dtype != s->type ? floats(s->a) : 0) +
                   (s->b.dtype != s->type ? floats(s->b) : 0);
    if (s->y.dtype != EH_F32)
        bytes += floats(s->y);
    const bool converts =
        s->a.dtype != s->type || s->b.dtype != s->type || eh_tensor_exists(&product->bias) || s->y.dtype != EH_F32;
    if (converts)
        EH_TRY(eh_cuda_scratch(backend, bytes, &s->scratch.address));
    if (s->a.dtype != s->type)
        EH_TRY(converted(backend, &product->a, s->type, &s->scratch, &s->next, &s->a));
    if (s->b.dtype != s->type)
        EH_TRY(converted(backend, &product->b, s->type, &s->scratch, &s->next, &s->b));
    return EH_OK;
}

bool on_vectors(const eh_tensor *tensor, int64_t width)
{
    return reinterpret_cast<uintptr_t>(eh_tensor_address(tensor)) % 16 == 0 && width % 8 == 0;
}

// With a bias or an activation, where cublasLt takes the types and the places.
eh_status with_epilogue(eh_backend *backend, const eh_product *product, setting *s, const eh_tensor *activated,
                        bool *done)
{
    const bool has_bias = eh_tensor_exists(&product->bias);
    *done = false;
    if (s->k == 0 || (!has_bias && activated == nullptr) || (s->y.dtype != EH_F32 && s->y.dtype != s->type))
        return EH_OK;
    if (activated != nullptr &&
        (activated->dtype != s->y.dtype || !on_vectors(activated, s->n) || !on_vectors(&s->y, s->n)))
        return EH_OK;
    eh_cuda_lt_plan wanted = {};
    wanted.m = s->m;
    wanted.n = s->n;
    wanted.k = s->k;
    wanted.transpose_a = product->transpose_a;
    wanted.transpose_b = product->transpose_b;
    wanted.has_bias = has_bias;
    wanted.activates = activated != nullptr;
    wanted.input_type = s->type;
    wanted.output_type = s->y.dtype;
    eh_tensor bias = product->bias;
    size_t next = s->next;
    if (has_bias && (bias.dtype != s->y.dtype || !on_vectors(&bias, 8))) // as cublasLt wants it: like y, in its place
        EH_TRY(converted(backend, &product->bias, s->y.dtype, &s->scratch, &next, &bias));
    return by_lt(eh_cuda(backend), wanted, product, s->a, s->b, has_bias ? eh_tensor_address(&bias) : nullptr, s->y,
                 activated, done);
}

// cublasGemmEx, and the bias before it by a kernel.
eh_status plainly(eh_backend *backend, const eh_product *product, setting *s)
{
    eh_cuda_state *state = eh_cuda(backend);
    const bool has_bias = eh_tensor_exists(&product->bias);
    // What is there already must not be rounded before the product is added to it.
    const bool y_differs = s->y.dtype != EH_F32 && (s->y.dtype != s->type || has_bias || product->mode == EH_ADD);
    if (y_differs)
        EH_TRY(converted(backend, &product->y, EH_F32, &s->scratch, &s->next, &s->y));
    if (has_bias) {
        LAUNCH(bias_kernel, eh_grid_for(state, s->m * ((s->n + 7) / 8)), dim3(eh_block_threads), 0, state->stream,
               eh_array_of(&product->bias, s->n), eh_array_of(&s->y, s->n), s->m, s->n, product->mode == EH_ADD);
        EH_CUDA(cudaGetLastError());
    }
    if (s->k > 0) {
        const eh_cuda_gemm_call call = {s->m,
                                        s->n,
                                        s->k,
                                        eh_tensor_address(&s->a),
                                        eh_tensor_address(&s->b),
                                        eh_tensor_address(&s->y),
                                        product->transpose_a,
                                        product->transpose_b,
                                        product->alpha == 0 ? 1.0f : product->alpha,
                                        has_bias || product->mode == EH_ADD ? 1.0f : 0.0f,
                                        s->type,
                                        s->y.dtype};
        EH_TRY(eh_cuda_gemm(backend, &call));
    } else if (!has_bias && product->mode == EH_WRITE)
        EH_TRY(eh_cuda_fill(backend, 0, &s->y));
    return y_differs ? eh_cuda_convert(backend, &s->y, &product->y) : EH_OK;
}

} // namespace

void eh_cuda_forget_products(eh_cuda_state *state)
{
    if (state->lt_plans == nullptr)
        return;
    for (eh_cuda_lt_plan &plan : *state->lt_plans) forget(&plan);
    delete state->lt_plans;
    state->lt_plans = nullptr;
}

eh_status eh_cuda_multiply(eh_backend *backend, const eh_product *product)
{
    setting s;
    bool done = false;
    EH_TRY(set_up(backend, product, &s));
    EH_TRY(with_epilogue(backend, product, &s, nullptr, &done));
    return done ? EH_OK : plainly(backend, product, &s);
}

// cublasLt's GELU is the one by tanh, and keeps what it activates.
eh_status eh_cuda_multiply_activate(eh_backend *backend, const eh_product *product, eh_activation kind,
                                    const eh_tensor *activated)
{
    setting s;
    bool done = false;
    if (kind == EH_GELU_TANH) {
        EH_TRY(set_up(backend, product, &s));
        EH_TRY(with_epilogue(backend, product, &s, activated, &done));
    }
    if (done)
        return EH_OK;
    EH_TRY(eh_cuda_multiply(backend, product));
    return eh_cuda_activation_forward(backend, kind, &product->y, nullptr, activated);
}
