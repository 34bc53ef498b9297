#include "model/noise.h"

#include <math.h>

#include "core/memory.h"
#include "core/philox.h"
#include "model/model_internal.h"

eh_status eh_noise_init(eh_backend *backend, eh_model *model, uint64_t seed, eh_noise *noise)
{
    *noise = (eh_noise){.backend = backend, .model = model, .seed = seed};
    const eh_tensor weights = eh_model_weights(model);
    const eh_parameter *parameters = eh_model_parameters(model);
    int64_t largest = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++)
        largest = parameters[p].count > largest ? parameters[p].count : largest;
    EH_TRY(EH_ALLOC(eh_model_weight_count(model), &noise->weights));
    EH_TRY(EH_ALLOC(largest, &noise->scratch));
    return eh_backend_download(backend, &weights, noise->weights);
}

void eh_noise_deinit(eh_noise *noise)
{
    eh_free(&noise->weights);
    eh_free(&noise->scratch);
    *noise = (eh_noise){0};
}

static double root_mean_square(const float *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i] * values[i];
    return count > 0 ? sqrt(sum / (double)count) : 0;
}

static eh_status apply_to(eh_noise *noise, const eh_parameter *parameter, int64_t draw, double strength)
{
    const float *from = noise->weights + parameter->offset;
    float *to = noise->scratch;
    const double deviation = strength * root_mean_square(from, parameter->count);
    const uint64_t seed = noise->seed ^ eh_name_key(parameter->name), first = (uint64_t)draw << 48;
#pragma omp parallel for
    for (int64_t i = 0; i < parameter->count; i++)
        to[i] = deviation != 0
                    ? (float)(from[i] + deviation * eh_random_normal(seed, EH_STREAM_DAMAGE, first + (uint64_t)i))
                    : from[i];
    const eh_tensor weights = eh_model_weights(noise->model);
    const eh_tensor part = eh_tensor_rows(&weights, parameter->offset, parameter->count);
    EH_TRY(eh_backend_upload(noise->backend, to, &part));
    return eh_backend_wait(noise->backend); // the scratch is used again
}

eh_status eh_noise_apply(eh_noise *noise, int64_t draw, double strength)
{
    const eh_parameter *parameters = eh_model_parameters(noise->model);
    for (int64_t p = 0; p < eh_model_parameter_count(noise->model); p++)
        EH_TRY(apply_to(noise, &parameters[p], draw, strength));
    return eh_model_weights_changed(noise->model);
}
