// Layer and root mean square norms. A block per row, eight elements a thread, which stay in registers between the
// passes: each number is read and written once. Memory bounds them.
#include "backend/cuda/device.cuh"

namespace
{

struct norm_shape {
    int64_t rows, width;
    float eps;
    bool centred; // layer norm
};

// Bytes: x (and the residual) read, y (and their sum) written; expect 80-85 % from 1024 columns and some hundred rows
// up. Mean (0 for the root mean square norm) and 1 / sqrt(var + eps) in two passes: one would lose the digits of a
// large mean. `turns`: eights that a thread has.
template <int turns>
__global__ void __launch_bounds__(eh_most_threads)
    norm_forward_kernel(norm_shape shape, eh_array x, eh_array residual, eh_array sum, eh_array weight, eh_array bias,
                        eh_array y, float *mean_out, float *scale_out)
{
    const int64_t row = blockIdx.x, begin = row * shape.width, end = begin + shape.width;
    const int64_t first = 8 * static_cast<int64_t>(threadIdx.x), step = 8 * static_cast<int64_t>(blockDim.x);
    eh_eight own[turns];
    float total = 0;
#pragma unroll
    for (int turn = 0; turn < turns; turn++) {
        const int64_t i = begin + first + turn * step;
        own[turn] = eh_load8(x, i, end);
        if (residual.data != nullptr) {
            const eh_eight b = eh_load8(residual, i, end);
#pragma unroll
            for (int j = 0; j < 8; j++) own[turn].v[j] += b.v[j];
            eh_store8(sum, i, end, own[turn]);
            own[turn] = eh_rounded8(sum.dtype, own[turn]); // as the backward pass will read it
        }
#pragma unroll
        for (int j = 0; j < 8; j++) total += own[turn].v[j];
    }
    const float width = static_cast<float>(shape.width);
    const float mean = shape.centred ? eh_block_sum(total) / width : 0.0f;
    float squares = 0;
#pragma unroll
    for (int turn = 0; turn < turns; turn++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (first + turn * step + j < shape.width)
                squares += (own[turn].v[j] - mean) * (own[turn].v[j] - mean);
    const float scale = 1 / sqrtf(eh_block_sum(squares) / width + shape.eps);
#pragma unroll
    for (int turn = 0; turn < turns; turn++) {
        const int64_t i = first + turn * step;
        const eh_eight w = eh_load8(weight, i, shape.width);
        eh_eight b = {};
        if (bias.data != nullptr)
            b = eh_load8(bias, i, shape.width);
#pragma unroll
        for (int j = 0; j < 8; j++) b.v[j] += (own[turn].v[j] - mean) * scale * w.v[j];
        eh_store8(y, begin + i, end, b);
    }
    if (threadIdx.x == 0) {
        if (mean_out != nullptr)
            mean_out[row] = mean;
        if (scale_out != nullptr)
            scale_out[row] = scale;
    }
}

// With n = (x - mean) scale and g = grad_y weight: grad_x = scale (g - [mean g] - n mean(g n)); [] for layer norm only.
// Bytes: x and grad_y read, grad_x written (and read where it is added to); expect 80-85 %.
template <int turns>
__global__ void __launch_bounds__(eh_most_threads)
    norm_backward_kernel(norm_shape shape, eh_array x, const float *mean_in, const float *scale_in, eh_array weight,
                         eh_array grad_y, eh_array grad_x, bool add)
{
    const int64_t row = blockIdx.x, begin = row * shape.width, end = begin + shape.width;
    const int64_t first = 8 * static_cast<int64_t>(threadIdx.x), step = 8 * static_cast<int64_t>(blockDim.x);
    const float mean = shape.centred ? mean_in[row] : 0.0f, scale = scale_in[row];
    eh_eight g[turns], normal[turns];
    float sum = 0, along = 0;
#pragma unroll
    for (int turn = 0; turn < turns; turn++) { // past the end, grad_y and weight are 0
        const int64_t i = first + turn * step;
        g[turn] = eh_load8(grad_y, begin + i, end);
        normal[turn] = eh_load8(x, begin + i, end);
        const eh_eight w = eh_load8(weight, i, shape.width);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            g[turn].v[j] *= w.v[j];
            normal[turn].v[j] = (normal[turn].v[j] - mean) * scale;
            sum += g[turn].v[j];
            along += g[turn].v[j] * normal[turn].v[j];
        }
    }
    const float width = static_cast<float>(shape.width);
    const float mean_grad = shape.centred ? eh_block_sum(sum) / width : 0.0f, mean_along = eh_block_sum(along) / width;
#pragma unroll
    for (int turn = 0; turn < turns; turn++) {
        const int64_t i = begin + first + turn * step;
        eh_eight old = {};
        if (add)
            old = eh_load8(grad_x, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) old.v[j] += scale * (g[turn].v[j] - mean_grad - normal[turn].v[j] * mean_along);
        eh_store8(grad_x, i, end, old);
    }
}

// Like a column sum (rows.cu), of grad_y n and of grad_y; partial [2, chunks, columns]. Bytes: x and grad_y read once;
// expect 80-85 % from some thousand rows up, less for fewer, where a launch takes as long.
__global__ void __launch_bounds__(eh_block_threads, 4)
    norm_parameters_kernel(norm_shape shape, eh_array x, const float *mean_in, const float *scale_in, eh_array grad_y,
                           int64_t rows_a_chunk, float *partial, unsigned *tickets, eh_array grad_weight,
                           eh_array grad_bias)
{
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t width = shape.width, column = static_cast<int64_t>(blockIdx.x) * eh_sum_columns + 8 * lane;
    const int64_t begin = blockIdx.y * rows_a_chunk,
                  end = begin + rows_a_chunk < shape.rows ? begin + rows_a_chunk : shape.rows;
    eh_eight sums[2] = {};
    for (int64_t row = begin + warp; row < end && column < width; row += eh_sum_warps) {
        const float mean = shape.centred ? mean_in[row] : 0.0f, scale = scale_in[row];
        const eh_eight g = eh_load8(grad_y, row * width + column, (row + 1) * width),
                       a = eh_load8(x, row * width + column, (row + 1) * width);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            sums[0].v[j] += g.v[j] * (a.v[j] - mean) * scale;
            sums[1].v[j] += g.v[j];
        }
    }
    const eh_array to[2] = {grad_weight, grad_bias};
    eh_add_columns<2>(sums, partial, tickets, to, width);
}

