// Layer and root mean square norms. A block per row, eight elements a thread and turn; a row's passes after the first
// find it in the L1 cache, each thread what it read or wrote itself.
#include "backend/cuda/device.cuh"

namespace
{

struct norm_shape {
    int64_t rows, width;
    float eps;
    bool centred; // layer norm
};

// Bytes: x (and the residual) read, y (and their sum) written; expect 80-85 % from 1024 columns up. Mean (0 for the
// root mean square norm) and 1 / sqrt(var + eps) in two passes: one would lose the digits of a large mean.
__global__ void norm_forward_kernel(norm_shape shape, eh_array x, eh_array residual, eh_array sum, eh_array weight,
                                    eh_array bias, eh_array y, float *mean_out, float *scale_out)
{
    const int64_t row = blockIdx.x, begin = row * shape.width, end = begin + shape.width;
    const int64_t first = 8 * static_cast<int64_t>(threadIdx.x), step = 8 * static_cast<int64_t>(blockDim.x);
    const eh_array source = residual.data != nullptr ? sum : x;
    float total = 0;
    for (int64_t i = begin + first; i < end; i += step) {
        eh_eight a = eh_load8(x, i, end);
        if (residual.data != nullptr) {
            const eh_eight b = eh_load8(residual, i, end);
#pragma unroll
            for (int j = 0; j < 8; j++) a.v[j] += b.v[j];
            eh_store8(sum, i, end, a);
            a = eh_load8(sum, i, end); // as it was rounded
        }
#pragma unroll
        for (int j = 0; j < 8; j++) total += a.v[j];
    }
    const float width = static_cast<float>(shape.width);
    const float mean = shape.centred ? eh_block_sum(total) / width : 0.0f;
    float squares = 0;
    for (int64_t i = begin + first; i < end; i += step) {
        const eh_eight a = eh_load8(source, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (i + j < end)
                squares += (a.v[j] - mean) * (a.v[j] - mean);
    }
    const float scale = 1 / sqrtf(eh_block_sum(squares) / width + shape.eps);
    for (int64_t i = first; i < shape.width; i += step) {
        eh_eight a = eh_load8(source, begin + i, end);
        const eh_eight w = eh_load8(weight, i, shape.width);
        eh_eight b = {};
        if (bias.data != nullptr)
            b = eh_load8(bias, i, shape.width);
#pragma unroll
        for (int j = 0; j < 8; j++) a.v[j] = (a.v[j] - mean) * scale * w.v[j] + b.v[j];
        eh_store8(y, begin + i, end, a);
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
__global__ void norm_backward_kernel(norm_shape shape, eh_array x, const float *mean_in, const float *scale_in,
                                     eh_array weight, eh_array grad_y, eh_array grad_x, bool add)
{
    const int64_t row = blockIdx.x, begin = row * shape.width, end = begin + shape.width;
    const int64_t first = 8 * static_cast<int64_t>(threadIdx.x), step = 8 * static_cast<int64_t>(blockDim.x);
    const float mean = shape.centred ? mean_in[row] : 0.0f, scale = scale_in[row];
    float sum = 0, along = 0;
    for (int64_t i = first; i < shape.width; i += step) { // past the end, grad_y and weight are 0
        const eh_eight g = eh_load8(grad_y, begin + i, end), w = eh_load8(weight, i, shape.width),
                       a = eh_load8(x, begin + i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            sum += g.v[j] * w.v[j];
            along += g.v[j] * w.v[j] * (a.v[j] - mean) * scale;
        }
    }
    const float width = static_cast<float>(shape.width);
    const float mean_grad = shape.centred ? eh_block_sum(sum) / width : 0.0f, mean_along = eh_block_sum(along) / width;
    for (int64_t i = first; i < shape.width; i += step) {
        eh_eight g = eh_load8(grad_y, begin + i, end);
        const eh_eight w = eh_load8(weight, i, shape.width), a = eh_load8(x, begin + i, end);
        eh_eight old = {};
        if (add)
            old = eh_load8(grad_x, begin + i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float normal = (a.v[j] - mean) * scale;
            g.v[j] = scale * (g.v[j] * w.v[j] - mean_grad - normal * mean_along) + old.v[j];
        }
        eh_store8(grad_x, begin + i, end, g);
    }
}

// Like a column sum (rows.cu), of grad_y and of grad_y n; partial [2, chunks, columns]. Bytes: x and grad_y read once;
// expect 80-85 %.
__global__ void norm_parameters_kernel(norm_shape shape, eh_array x, const float *mean_in, const float *scale_in,
                                       eh_array grad_y, int64_t rows_a_chunk, float *partial)
{
    SHARED(float, weight_sums, eh_block_threads * 8);
    SHARED(float, bias_sums, eh_block_threads * 8);
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t width = shape.width, column = static_cast<int64_t>(blockIdx.x) * eh_sum_columns + 8 * lane;
    const int64_t begin = blockIdx.y * rows_a_chunk,
                  end = begin + rows_a_chunk < shape.rows ? begin + rows_a_chunk : shape.rows;
    eh_eight weight_sum = {}, bias_sum = {};
    for (int64_t row = begin + warp; row < end && column < width; row += eh_block_threads / 32) {
        const float mean = shape.centred ? mean_in[row] : 0.0f, scale = scale_in[row];
        const eh_eight g = eh_load8(grad_y, row * width + column, (row + 1) * width),
                       a = eh_load8(x, row * width + column, (row + 1) * width);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            weight_sum.v[j] += g.v[j] * (a.v[j] - mean) * scale;
            bias_sum.v[j] += g.v[j];
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        weight_sums[eh_sum_columns * warp + 32 * j + lane] = weight_sum.v[j];
        bias_sums[eh_sum_columns * warp + 32 * j + lane] = bias_sum.v[j];
    }
    __syncthreads();
    const int64_t mine = static_cast<int64_t>(blockIdx.x) * eh_sum_columns + threadIdx.x;
    if (mine >= width)
        return;
    float weight_total = 0, bias_total = 0;
    const int place = static_cast<int>(32 * (threadIdx.x % 8) + threadIdx.x / 8);
    for (int w = 0; w < eh_block_threads / 32; w++) {
        weight_total += weight_sums[eh_sum_columns * w + place];
        bias_total += bias_sums[eh_sum_columns * w + place];
    }
    partial[blockIdx.y * width + mine] = weight_total;
    partial[(gridDim.y + blockIdx.y) * width + mine] = bias_total;
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

} // namespace

eh_status eh_cuda_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *residual,
                               const eh_tensor *sum, const eh_tensor *y, const eh_tensor *mean, const eh_tensor *scale)
{
    const norm_shape shape = shape_of(norm, x);
    if (shape.rows == 0)
        return EH_OK;
    LAUNCH(norm_forward_kernel, dim3(static_cast<unsigned>(shape.rows)), eh_threads_for(shape.width), 0,
           eh_cuda(backend)->stream, shape, eh_array_of(x, shape.width), eh_array_of(residual, shape.width),
           eh_array_of(sum, shape.width), eh_array_of(&norm->weight, shape.width),
           eh_array_of(&norm->bias, shape.width), eh_array_of(y, shape.width), floats(mean), floats(scale));
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
    const cudaStream_t stream = eh_cuda(backend)->stream;
    // The parameters' gradients first: grad_x may be grad_y.
    if (eh_tensor_exists(grad_weight) || eh_tensor_exists(grad_bias)) {
        const int64_t chunks = eh_sum_chunks(shape.rows), rows_a_chunk = (shape.rows + chunks - 1) / chunks;
        void *scratch = nullptr;
        EH_TRY(eh_cuda_scratch(backend, static_cast<size_t>(2 * chunks * shape.width) * sizeof(float), &scratch));
        float *partial = static_cast<float *>(scratch);
        LAUNCH(norm_parameters_kernel,
               dim3(static_cast<unsigned>((shape.width + eh_sum_columns - 1) / eh_sum_columns),
                    static_cast<unsigned>(chunks)),
               dim3(eh_block_threads), 0, stream, shape, eh_array_of(x, shape.width), floats(mean), floats(scale),
               eh_array_of(grad_y, shape.width), rows_a_chunk, partial);
        EH_CUDA(cudaGetLastError());
        if (eh_tensor_exists(grad_weight))
            EH_TRY(eh_cuda_add_chunks(eh_cuda(backend), partial, chunks, shape.width,
                                      eh_array_of(grad_weight, shape.width)));
        if (eh_tensor_exists(grad_bias))
            EH_TRY(eh_cuda_add_chunks(eh_cuda(backend), partial + chunks * shape.width, chunks, shape.width,
                                      eh_array_of(grad_bias, shape.width)));
    }
    LAUNCH(norm_backward_kernel, dim3(static_cast<unsigned>(shape.rows)), eh_threads_for(shape.width), 0, stream, shape,
           eh_array_of(x, shape.width), floats(mean), floats(scale), eh_array_of(&norm->weight, shape.width),
           eh_array_of(grad_y, shape.width), eh_array_of(grad_x, shape.width), mode == EH_ADD);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
