// Training in parts: which rank holds what of the weights and gradients, bringing a layer's weights together ahead of
// its use, and adding its gradients to the other ranks' when its backward pass is done.
#include <string.h>

#include "core/memory.h"
#include "model/model_internal.h"

// --- Units --------------------------------------------------------------------------------------------------------

eh_status eh_model_units(const eh_model *model, eh_unit **units, int64_t *unit_count)
{
    const eh_layout *layout = &model->layout;
    EH_TRY(EH_ALLOC(layout->unit_count, units));
    memcpy(*units, layout->units, (size_t)layout->unit_count * sizeof **units);
    *unit_count = layout->unit_count;
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

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// The layer that a unit is of is opened with its first unit, which is that of what has gradients, if it has any.
static eh_passing_layer *layer_with(eh_shared *shared, int64_t unit, const eh_slot *slot, bool begins)
{
    if (begins) {
        if (slot->layer == 0)
            shared->first_layer[slot->stack] = shared->layer_count;
        shared->layers[shared->layer_count++] = (eh_passing_layer){{0}, 0};
    }
    eh_passing_layer *layer = &shared->layers[shared->layer_count - 1];
    layer->units[layer->unit_count++] = unit;
    return layer;
}

// `slot`: of some parameter in the unit; `begins`: it is the first unit of its layer.
static void place_unit(eh_shared *shared, int64_t unit, const eh_slot *slot, bool begins)
{
    const eh_unit *its = &shared->partition.units[unit];
    shared->layer_of[unit] = -1;
    if (slot->layer == EH_LAYERLESS) {
        shared->place[unit] = shared->kept_count;
        shared->gradient_place[unit] = shared->kept_gradient_count;
        shared->kept_count += its->count;
        shared->kept_gradient_count += its->frozen ? 0 : its->count;
        return;
    }
    const eh_passing_layer *layer = layer_with(shared, unit, slot, begins);
    shared->layer_of[unit] = shared->layer_count - 1;
    shared->place[unit] = layer->unit_count == 2 ? shared->partition.units[layer->units[0]].count : 0;
    shared->window_count = greater(shared->window_count, shared->place[unit] + its->count);
    if (!its->frozen)
        shared->gradient_window_count = greater(shared->gradient_window_count, its->count);
}

static void place_units(eh_model *model)
{
    const eh_layout *layout = &model->layout;
    const eh_slot *before = NULL;
    for (int64_t unit = 0; unit < layout->unit_count; unit++) {
        int64_t p = 0;
        while (layout->slots[p].unit != unit) p++;
        const eh_slot *slot = &layout->slots[p];
        place_unit(&model->shared, unit, slot,
                   before == NULL || before->layer != slot->layer || before->stack != slot->stack);
        before = slot;
    }
}

static void place_vectors(eh_model *model)
{
    eh_shared *shared = &model->shared;
    for (int64_t p = 0; p < model->layout.count; p++) {
        shared->vector_place[p] = -1;
        if (eh_is_matrix(model, p))
            continue;
        if (!model->layout.slots[p].joined) // else it stays right behind the one before
            shared->vector_count = (shared->vector_count + EH_GRAIN - 1) / EH_GRAIN * EH_GRAIN;
        shared->vector_place[p] = shared->vector_count;
        shared->vector_count += model->layout.parameters[p].count;
    }
}

static eh_status divide(eh_model *model, int rank, int size)
{
    eh_shared *shared = &model->shared;
    eh_unit *units = NULL;
    int64_t count = 0;
    EH_TRY(eh_model_units(model, &units, &count));
    EH_TRY(eh_partition_init(units, count, rank, size, &shared->partition)); // owns the units now
    EH_TRY(EH_ALLOC(count, &shared->layer_of));
    EH_TRY(EH_ALLOC(count, &shared->place));
    EH_TRY(EH_ALLOC(count, &shared->gradient_place));
    EH_TRY(EH_ALLOC(count, &shared->layers));
    EH_TRY(EH_ALLOC(model->layout.count, &shared->vector_place));
    place_units(model);
    place_vectors(model);
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
    for (int g = 0; g < 4; g++) EH_TRY(eh_gathering_init(shared->partition.size, &shared->gatherings[g / 2][g % 2]));
    return EH_OK;
}

void eh_sharing_deinit(eh_model *model)
{
    eh_shared *shared = &model->shared;
    eh_split_reducer_free(&shared->reducer);
    for (int w = 0; w < 2; w++) {
        for (int g = 0; g < 2; g++) eh_gathering_deinit(&shared->gatherings[w][g]);
        eh_free(&shared->host_windows[w]);
        eh_buffer_free(&shared->windows[w]);
        eh_buffer_free(&shared->gradient_windows[w]);
    }
    eh_buffer_free(&shared->kept);
    eh_buffer_free(&shared->kept_gradients);
    eh_buffer_free(&shared->vectors);
    eh_partition_deinit(&shared->partition);
    eh_free(&shared->host_kept);
    eh_free(&shared->host_vectors);
    eh_free(&shared->host_gradients);
    eh_free(&shared->layer_of);
    eh_free(&shared->place);
    eh_free(&shared->gradient_place);
    eh_free(&shared->layers);
    eh_free(&shared->vector_place);
    *shared = (eh_shared){0};
}

// --- Memory -------------------------------------------------------------------------------------------------------

// Ranks exchange host memory. Where that of the device is another, what they exchange passes through these.
static eh_status make_host_gradients(eh_model *model)
{
    eh_shared *shared = &model->shared;
    const eh_tensor any = {.buffer = shared->gradient_windows[0], .dtype = EH_F32, .dimension_count = 1, .shape = {1}};
    shared->is_apart = eh_tensor_host(&any) == NULL;
    int64_t longest = 0;
    for (int64_t u = 0; u < shared->partition.unit_count; u++)
        if (!shared->partition.units[u].frozen)
            longest = greater(longest, shared->partition.units[u].count);
    return shared->is_apart ? EH_ALLOC(longest, &shared->host_gradients) : EH_OK;
}

static eh_status make_host_weights(eh_model *model)
{
    eh_shared *shared = &model->shared;
    const int64_t element = (int64_t)eh_dtype_bytes(model->compute);
    int64_t longest = 0;
    if (!shared->is_apart)
        return EH_OK;
    for (int64_t u = 0; u < shared->partition.unit_count; u++)
        if (shared->layer_of[u] < 0)
            longest = greater(longest, shared->partition.units[u].count);
    for (int w = 0; w < 2; w++) EH_TRY(EH_ALLOC(shared->window_count * element, &shared->host_windows[w]));
    EH_TRY(EH_ALLOC(longest * element, &shared->host_kept));
    return EH_ALLOC(shared->vector_count, &shared->host_vectors);
}

static eh_status make_pair(eh_model *model, size_t bytes, const char *purpose, eh_buffer *pair[2])
{
    for (int w = 0; w < 2; w++) EH_TRY(eh_buffer_new(model->backend, bytes, purpose, &pair[w]));
    return EH_OK;
}

eh_status eh_sharing_make_gradients(eh_model *model)
{
    eh_shared *shared = &model->shared;
    EH_TRY(
        make_pair(model, (size_t)shared->gradient_window_count * 4, "gradients of a layer", shared->gradient_windows));
    EH_TRY(eh_buffer_new(model->backend, (size_t)shared->kept_gradient_count * 4, "gradients of embeddings",
                         &shared->kept_gradients));
    EH_TRY(make_host_gradients(model));
    return eh_split_reducer_new(shared->how.comm, &shared->partition, shared->how.leaf_count, shared->how.tree,
                                &shared->reducer);
}

// Where a parameter's weights lie in the buffers of its unit.
static eh_tensor in_unit(const eh_model *model, int64_t p)
{
    const eh_shared *shared = &model->shared;
    const eh_parameter *parameter = &model->layout.parameters[p];
    const int64_t unit = model->layout.slots[p].unit, layer = shared->layer_of[unit];
    const int64_t inside = parameter->offset - shared->partition.units[unit].first;
    return eh_parameter_view(layer < 0 ? shared->kept : shared->windows[layer % 2], parameter, model->compute,
                             shared->place[unit] + inside);
}

eh_tensor eh_sharing_gradient(const eh_model *model, int64_t p)
{
    const eh_shared *shared = &model->shared;
    const eh_parameter *parameter = &model->layout.parameters[p];
    const int64_t unit = model->layout.slots[p].unit, layer = shared->layer_of[unit];
    const int64_t inside = parameter->offset - shared->partition.units[unit].first;
    return eh_parameter_view(layer < 0 ? shared->kept_gradients : shared->gradient_windows[layer % 2], parameter,
                             EH_F32, shared->gradient_place[unit] + inside);
}

eh_status eh_sharing_make_weights(eh_model *model)
{
    eh_shared *shared = &model->shared;
    const size_t element = eh_dtype_bytes(model->compute), shard = (size_t)shared->partition.shard_count;
    const bool on_disk = shared->how.folder != NULL && model->compute != EH_F32 && !shared->is_apart;
    EH_TRY(on_disk ? eh_buffer_new_in_file(model->backend, shard * 4, shared->how.folder, "weights", &model->weights)
                   : eh_buffer_new(model->backend, shard * 4, "weights", &model->weights));
    if (model->compute != EH_F32)
        EH_TRY(eh_buffer_new(model->backend, shard * element, "weights for products", &model->copy));
    EH_TRY(make_pair(model, (size_t)shared->window_count * element, "weights of a layer", shared->windows));
    EH_TRY(eh_buffer_new(model->backend, (size_t)shared->kept_count * element, "embeddings", &shared->kept));
    EH_TRY(eh_buffer_new(model->backend, (size_t)shared->vector_count * 4, "norms and biases", &shared->vectors));
    EH_TRY(make_host_weights(model));
    for (int64_t p = 0; p < model->layout.count; p++) {
        eh_slot *slot = &model->layout.slots[p];
        if (eh_is_matrix(model, p))
            slot->matrix = in_unit(model, p);
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

// A unit that comes together: where it is wanted, and on the way there where device memory is not the host's.
typedef struct {
    int64_t unit;
    eh_tensor whole; // compute dtype [unit]
    void *host;      // NULL: it comes together in its place
    eh_gathering *gathering;
} arrival;

static eh_tensor unit_in(const eh_model *model, int64_t unit, eh_buffer *buffer)
{
    const eh_shared *shared = &model->shared;
    return (eh_tensor){.buffer = buffer,
                       .offset = (size_t)shared->place[unit] * eh_dtype_bytes(model->compute),
                       .dtype = model->compute,
                       .dimension_count = 1,
                       .shape = {shared->partition.units[unit].count}};
}

static arrival arrival_in_window(eh_model *model, int64_t layer, int64_t number)
{
    eh_shared *shared = &model->shared;
    const int64_t unit = shared->layers[layer].units[number], w = layer % 2;
    const size_t before = (size_t)shared->place[unit] * eh_dtype_bytes(model->compute);
    return (arrival){.unit = unit,
                     .whole = unit_in(model, unit, shared->windows[w]),
                     .host = shared->is_apart ? shared->host_windows[w] + before : NULL,
                     .gathering = &shared->gatherings[w][number]};
}

static eh_status begin_arrival(eh_model *model, const arrival *its)
{
    const eh_shared *shared = &model->shared;
    const eh_stretch *mine = &shared->partition.own[its->unit];
    const eh_tensor copy = eh_model_weight_copy(model), weights = eh_model_weights(model);
    const eh_tensor part = eh_tensor_rows(eh_tensor_exists(&copy) ? &copy : &weights, mine->at, mine->count);
    const size_t element = eh_dtype_bytes(model->compute);
    void *whole = its->host;
    const void *own = NULL;
    if (its->host != NULL) {
        char *place = (char *)its->host + (size_t)(mine->first - shared->partition.units[its->unit].first) * element;
        EH_TRY(eh_backend_download(model->backend, &part, place));
        own = place;
    } else {
        EH_TRY(eh_backend_wait(model->backend));
        own = eh_tensor_host(&part);
        whole = eh_tensor_host(&its->whole);
    }
    return eh_gathering_begin(shared->how.comm, &shared->partition, its->unit, element, own, whole, its->gathering);
}

static eh_status end_arrival(eh_model *model, const arrival *its)
{
    const bool was_under_way = its->gathering->running;
    EH_TRY(eh_gathering_end(its->gathering));
    return was_under_way && its->host != NULL ? eh_backend_upload(model->backend, its->host, &its->whole) : EH_OK;
}

static eh_status fetch_layer(eh_model *model, int64_t layer)
{
    eh_shared *shared = &model->shared;
    const int64_t w = layer % 2, held = shared->held[w];
    if (held == layer)
        return EH_OK;
    for (int64_t g = 0; held >= 0 && g < shared->layers[held].unit_count; g++)
        EH_TRY(eh_gathering_end(&shared->gatherings[w][g])); // of what was not used after all
    shared->held[w] = layer;
    for (int64_t g = 0; g < shared->layers[layer].unit_count; g++) {
        const arrival its = arrival_in_window(model, layer, g);
        EH_TRY(begin_arrival(model, &its));
    }
    return EH_OK;
}

static eh_status await_layer(eh_model *model, int64_t layer)
{
    for (int64_t g = 0; g < model->shared.layers[layer].unit_count; g++) {
        const arrival its = arrival_in_window(model, layer, g);
        EH_TRY(end_arrival(model, &its));
    }
    return EH_OK;
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
    if (shared->is_apart) {
        EH_TRY(eh_backend_download(model->backend, &all, shared->host_vectors));
        EH_TRY(eh_comm_or_u32(shared->how.comm, (uint32_t *)(void *)shared->host_vectors, shared->vector_count));
        return eh_backend_upload(model->backend, shared->host_vectors, &all);
    }
    EH_TRY(eh_backend_wait(model->backend));
    return eh_comm_or_u32(shared->how.comm, eh_tensor_host(&all), shared->vector_count);
}

eh_status eh_sharing_refresh(eh_model *model)
{
    eh_shared *shared = &model->shared;
    for (int w = 0; w < 2; w++) {
        for (int g = 0; g < 2; g++) EH_TRY(eh_gathering_end(&shared->gatherings[w][g]));
        shared->held[w] = -1;
    }
    for (int64_t unit = 0; unit < shared->partition.unit_count; unit++) {
        if (shared->layer_of[unit] >= 0)
            continue;
        const arrival its = {unit, unit_in(model, unit, shared->kept), shared->host_kept, &shared->gatherings[0][0]};
        EH_TRY(begin_arrival(model, &its));
        EH_TRY(end_arrival(model, &its));
    }
    return refresh_vectors(model);
}

// --- Passes -------------------------------------------------------------------------------------------------------

static eh_tensor gradients_of(const eh_model *model, int64_t unit)
{
    const eh_shared *shared = &model->shared;
    const int64_t layer = shared->layer_of[unit];
    return (eh_tensor){.buffer = layer >= 0 ? shared->gradient_windows[layer % 2] : shared->kept_gradients,
                       .offset = (size_t)shared->gradient_place[unit] * sizeof(float),
                       .dtype = EH_F32,
                       .dimension_count = 1,
                       .shape = {shared->partition.units[unit].count}};
}

// The unit of a layer that has gradients, -1: none has.
static int64_t learning_unit(const eh_shared *shared, int64_t layer)
{
    const int64_t first = shared->layers[layer].units[0];
    return shared->partition.units[first].frozen ? -1 : first;
}

eh_status eh_sharing_begin_layer(eh_model *model, eh_stack stack, int64_t l, eh_direction direction)
{
    eh_shared *shared = &model->shared;
    if (shared->how.level < 2)
        return EH_OK;
    const int64_t layer = shared->first_layer[stack] + l, next = direction == EH_FORWARD ? layer + 1 : layer - 1;
    if (shared->how.level == 3) {
        EH_TRY(fetch_layer(model, layer));
        EH_TRY(await_layer(model, layer));
        if (next >= 0 && next < shared->layer_count)
            EH_TRY(fetch_layer(model, next));
    }
    const int64_t unit = learning_unit(shared, layer);
    if (direction == EH_FORWARD || unit < 0)
        return EH_OK;
    const eh_tensor gradient = gradients_of(model, unit);
    return eh_fill(model->backend, 0, &gradient);
}

// Sets the gradients of frozen parameters that make one matrix with trained ones to 0.
static eh_status mute(eh_model *model, int64_t unit)
{
    const eh_layout *layout = &model->layout;
    for (int64_t p = 0; layout->has_muted && p < layout->count; p++) {
        const eh_parameter *parameter = &layout->parameters[p];
        if (!parameter->trains && parameter->gradient >= 0 && layout->slots[p].unit == unit)
            EH_TRY(eh_fill(model->backend, 0, &layout->slots[p].gradient));
    }
    return EH_OK;
}

// One unit at a time is under way, while the next one is computed in the other window.
static eh_status add_up(eh_model *model, int64_t unit)
{
    eh_shared *shared = &model->shared;
    const eh_tensor gradient = gradients_of(model, unit);
    EH_TRY(mute(model, unit));
    if (shared->is_apart) {
        EH_TRY(eh_split_reducer_end(shared->reducer)); // it reads what is overwritten now
        EH_TRY(eh_backend_download(model->backend, &gradient, shared->host_gradients));
        return eh_split_reducer_begin(shared->reducer, unit, shared->host_gradients);
    }
    EH_TRY(eh_backend_wait(model->backend));
    EH_TRY(eh_split_reducer_end(shared->reducer));
    return eh_split_reducer_begin(shared->reducer, unit, eh_tensor_host(&gradient));
}

void eh_model_tell_gradients(eh_model *model, eh_gradients_ready ready, void *context)
{
    model->gradients_ready = ready;
    model->gradients_ready_context = context;
}

// What is done when the backward pass of layer l is: its unit, and with the last layer's also the one behind it that
// belongs to no layer: the final norm, the head, the next stack's position bias. Not adapters, which lie in one unit.
static bool is_done_with(const eh_model *model, eh_stack stack, int64_t l, int64_t p)
{
    const eh_layout *layout = &model->layout;
    const bool is_last = l + 1 == model->t.layer_count[stack] && layout->own_count == layout->count;
    while (is_last && p > 0 && layout->slots[p].layer == EH_LAYERLESS) p--;
    return layout->slots[p].layer == l && layout->slots[p].stack == stack;
}

static eh_status end_undivided_layer(eh_model *model, eh_stack stack, int64_t l)
{
    const eh_layout *layout = &model->layout;
    int64_t first = INT64_MAX, end = 0;
    for (int64_t p = 0, last = -1; p < layout->count; p++) {
        const eh_parameter *parameter = &layout->parameters[p];
        const int64_t unit = layout->slots[p].unit;
        if (unit == last || parameter->gradient < 0 || !is_done_with(model, stack, l, p))
            continue;
        last = unit;
        EH_TRY(mute(model, unit));
        const int64_t begin = parameter->gradient - (parameter->offset - layout->units[unit].first);
        first = begin < first ? begin : first;
        end = begin + layout->units[unit].count > end ? begin + layout->units[unit].count : end;
    }
    return end > first && model->gradients_ready != NULL
               ? model->gradients_ready(model->gradients_ready_context, first, end - first)
               : EH_OK;
}

eh_status eh_sharing_end_layer(eh_model *model, eh_stack stack, int64_t l)
{
    const eh_shared *shared = &model->shared;
    if (shared->how.level < 2)
        return end_undivided_layer(model, stack, l);
    const int64_t unit = learning_unit(shared, shared->first_layer[stack] + l);
    return unit < 0 ? EH_OK : add_up(model, unit);
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
                            .shape = {model->shared.kept_gradient_count}};
    return eh_fill(model->backend, 0, &kept);
}

eh_status eh_sharing_end_backward(eh_model *model)
{
    eh_shared *shared = &model->shared;
    if (shared->how.level < 2)
        return EH_OK;
    for (int64_t unit = shared->partition.unit_count - 1; unit >= 0; unit--)
        if (shared->layer_of[unit] < 0 && !shared->partition.units[unit].frozen)
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
    EH_TRY(eh_gradients_pass_by(model));
    EH_TRY(eh_sharing_begin_backward(model));
    for (int s = EH_STACK_COUNT - 1; s >= 0; s--) EH_TRY(eh_sharing_skip_stack(model, (eh_stack)s, EH_BACKWARD));
    return eh_sharing_end_backward(model);
}
