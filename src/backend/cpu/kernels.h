// The inner loops of the CPU backend, written once over vectors of `width` floats (kernels.inc and what it includes)
// and compiled for each instruction set; the backend picks one table at run time. All work on one thread, on contiguous
// fp32 unless said otherwise, allocate nothing, and give the same bits for a row whatever else is in the call.
#ifndef EH_BACKEND_CPU_KERNELS_H
#define EH_BACKEND_CPU_KERNELS_H

#include "backend/backend.h"

// c[i, j] = (accumulate ? c[i, j] : 0) + bias[j] + alpha * sum_l a(i, l) b(l, j), where a(i, l) is the element
// i * a_row + l * a_column of `a`, and so on: one of each pair of strides is 1. The sum runs in order over blocks of
// EH_GEMM_DEPTH, each in one chain of fused multiply-adds: so an element's bits depend on its row and column only.
typedef struct {
    int64_t m, n, k;
    const void *a, *b;
    eh_dtype a_type, b_type;
    int64_t a_row, a_column, b_row, b_column;
    const float *packed_b; // b as `pack` left it, or NULL; then column `first_column` is where b begins in it
    int64_t first_column;
    const float *packed_a;          // a as `pack_a` left it, or NULL; then row `first_row` is where a begins in it
    int64_t first_row, packed_rows; // packed_rows: of all of it, rounded up to panel_rows
    float *c;
    int64_t c_row;
    const float *bias; // or NULL
    float alpha;
    bool accumulate;
} eh_gemm;

enum {
    EH_GEMM_DEPTH = 256,   // a panel of b of this depth stays in the first-level cache
    EH_GEMM_ROWS = 256,    // at most so many rows of a are packed at a time: with the depth, half a second-level cache
    EH_GEMM_FEW = 8,       // rows of a, up to which b is read as it lies, once
    EH_GEMM_COLUMNS = 256, // columns of c that a task should have, so that c stays in the second-level cache
    EH_GEMM_SCRATCH = EH_GEMM_ROWS * EH_GEMM_DEPTH + 32 * EH_GEMM_DEPTH + 32 * 32, // floats
};

typedef struct {
    const char *name;  // of the instruction set
    int width;         // floats in a vector
    int panel_rows;    // of a that a panel holds
    int panel_columns; // of b
    bool pairs;        // a and b both bf16: panels hold pairs of them in a word, half as many words (rounded up)
    void (*gemm)(const eh_gemm *gemm, float *scratch); // scratch: EH_GEMM_SCRATCH floats, 64-byte aligned
    // Packs columns [first, first + count) of b (first a multiple of panel_columns) of a gemm with this k. `packed`
    // holds all columns: k * (n rounded up to panel_columns) floats.
    void (*pack)(const eh_gemm *gemm, int64_t first, int64_t count, float *packed);
    // The same for rows of a: k * packed_rows floats.
    void (*pack_a)(const eh_gemm *gemm, int64_t first, int64_t count, float *packed);

    void (*to_float)(float *y, const uint16_t *x, eh_dtype dtype, int64_t n);
    void (*from_float)(uint16_t *y, const float *x, eh_dtype dtype, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);
    void (*scale)(float *y, float factor, int64_t n);
    void (*dropout)(float *y, const float *x, float p, uint64_t seed, uint64_t first_index, int64_t n);
    void (*activation)(eh_activation kind, const float *x, const float *gate, float *y, int64_t n);
    void (*activation_backward)(eh_activation kind, const float *x, const float *gate, const float *grad_y,
                                float *grad_x, float *grad_gate, int64_t n);

    // y = weight (x - mean) scale + bias; mean is 0 and unset for RMS.
    void (*norm)(eh_norm_kind kind, float eps, const float *x, const float *weight, const float *bias, int64_t n,
                 float *y, float *mean, float *scale);
    // grad_x = base + ...; base or NULL, grad_x may be base or grad_y. weight_sum, bias_sum are added to (NULL: not).
    void (*norm_backward)(eh_norm_kind kind, const float *x, float mean, float scale, const float *weight,
                          const float *grad_y, const float *base, int64_t n, float *grad_x, float *weight_sum,
                          float *bias_sum);

    float (*largest)(const float *x, int64_t n);        // -inf if n is 0; NaN if one is
    float (*exp_sum)(float *x, float shift, int64_t n); // x = exp(x - shift), returns the sum
    void (*subtract)(float *x, float shift, int64_t n); // x -= shift
    void (*score_row)(float *x, float scale, float slope, const float *bias, int64_t n); // scale x + slope j + bias_j
    // x = p (g - inner) with p = exp(s - log_sum_exp), in place of g; s becomes p.
    void (*softmax_backward)(float *s, float *g, float log_sum_exp, float inner, int64_t n);
    float (*dot)(const float *x, const float *y, int64_t n);
    // z = weight scale exp(z - log_sum_exp): the gradient of the logits, but for the target's.
    void (*logit_gradient)(float *z, float log_sum_exp, float factor, int64_t n);

    // step_size, decay and so on as eh_adamw works them out.
    void (*adamw)(const eh_adamw *adamw, float *weights, const float *gradient, float *m, float *v, int64_t n);
    double (*sum_of_squares)(const float *x, int64_t n);

    // Multiplies and adds in registers, of bf16 if `pairs`; returns the floating point operations. sums [10 width].
    double (*multiply_in_registers)(bool pairs, int64_t rounds, float *sums);

    // For the tests of the polynomials' bounds.
    void (*exponential)(float *y, const float *x, int64_t n);
} eh_cpu_kernels;

extern const eh_cpu_kernels eh_cpu_kernels_base; // what every machine of this kind has
extern const eh_cpu_kernels eh_cpu_kernels_wide; // for tests: as AVX-512's, in plain C
extern const eh_cpu_kernels eh_cpu_kernels_avx2, eh_cpu_kernels_avx512, eh_cpu_kernels_avx512_bf16;

#endif
