// A warp's product of 16 x 16 and 16 x 8 numbers of 16 bits, added to 16 x 8 of fp32, on tensor cores (PTX: mma.sync
// m16n8k16). Lane l holds, with g = l / 4 and t = l % 4, two neighbours in a word, the first in its lower half:
//   a[0] row g, columns 2t, 2t+1    a[1] row g + 8     a[2] row g, columns 2t+8, 2t+9    a[3] row g + 8
//   b[0] rows 2t, 2t+1, column g    b[1] rows 2t+8, 2t+9
//   c[0], c[1] row g, columns 2t, 2t+1    c[2], c[3] row g + 8
// So the fp32 result of one product, rounded and packed, is the left operand of the next.
#ifndef EH_BACKEND_CUDA_MMA_CUH
#define EH_BACKEND_CUDA_MMA_CUH

#include "backend/cuda/device.cuh"

template <bool bf16> __device__ inline void eh_mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
#if defined(CUDAEMU)
    cudaemu::mma_16x8x16(c, a, b, bf16, CUDAEMU_HERE);
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    if (bf16)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    if (!bf16) { // Turing's step is half as deep, and knows no bf16: eh_cuda_tensor_forward leaves that alone
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(b[0]));
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[2]), "r"(a[3]), "r"(b[1]));
    }
#endif
}

// Two numbers, rounded, as a word.
template <bool bf16> __device__ inline uint32_t eh_pack(float low, float high)
{
    return eh_pair_bits(bf16 ? EH_BF16 : EH_F16, low, high);
}

#endif
