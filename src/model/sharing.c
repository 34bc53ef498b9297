// Training in parts: which rank holds what of the weights and gradients, bringing a layer's weights together ahead of
// its use, and adding its gradients to the other ranks' when its backward pass is done.
#include <string.h>

#include "core/memory.h"
#include "model/model_internal.h"

// --- Units --------------------------------------------------------------------------------------------------------

// A unit begins where the layer changes; all that belongs to no layer and lies together is one.
static bool begins_unit(const eh_layout *layout, int64_t p)
{
    const eh_slot *slot = &layout->slots[p], *before = slot - 1;
    return p == 0 || slot->layer != before->layer || (slot->layer != EH_LAYERLESS && slot->stack != before->stack);
}

eh_status eh_model_units(const eh_model *model, eh_unit **units, int64_t *unit_count)
{
    const eh_layout *layout = &model->layout;
    int64_t capacity = 0;
    *units = NULL;
    *unit_count = 0;
    for (int64_t p = 0; p < layout->count; p++) {
        const int64_t first = layout->parameters[p].offset;
        if (!begins_unit(layout, p))
            continue;
        if (p > 0)
            (*units)[*unit_count - 1].count = first - (*units)[*unit_count - 1].first;
        EH_TRY(EH_APPEND(units, unit_count, &capacity, (eh_unit){.first = first}));
    }
    eh_unit *last = &(*units)[*unit_count - 1];
    last->count = layout->weight_count - last->first;
    return EH_OK;
}

int eh_model_sharing_level(const eh_model *model)
{
    return model->shared.how.level;
}

eh_split_reducer *eh_model_gradient_sum(const eh_model *model)
{
    return model->shared.reducer;
}

static void place_units(eh_model *model)
{
    eh_shared *shared = &model->shared;
    for (int64_t p = 0, unit = -1; p < model->layout.count; p++) {
        eh_slot *slot = &model->layout.slots[p];
        unit += begins_unit(&model->layout, p);
        slot->unit = unit;
        shared->vector_place[p] = -1;
        if (!eh_is_matrix(model, p)) {
            const int64_t count = model->layout.parameters[p].count;
            const bool joins = p > 0 && slot->joined; // stays right behind the one before
            if (!joins)
                shared->vector_count = (shared->vector_count + EH_GRAIN - 1) / EH_GRAIN * EH_GRAIN;
            shared->vector_place[p] = shared->vector_count;
            shared->vector_count += count;
        }
        if (!begins_unit(&model->layout, p))
            continue;
        const int64_t count = shared->partition.units[unit].count;
        shared->streams[unit] = slot->layer != EH_LAYERLESS;
        if (!shared->streams[unit]) {
            shared->place[unit] = shared->kept_count;
            shared->kept_count += count;
            continue;
        }
        if (slot->layer == 0)
            shared->first_layer[slot->stack] = shared->layer_count;
        shared->place[unit] = shared->layer_count;
        shared->layers[shared->layer_count++] = unit;
        shared->window_count = count > shared->window_count ? count : shared->window_count;
    }
}

static eh_status divide(eh_model *model, int rank, int size)
{
    eh_shared *shared = &model->shared;
    eh_unit *units = NULL;
    int64_t count = 0;
    EH_TRY(eh_model_units(model, &units, &count));
    EH_TRY(eh_partition_init(units, count, rank, size, &shared->partition)); // owns the units now
    EH_TRY(EH_ALLOC(count, &shared->streams));
    EH_TRY(EH_ALLOC(count, &shared->place));
    EH_TRY(EH_ALLOC(count, &shared->layers));
    EH_TRY(EH_ALLOC(model->layout.count, &shared->vector_place));
    place_units(model);
    return EH_OK;
}

eh_status eh_sharing_outline(eh_model *model, int ranks)
{
    return divide(model, 0, ranks);
}

eh_status eh_sharing_init(eh_model *model, const eh_sharing *sharing)
{
    eh_shared *shared = &model->shared;
    if (sharing == NULL || sharing->level < 2)
        return EH_OK;
    shared->how = *sharing;
    shared->held[0] = shared->held[1] = -1;
    EH_TRY(divide(model, eh_comm_rank(sharing->comm), eh_comm_size(sharing->comm)));
    for (int w = 0; w < 2; w++) EH_TRY(eh_gathering_init(shared->partition.size, &shared->gatherings[w]));
    return EH_OK;
}