norm_shape shape_of(const eh_norm *norm, const eh_tensor *x)
{
    const int64_t width = eh_tensor_count(&norm->weight), count = eh_tensor_count(x);
    return {width > 0 ? count / width : 0, width, norm->eps, norm->kind == EH_LAYER_NORM};
}

float *floats(const eh_tensor *tensor)
{
    return eh_tensor_exists(tensor) ? static_cast<float *>(eh_tensor_address(tensor)) : nullptr;
}

constexpr int most_turns = 2;
template <int turns> constexpr int64_t widest_of = 8 * eh_most_threads *turns;

eh_status check_width(int64_t width)
{
    if (width > widest_of<most_turns>)
        return eh_error(EH_INPUT, "rows of %lld elements: the CUDA backend's norms take up to %lld",
                        static_cast<long long>(width), static_cast<long long>(widest_of<most_turns>));
    return EH_OK;
}

} // namespace

eh_status eh_cuda_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *residual,
                               const eh_tensor *sum, const eh_tensor *y, const eh_tensor *mean, const eh_tensor *scale)
{
    const norm_shape shape = shape_of(norm, x);
    if (shape.rows == 0)
        return EH_OK;
    EH_TRY(check_width(shape.width));
    LAUNCH(shape.width <= widest_of<1> ? norm_forward_kernel<1> : norm_forward_kernel<most_turns>,
           dim3(static_cast<unsigned>(shape.rows)), eh_threads_for(shape.width), 0, eh_cuda(backend)->stream, shape,
           eh_array_of(x, shape.width), eh_array_of(residual, shape.width), eh_array_of(sum, shape.width),
           eh_array_of(&norm->weight, shape.width), eh_array_of(&norm->bias, shape.width), eh_array_of(y, shape.width),
           floats(mean), floats(scale));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *mean,
                                const eh_tensor *scale, const eh_tensor *grad_y, eh_output_mode mode,
                                const eh_tensor *grad_x, const eh_tensor *grad_weight, const eh_tensor *grad_bias)
{
    const norm_shape shape = shape_of(norm, x);
    if (shape.rows == 0)
        return EH_OK;
    EH_TRY(check_width(shape.width));
    eh_cuda_state *state = eh_cuda(backend);
    // The parameters' gradients first: grad_x may be grad_y.
    if (eh_tensor_exists(grad_weight) || eh_tensor_exists(grad_bias)) {
        const eh_sum_grid grid = eh_sum_grid_for(shape.rows, shape.width);
        void *scratch = nullptr;
        EH_TRY(eh_cuda_scratch(backend, 2 * grid.partial_bytes, &scratch));
        LAUNCH(norm_parameters_kernel, grid.blocks, dim3(eh_block_threads), 0, state->stream, shape,
               eh_array_of(x, shape.width), floats(mean), floats(scale), eh_array_of(grad_y, shape.width),
               grid.rows_a_chunk, static_cast<float *>(scratch), state->tickets, eh_array_of(grad_weight, shape.width),
               eh_array_of(grad_bias, shape.width));
        EH_CUDA(cudaGetLastError());
    }
    LAUNCH(shape.width <= widest_of<1> ? norm_backward_kernel<1> : norm_backward_kernel<most_turns>,
           dim3(static_cast<unsigned>(shape.rows)), eh_threads_for(shape.width), 0, state->stream, shape,
           eh_array_of(x, shape.width), floats(mean), floats(scale), eh_array_of(&norm->weight, shape.width),
           eh_array_of(grad_y, shape.width), eh_array_of(grad_x, shape.width), mode == EH_ADD);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
