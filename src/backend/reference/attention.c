// Attention of packed sequences, one query and head at a time:
//   s_j = scale q.k_j + bias(i, j), p = softmax(s), output = sum_j p_j v_j over the keys that the query sees.
// With dropout, p_j is replaced by p_j d_j, d_j = 0 or 1 / (1 - dropout).
#include <math.h>

#include "backend/reference/reference_internal.h"
#include "core/memory.h"

// One query of one head: where its numbers are.
typedef struct {
    const eh_attention *attention;
    const eh_segment *segment;
    int64_t i, head, row; // row of the query tensor
} query_place;

static int64_t element(const eh_heads *heads, int64_t row, int64_t head, int64_t e)
{
    return row * heads->token_stride + head * heads->head_stride + e;
}

static int64_t bucket_entry(const query_place *at, int64_t j)
{
    const eh_attention *attention = at->attention;
    const eh_segment *segment = at->segment;
    const int64_t query_position = eh_segment_keys(segment) - segment->query_count + at->i;
    return eh_relative_bucket(j - query_position, attention->bidirectional_buckets, attention->bucket_count,
                              attention->bucket_max_distance) *
               attention->head_count +
           at->head;
}

static double score(const query_place *at, const eh_heads *query, const eh_heads *key, int64_t j)
{
    const eh_attention *attention = at->attention;
    double sum = 0;
    for (int64_t e = 0; e < attention->head_size; e++)
        sum += (double)eh_get(&query->tensor, element(query, at->row, at->head, e)) *
               eh_get(&key->tensor, element(key, eh_key_row(at->segment, j), at->head, e));
    sum *= attention->scale;
    if (attention->position_bias == EH_ALIBI)
        sum += (double)eh_get(&attention->alibi_slopes, at->head) * (double)j;
    if (attention->position_bias == EH_RELATIVE_BUCKETS)
        sum += eh_get(&attention->relative_bias, bucket_entry(at, j));
    return sum;
}

static double dropout_factor(const query_place *at, int64_t j)
{
    const eh_attention *attention = at->attention;
    if (attention->dropout == 0)
        return 1;
    const uint64_t index = eh_attention_dropout_index(at->row, attention->head_count, at->head, j);
    const bool kept = eh_dropout_word(attention->dropout_seed, index) >= eh_dropout_threshold(attention->dropout);
    return kept ? 1 / (1 - (double)attention->dropout) : 0;
}

static void forward_query(const query_place *at, const eh_heads *query, const eh_heads *key, const eh_heads *value,
                          const eh_heads *output, const eh_tensor *log_sum_exp, double *p)
{
    const eh_attention *attention = at->attention;
    const int64_t count = eh_visible_keys(at->segment, attention->causal, at->i);
    double largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < count; j++) {
        p[j] = score(at, query, key, j);
        largest = fmax(largest, p[j]);
    }
    for (int64_t j = 0; j < count; j++) sum += p[j] = exp(p[j] - largest);
    for (int64_t e = 0; e < attention->head_size; e++) {
        double mixed = 0;
        for (int64_t j = 0; j < count; j++)
            mixed += p[j] / sum * dropout_factor(at, j) *
                     eh_get(&value->tensor, element(value, eh_key_row(at->segment, j), at->head, e));
        eh_set(&output->tensor, element(output, at->row, at->head, e), mixed);
    }
    if (eh_tensor_exists(log_sum_exp))
        eh_set(log_sum_exp, at->row * attention->head_count + at->head, count > 0 ? largest + log(sum) : -INFINITY);
}

static int64_t longest_keys(const eh_attention *attention)
{
    int64_t longest = 0;
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        const int64_t keys = eh_segment_keys(segment);
        longest = keys > longest ? keys : longest;
    }
    return longest;
}

eh_status eh_reference_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                         const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                         const eh_tensor *log_sum_exp)
{
    (void)backend;
    double *p = NULL;
    EH_TRY(EH_ALLOC(longest_keys(attention), &p));
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        for (int64_t i = 0; i < segment->query_count; i++)
            for (int64_t head = 0; head < attention->head_count; head++) {
                const query_place at = {attention, segment, i, head, segment->query_begin + i};
                forward_query(&at, query, key, value, output, log_sum_exp, p);
            }
    }
    eh_free(&p);
    return EH_OK;
}

static void add_to(const eh_heads *heads, int64_t row, int64_t head, int64_t e, double value)
{
    const int64_t i = element(heads, row, head, e);
    eh_set(&heads->tensor, i, eh_get(&heads->tensor, i) + value);
}

// grad_p_j = d_j grad_output.v_j;  grad_s_j = p_j (grad_p_j - grad_output.output);  then through s_j.
static void backward_query(const query_place *at, const eh_attention_grads *grads)
{
    const eh_attention *attention = at->attention;
    const int64_t size = attention->head_size, head = at->head;
    double inner = 0;
    for (int64_t e = 0; e < size; e++)
        inner += (double)eh_get(&grads->grad_output.tensor, element(&grads->grad_output, at->row, head, e)) *
                 eh_get(&grads->output.tensor, element(&grads->output, at->row, head, e));
    const double log_sum_exp = eh_get(&grads->log_sum_exp, at->row * attention->head_count + head);
    for (int64_t j = 0; j < eh_visible_keys(at->segment, attention->causal, at->i); j++) {
        const int64_t row = eh_key_row(at->segment, j);
        const double p = exp(score(at, &grads->query, &grads->key, j) - log_sum_exp), d = dropout_factor(at, j);
        double grad_p = 0;
        for (int64_t e = 0; e < size; e++) {
            const double grad = eh_get(&grads->grad_output.tensor, element(&grads->grad_output, at->row, head, e));
            grad_p += d * grad * eh_get(&grads->value.tensor, element(&grads->value, row, head, e));
            add_to(&grads->grad_value, row, head, e, p * d * grad);
        }
        const double grad_s = p * (grad_p - inner);
        for (int64_t e = 0; e < size; e++) {
            const double q = eh_get(&grads->query.tensor, element(&grads->query, at->row, head, e));
            const double k = eh_get(&grads->key.tensor, element(&grads->key, row, head, e));
            add_to(&grads->grad_query, at->row, head, e, attention->scale * grad_s * k);
            add_to(&grads->grad_key, row, head, e, attention->scale * grad_s * q);
        }
        if (eh_tensor_exists(&grads->grad_relative_bias)) {
            const int64_t entry = bucket_entry(at, j);
            eh_set(&grads->grad_relative_bias, entry, eh_get(&grads->grad_relative_bias, entry) + grad_s);
        }
    }
}

eh_status eh_reference_attention_backward(eh_backend *backend, const eh_attention *attention,
                                          const eh_attention_grads *grads)
{
    (void)backend;
    if (grads->fresh)
        eh_host_clear_attention(attention, grads);
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        for (int64_t i = 0; i < segment->query_count; i++)
            for (int64_t head = 0; head < attention->head_count; head++) {
                const query_place at = {attention, segment, i, head, segment->query_begin + i};
                backward_query(&at, grads);
            }
    }
    return EH_OK;
}