void eh_sharing_deinit(eh_model *model)
{
    eh_shared *shared = &model->shared;
    eh_split_reducer_free(&shared->reducer);
    for (int w = 0; w < 2; w++) {
        eh_gathering_deinit(&shared->gatherings[w]);
        eh_buffer_free(&shared->windows[w]);
        eh_buffer_free(&shared->gradient_windows[w]);
    }
    eh_buffer_free(&shared->kept);
    eh_buffer_free(&shared->kept_gradients);
    eh_buffer_free(&shared->vectors);
    eh_partition_deinit(&shared->partition);
    eh_free(&shared->streams);
    eh_free(&shared->place);
    eh_free(&shared->layers);
    eh_free(&shared->vector_place);
    *shared = (eh_shared){0};
}

// --- Memory -------------------------------------------------------------------------------------------------------

static eh_status needs_host_memory(const eh_model *model, eh_buffer *buffer)
{
    const eh_tensor any = {.buffer = buffer, .dtype = EH_F32, .dimension_count = 1, .shape = {1}};
    return eh_tensor_host(&any) != NULL
               ? EH_OK
               : eh_error(EH_INPUT, "memory.zero: %d needs a device whose memory is the host's (cpu, reference)",
                          model->shared.how.level);
}

static eh_status make_pair(eh_model *model, size_t bytes, const char *purpose, eh_buffer *pair[2])
{
    for (int w = 0; w < 2; w++) EH_TRY(eh_buffer_new(model->backend, bytes, purpose, &pair[w]));
    return EH_OK;
}

eh_status eh_sharing_make_gradients(eh_model *model)
{
    eh_shared *shared = &model->shared;
    EH_TRY(make_pair(model, (size_t)shared->window_count * 4, "gradients of a layer", shared->gradient_windows));
    EH_TRY(needs_host_memory(model, shared->gradient_windows[0]));
    EH_TRY(eh_buffer_new(model->backend, (size_t)shared->kept_count * 4, "gradients of embeddings",
                         &shared->kept_gradients));
    return eh_split_reducer_new(shared->how.comm, &shared->partition, shared->how.leaf_count, shared->how.tree,
                                &shared->reducer);
}

// Where a parameter lies in the buffers of its unit.
static eh_tensor in_unit(const eh_model *model, int64_t p, eh_buffer *kept, eh_buffer *const windows[2], eh_dtype dtype)
{
    const eh_shared *shared = &model->shared;
    const eh_parameter *parameter = &model->layout.parameters[p];
    const int64_t unit = model->layout.slots[p].unit, inside = parameter->offset - shared->partition.units[unit].first;
    return shared->streams[unit] ? eh_parameter_view(windows[shared->place[unit] % 2], parameter, dtype, inside)
                                 : eh_parameter_view(kept, parameter, dtype, shared->place[unit] + inside);
}

eh_tensor eh_sharing_gradient(const eh_model *model, int64_t p)
{
    return in_unit(model, p, model->shared.kept_gradients, model->shared.gradient_windows, EH_F32);
}

eh_status eh_sharing_make_weights(eh_model *model)
{
    eh_shared *shared = &model->shared;
    const size_t element = eh_dtype_bytes(model->compute), shard = (size_t)shared->partition.shard_count;
    const bool on_disk = shared->how.folder != NULL && model->compute != EH_F32;
    EH_TRY(on_disk ? eh_buffer_new_in_file(model->backend, shard * 4, shared->how.folder, "weights", &model->weights)
                   : eh_buffer_new(model->backend, shard * 4, "weights", &model->weights));
    if (model->compute != EH_F32)
        EH_TRY(eh_buffer_new(model->backend, shard * element, "weights for products", &model->copy));
    EH_TRY(make_pair(model, (size_t)shared->window_count * element, "weights of a layer", shared->windows));
    EH_TRY(eh_buffer_new(model->backend, (size_t)shared->kept_count * element, "embeddings", &shared->kept));
    EH_TRY(eh_buffer_new(model->backend, (size_t)shared->vector_count * 4, "norms and biases", &shared->vectors));
    for (int64_t p = 0; p < model->layout.count; p++) {
        eh_slot *slot = &model->layout.slots[p];
        if (eh_is_matrix(model, p))
            slot->matrix = in_unit(model, p, shared->kept, shared->windows, model->compute);
        else
            slot->value = slot->matrix =
                eh_parameter_view(shared->vectors, &model->layout.parameters[p], EH_F32, shared->vector_place[p]);
    }
    return EH_OK;
}

