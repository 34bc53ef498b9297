// Layer and root mean square norms. A block per row, which stays in the cache between the passes over it: bytes bound
// the forward pass (read x and residual once, write sum and y), expect 80 % of the bandwidth from 1024 columns up.
#include "backend/cuda/device.cuh"

namespace
{

struct norm_shape {
    int64_t rows, width;
    float eps;
    bool centred; // layer norm
};

// Mean (0 for the root mean square norm) and 1 / sqrt(var + eps) of a row, in two passes.
__device__ void row_moments(const eh_array &row, int64_t begin, const norm_shape &shape, float *mean, float *scale)
{
    const int64_t end = begin + shape.width;
    float sum = 0;
    if (shape.centred)
        for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += eh_load(row, i);
    *mean = shape.centred ? eh_block_sum(sum) / static_cast<float>(shape.width) : 0.0f;
    float squares = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const float d = eh_load(row, i) - *mean;
        squares += d * d;
    }
    *scale = 1 / sqrtf(eh_block_sum(squares) / static_cast<float>(shape.width) + shape.eps);
}

__global__ void norm_forward_kernel(norm_shape shape, eh_array x, eh_array residual, eh_array sum, eh_array weight,
                                    eh_array bias, eh_array y, float *mean_out, float *scale_out)
{
    const int64_t row = blockIdx.x, begin = row * shape.width, end = begin + shape.width;
    if (residual.data != nullptr) {
        for (int64_t i = begin + 4 * threadIdx.x; i < end; i += 4 * blockDim.x) {
            const float4 a = eh_load4(x, i, end), b = eh_load4(residual, i, end);
            eh_store4(sum, i, end, make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w));
        }
        __syncthreads(); // the passes below read what other threads wrote
    }
    const eh_array source = residual.data != nullptr ? sum : x;
    float mean = 0, scale = 0;
    row_moments(source, begin, shape, &mean, &scale);
    for (int64_t i = threadIdx.x; i < shape.width; i += blockDim.x) {
        const float normal = (eh_load(source, begin + i) - mean) * scale;
        eh_store(y, begin + i, normal * eh_load(weight, i) + (bias.data != nullptr ? eh_load(bias, i) : 0.0f));
    }
    if (threadIdx.x == 0) {
        if (mean_out != nullptr)
            mean_out[row] = mean;
        if (scale_out != nullptr)
            scale_out[row] = scale;
    }
}

// With n = (x - mean) scale and g = grad_y weight: grad_x = scale (g - [mean g] - n mean(g n)); [] for layer norm only.
__global__ void norm_backward_kernel(norm_shape shape, eh_array x, const float *mean_in, const float *scale_in,
                                     eh_array weight, eh_array grad_y, eh_array grad_x, bool add)
{
    const int64_t row = blockIdx.x, begin = row * shape.width;
    const float mean = shape.centred ? mean_in[row] : 0.0f, scale = scale_in[row];
    float sum = 0, along = 0;
    for (int64_t i = threadIdx.x; i < shape.width; i += blockDim.x) {
        const float g = eh_load(grad_y, begin + i) * eh_load(weight, i);
        sum += g;
        along += g * (eh_load(x, begin + i) - mean) * scale;
    }
    const float width = static_cast<float>(shape.width);
    const float mean_grad = shape.centred ? eh_block_sum(sum) / width : 0.0f, mean_along = eh_block_sum(along) / width;
    for (int64_t i = threadIdx.x; i < shape.width; i += blockDim.x) {
        const float g = eh_load(grad_y, begin + i) * eh_load(weight, i);
        const float normal = (eh_load(x, begin + i) - mean) * scale;
        const float grad = scale * (g - mean_grad - normal * mean_along);
        eh_store(grad_x, begin + i, add ? eh_load(grad_x, begin + i) + grad : grad);
    }
}

// Like a column sum: a block per 32 columns, eight rows at a time, in a fixed order.
__global__ void norm_parameters_kernel(norm_shape shape, eh_array x, const float *mean_in, const float *scale_in,
                                       eh_array grad_y, eh_array grad_weight, eh_array grad_bias)
{
    SHARED(float, weight_part, eh_block_threads);
    SHARED(float, bias_part, eh_block_threads);
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
    float weight_sum = 0, bias_sum = 0;
    if (column < shape.width)
        for (int64_t row = warp; row < shape.rows; row += eh_block_threads / 32) {
            const float mean = shape.centred ? mean_in[row] : 0.0f, g = eh_load(grad_y, row * shape.width + column);
            weight_sum += g * (eh_load(x, row * shape.width + column) - mean) * scale_in[row];
            bias_sum += g;
        }
    weight_part[threadIdx.x] = weight_sum;
    bias_part[threadIdx.x] = bias_sum;
    __syncthreads();
    if (warp != 0 || column >= shape.width)
        return;
    for (int w = 1; w < eh_block_threads / 32; w++) {
        weight_sum += weight_part[32 * w + lane];
        bias_sum += bias_part[32 * w + lane];
    }
    if (grad_weight.data != nullptr)
        eh_store(grad_weight, column, eh_load(grad_weight, column) + weight_sum);
    if (grad_bias.data != nullptr)
        eh_store(grad_bias, column, eh_load(grad_bias, column) + bias_sum);
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
    LAUNCH(norm_forward_kernel, dim3(static_cast<unsigned>(shape.rows)), dim3(eh_block_threads), 0,
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
        LAUNCH(norm_parameters_kernel, dim3(static_cast<unsigned>((shape.width + 31) / 32)), dim3(eh_block_threads), 0,
               stream, shape, eh_array_of(x, shape.width), floats(mean), floats(scale),
               eh_array_of(grad_y, shape.width), eh_array_of(grad_weight, shape.width),
               eh_array_of(grad_bias, shape.width));
        EH_CUDA(cudaGetLastError());
    }
    LAUNCH(norm_backward_kernel, dim3(static_cast<unsigned>(shape.rows)), dim3(eh_block_threads), 0, stream, shape,
           eh_array_of(x, shape.width), floats(mean), floats(scale), eh_array_of(&norm->weight, shape.width),
           eh_array_of(grad_y, shape.width), eh_array_of(grad_x, shape.width), mode == EH_ADD);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
