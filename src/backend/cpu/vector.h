// Vectors of EH_WIDTH floats, by gcc's vector extension, with the few operations that need an instruction of their own.
// The file that includes this has set EH_ISA_AVX512 or EH_ISA_AVX2, or neither: then plain C that any machine runs,
// four lanes at a time, or 16 with EH_ISA_WIDE, which shows on any machine that what AVX-512 runs is right but for its
// instructions.
#ifndef EH_BACKEND_CPU_VECTOR_H
#define EH_BACKEND_CPU_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/half.h"

#if defined(EH_ISA_AVX512) || defined(EH_ISA_AVX2)
#include <immintrin.h>
#endif

#if defined(EH_ISA_AVX512) || defined(EH_ISA_WIDE)
enum { EH_WIDTH = 16 };
#elif defined(EH_ISA_AVX2)
enum { EH_WIDTH = 8 };
#else
enum { EH_WIDTH = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * EH_WIDTH)));
typedef int32_t vi __attribute__((vector_size(4 * EH_WIDTH)));
typedef uint16_t vh __attribute__((vector_size(2 * EH_WIDTH)));

static inline vf v_load(const float *x)
{
    vf v;
    memcpy(&v, x, sizeof v);
    return v;
}
static inline void v_store(float *y, vf v)
{
    memcpy(y, &v, sizeof v);
}
// The first `count` < EH_WIDTH lanes; the others are 0.
static inline vf v_load_part(const float *x, int64_t count)
{
    vf v = {0};
    memcpy(&v, x, (size_t)count * sizeof *x);
    return v;
}
static inline void v_store_part(float *y, vf v, int64_t count)
{
    memcpy(y, &v, (size_t)count * sizeof *y);
}

#if defined(EH_ISA_AVX512) || defined(EH_ISA_WIDE)
#define EH_LANES(x)                                    \
    {                                                  \
        x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x \
    }
#elif defined(EH_ISA_AVX2)
#define EH_LANES(x)            \
    {                          \
        x, x, x, x, x, x, x, x \
    }
#else
#define EH_LANES(x) \
    {               \
        x, x, x, x  \
    }
#endif
static inline vf v_set(float x)
{
    return (vf)EH_LANES(x);
}
static inline vi v_set_int(int32_t x)
{
    return (vi)EH_LANES(x);
}
static inline vf v_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}
static inline vf v_abs(vf x)
{
    return (vf)((vi)x & v_set_int(0x7fffffff));
}
// All ones in the first `count` lanes.
static inline vi v_first(int64_t count)
{
    vi lane = {0};
    for (int32_t i = 0; i < EH_WIDTH; i++) lane[i] = i;
    return lane < v_set_int((int32_t)count);
}

#if defined(EH_ISA_AVX512)
static inline vf v_fma(vf a, vf b, vf c)
{
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
static inline vf v_sqrt(vf x)
{
    return (vf)_mm512_sqrt_ps((__m512)x);
}
static inline vf v_max(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
} // b if one is NaN
static inline vf v_min(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
static inline vi v_round_to_int(vf x)
{
    return (vi)_mm512_cvtps_epi32((__m512)x);
}
static inline vf v_from_bf16(const uint16_t *x)
{
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x)), 16);
}
static inline vf v_from_fp16(const uint16_t *x)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x));
}
static inline void v_to_fp16(uint16_t *y, vf v)
{
    const __m256 low = _mm512_castps512_ps256((__m512)v);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd((__m512)v), 1));
    _mm_storeu_si128((__m128i *)y, _mm256_cvtps_ph(low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(y + 8), _mm256_cvtps_ph(high, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(EH_ISA_AVX2)
static inline vf v_fma(vf a, vf b, vf c)
{
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
static inline vf v_sqrt(vf x)
{
    return (vf)_mm256_sqrt_ps((__m256)x);
}
static inline vf v_max(vf a, vf b)
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
} // b if one is NaN
static inline vf v_min(vf a, vf b)
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
static inline vi v_round_to_int(vf x)
{
    return (vi)_mm256_cvtps_epi32((__m256)x);
}
static inline vf v_from_bf16(const uint16_t *x)
{
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)x)), 16);
}
static inline vf v_from_fp16(const uint16_t *x)
{
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
}
static inline void v_to_fp16(uint16_t *y, vf v)
{
    _mm_storeu_si128((__m128i *)y, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}
#else
static inline vf v_fma(vf a, vf b, vf c)
{
    return a * b + c;
} // rounds twice
static inline vf v_sqrt(vf x)
{
    for (int i = 0; i < EH_WIDTH; i++) x[i] = sqrtf(x[i]);
    return x;
}
static inline vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
} // b if one is NaN
static inline vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}
static inline vi v_round_to_int(vf x)
{
    vi y = {0};
    for (int i = 0; i < EH_WIDTH; i++) y[i] = (int32_t)lrintf(x[i]);
    return y;
}
static inline vf v_from_bf16(const uint16_t *x)
{
    vf v = {0};
    for (int i = 0; i < EH_WIDTH; i++) v[i] = eh_bf16_to_float(x[i]);
    return v;
}
static inline vf v_from_fp16(const uint16_t *x)
{
    vf v = {0};
    for (int i = 0; i < EH_WIDTH; i++) v[i] = eh_fp16_to_float(x[i]);
    return v;
}
static inline void v_to_fp16(uint16_t *y, vf v)
{
    for (int i = 0; i < EH_WIDTH; i++) y[i] = eh_fp16_from_float(v[i]);
}
#endif

static inline void v_to_bf16(uint16_t *y, vf v)
{
    const vi bits = (vi)v;
    const vi rounded = (bits + v_set_int(0x7fff) + ((bits >> 16) & 1)) >> 16;
    const vi nan = (bits >> 16) | 0x40;
    const vi is_nan = v != v;
    const vi result = (is_nan & nan) | (~is_nan & rounded);
    const vh half = __builtin_convertvector(result, vh);
    memcpy(y, &half, sizeof half);
}

static inline vf v_float(vi x)
{
    return __builtin_convertvector(x, vf);
}

// Sum of the lanes: halves are added until one is left.
static inline float v_sum(vf v)
{
    float lane[EH_WIDTH];
    memcpy(lane, &v, sizeof v);
    for (int half = EH_WIDTH / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

#endif