eh_tensor eh_sharing_own_part(const eh_model *model, int64_t p, int64_t *first, int64_t *count)
{
    const eh_parameter *parameter = &model->layout.parameters[p];
    const eh_tensor block = {
        .buffer = model->weights, .dtype = EH_F32, .dimension_count = 1, .shape = {model->layout.weight_count}};
    *first = 0;
    *count = parameter->count;
    if (model->shared.how.level < 3)
        return eh_tensor_rows(&block, parameter->offset, parameter->count);
    const eh_stretch *own = &model->shared.partition.own[model->layout.slots[p].unit];
    const int64_t end = parameter->offset + parameter->count, own_end = own->first + own->count;
    const int64_t begin = parameter->offset > own->first ? parameter->offset : own->first;
    const int64_t stop = end < own_end ? end : own_end;
    *first = begin - parameter->offset;
    *count = stop > begin ? stop - begin : 0;
    return eh_tensor_rows(&block, *count > 0 ? own->at + begin - own->first : 0, *count);
}

eh_status eh_sharing_read(eh_model *model, int64_t p, int64_t first, int64_t count, float *values)
{
    const eh_shared *shared = &model->shared;
    const int64_t unit = model->layout.slots[p].unit, begin = model->layout.parameters[p].offset + first;
    const eh_tensor weights = eh_model_weights(model);
    for (int rank = 0; rank < shared->partition.size; rank++) {
        const eh_stretch stretch = eh_unit_stretch(&shared->partition.units[unit], rank, shared->partition.size);
        const int64_t from = begin > stretch.first ? begin : stretch.first;
        const int64_t stop =
            begin + count < stretch.first + stretch.count ? begin + count : stretch.first + stretch.count;
        if (from >= stop)
            continue;
        if (rank == shared->partition.rank) {
            const eh_stretch *own = &shared->partition.own[unit];
            const eh_tensor part = eh_tensor_rows(&weights, own->at + from - own->first, stop - from);
            EH_TRY(eh_backend_download(model->backend, &part, values + (from - begin)));
            eh_tensor_release(&part);
        }
        EH_TRY(
            eh_comm_broadcast(shared->how.comm, values + (from - begin), (size_t)(stop - from) * sizeof *values, rank));
    }
    return EH_OK;
}

// --- Bringing weights together ------------------------------------------------------------------------------------

static eh_status begin_gathering(eh_model *model, int64_t unit, eh_buffer *into, int64_t at, eh_gathering *gathering)
{
    const eh_shared *shared = &model->shared;
    const eh_tensor copy = eh_model_weight_copy(model), weights = eh_model_weights(model);
    const eh_tensor *from = eh_tensor_exists(&copy) ? &copy : &weights;
    const size_t element = eh_dtype_bytes(model->compute);
    const eh_tensor whole = {.buffer = into,
                             .offset = (size_t)at * element,
                             .dtype = model->compute,
                             .dimension_count = 1,
                             .shape = {shared->partition.units[unit].count}};
    const char *own = eh_tensor_host(from);
    EH_TRY(eh_backend_wait(model->backend));
    return eh_gathering_begin(shared->how.comm, &shared->partition, unit, element,
                              own + (size_t)shared->partition.own[unit].at * element, eh_tensor_host(&whole),
                              gathering);
}

static eh_status fetch_layer(eh_model *model, int64_t layer)
{
    eh_shared *shared = &model->shared;
    const int64_t w = layer % 2;
    if (shared->held[w] == layer)
        return EH_OK;
    EH_TRY(eh_gathering_end(&shared->gatherings[w]));
    shared->held[w] = layer;
    return begin_gathering(model, shared->layers[layer], shared->windows[w], 0, &shared->gatherings[w]);
}

// All ranks' parts of the vectors, as bits: what a rank lacks is 0.
static eh_status refresh_vectors(eh_model *model)
{
    eh_shared *shared = &model->shared;
    const eh_tensor all = {
        .buffer = shared->vectors, .dtype = EH_F32, .dimension_count = 1, .shape = {shared->vector_count}};
    EH_TRY(eh_fill(model->backend, 0, &all));
    for (int64_t p = 0; p < model->layout.count; p++) {
        int64_t first, count;
        const eh_tensor own = eh_sharing_own_part(model, p, &first, &count);
        if (shared->vector_place[p] < 0 || count == 0)
            continue;
        const eh_tensor place = eh_tensor_rows(&all, shared->vector_place[p] + first, count);
        EH_TRY(eh_convert(model->backend, &own, &place));
    }
    EH_TRY(eh_backend_wait(model->backend));
    return eh_comm_or_u32(shared->how.comm, eh_tensor_host(&all), shared->vector_count);
}

