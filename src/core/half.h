// The two 16-bit floating point formats: bfloat16 and IEEE 754 binary16. Rounding is to nearest, ties to even.
#ifndef EH_CORE_HALF_H
#define EH_CORE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t eh_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float eh_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float eh_bf16_to_float(uint16_t bits)
{
    return eh_float_from_bits((uint32_t)bits << 16);
}

static inline uint16_t eh_bf16_from_float(float value)
{
    const uint32_t bits = eh_float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) // NaN stays NaN
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float eh_fp16_to_float(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ffu;
    if (exponent == 31)
        return eh_float_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent > 0)
        return eh_float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float magnitude = (float)fraction * 0x1p-24f; // subnormal, exact
    return sign ? -magnitude : magnitude;
}

static inline uint16_t eh_fp16_from_float(float value)
{
    const uint32_t bits = eh_float_bits(value);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) // rounds to 65536 or more
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { // below the smallest normal: adding 0.5 leaves the rounded fraction in the last bits
        const float shifted = eh_float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (eh_float_bits(shifted) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

#endif