eh_status eh_sharing_refresh(eh_model *model)
{
    eh_shared *shared = &model->shared;
    for (int w = 0; w < 2; w++) {
        EH_TRY(eh_gathering_end(&shared->gatherings[w]));
        shared->held[w] = -1;
    }
    for (int64_t unit = 0; unit < shared->partition.unit_count; unit++)
        if (!shared->streams[unit]) {
            EH_TRY(begin_gathering(model, unit, shared->kept, shared->place[unit], &shared->gatherings[0]));
            EH_TRY(eh_gathering_end(&shared->gatherings[0]));
        }
    return refresh_vectors(model);
}

// --- Passes -------------------------------------------------------------------------------------------------------

static eh_tensor gradients_of(const eh_model *model, int64_t unit)
{
    const eh_shared *shared = &model->shared;
    const bool streams = shared->streams[unit];
    return (eh_tensor){.buffer = streams ? shared->gradient_windows[shared->place[unit] % 2] : shared->kept_gradients,
                       .offset = streams ? 0 : (size_t)shared->place[unit] * sizeof(float),
                       .dtype = EH_F32,
                       .dimension_count = 1,
                       .shape = {shared->partition.units[unit].count}};
}

eh_status eh_sharing_begin_layer(eh_model *model, eh_stack stack, int64_t l, eh_direction direction)
{
    eh_shared *shared = &model->shared;
    const int64_t layer = shared->first_layer[stack] + l, next = direction == EH_FORWARD ? layer + 1 : layer - 1;
    if (shared->how.level == 3) {
        EH_TRY(fetch_layer(model, layer));
        EH_TRY(eh_gathering_end(&shared->gatherings[layer % 2]));
        if (next >= 0 && next < shared->layer_count)
            EH_TRY(fetch_layer(model, next));
    }
    if (shared->how.level < 2 || direction == EH_FORWARD)
        return EH_OK;
    const eh_tensor gradient = gradients_of(model, shared->layers[layer]);
    return eh_fill(model->backend, 0, &gradient);
}

// One unit at a time is under way, while the next one is computed in the other window.
static eh_status add_up(eh_model *model, int64_t unit)
{
    eh_shared *shared = &model->shared;
    const eh_tensor gradient = gradients_of(model, unit);
    EH_TRY(eh_backend_wait(model->backend));
    EH_TRY(eh_split_reducer_end(shared->reducer));
    return eh_split_reducer_begin(shared->reducer, unit, eh_tensor_host(&gradient));
}

eh_status eh_sharing_end_layer(eh_model *model, eh_stack stack, int64_t l)
{
    const eh_shared *shared = &model->shared;
    return shared->how.level < 2 ? EH_OK : add_up(model, shared->layers[shared->first_layer[stack] + l]);
}

eh_status eh_sharing_skip_stack(eh_model *model, eh_stack stack, eh_direction direction)
{
    const int64_t count = model->t.layer_count[stack];
    for (int64_t i = 0; i < count; i++) {
        const int64_t l = direction == EH_FORWARD ? i : count - 1 - i;
        EH_TRY(eh_sharing_begin_layer(model, stack, l, direction));
        if (direction == EH_BACKWARD)
            EH_TRY(eh_sharing_end_layer(model, stack, l));
    }
    return EH_OK;
}

eh_status eh_sharing_begin_backward(eh_model *model)
{
    if (model->shared.how.level < 2)
        return EH_OK;
    const eh_tensor kept = {.buffer = model->shared.kept_gradients,
                            .dtype = EH_F32,
                            .dimension_count = 1,
                            .shape = {model->shared.kept_count}};
    return eh_fill(model->backend, 0, &kept);
}

eh_status eh_sharing_end_backward(eh_model *model)
{
    eh_shared *shared = &model->shared;
    if (shared->how.level < 2)
        return EH_OK;
    for (int64_t unit = shared->partition.unit_count - 1; unit >= 0; unit--)
        if (!shared->streams[unit])
            EH_TRY(add_up(model, unit));
    EH_TRY(eh_split_reducer_end(shared->reducer));
    eh_split_reducer_end_round(shared->reducer);
    return EH_OK;
}

eh_status eh_model_pass_by(eh_model *model, bool backward)
{
    for (int s = 0; s < EH_STACK_COUNT; s++) EH_TRY(eh_sharing_skip_stack(model, (eh_stack)s, EH_FORWARD));
    if (!backward)
        return EH_OK;
    EH_TRY(eh_sharing_begin_backward(model));
    for (int s = EH_STACK_COUNT - 1; s >= 0; s--) EH_TRY(eh_sharing_skip_stack(model, (eh_stack)s, EH_BACKWARD));
    return eh_sharing_end_backward(model);
}
