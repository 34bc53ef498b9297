// Log-probabilities of tokens given those before, and pseudo-log-likelihoods; ALiBi's slopes and T5's buckets.
#include <string.h>

#include "core/memory.h"
#include "model/conform_internal.h"
#include "model/pll.h"
#include "text/tokenizer.h"

static eh_status compare(eh_conform *conform, const char *path, const float *found, int64_t count)
{
    eh_expected expected = {0};
    eh_ratio ratio = {0};
    EH_TRY(eh_expected_read(conform, path, &expected));
    eh_status status = EH_OK;
    if (expected.count != count || expected.floats == NULL)
        status = eh_error(EH_INPUT, "%s: %s has %lld values, expected %lld", conform->name, path,
                          (long long)expected.count, (long long)count);
    if (status == EH_OK)
        status = eh_ratio_add(&ratio, found, expected.floats, count, expected.noise, expected.noise99);
    if (status == EH_OK)
        eh_conform_report(conform, path, &ratio);
    eh_expected_deinit(&expected);
    return status;
}

// Every row as one sequence; a decoder's first token has nothing before it and counts 0.
static eh_status score_rows(eh_model *model, const eh_expected_rows *rows, const eh_expected_rows *sources,
                            float *values)
{
    const int64_t total = rows->values.count;
    const bool has_source = sources->offsets != NULL;
    int32_t *decoder_ids = NULL, *label_rows = NULL, *label_ids = NULL;
    float *scores = NULL;
    int64_t labels = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(total, &decoder_ids));
    EH_TRY_OR(done, EH_ALLOC(total, &label_rows));
    EH_TRY_OR(done, EH_ALLOC(total, &label_ids));
    EH_TRY_OR(done, EH_ALLOC(total, &scores));
    for (int64_t r = 0; r < rows->row_count; r++)
        for (int64_t i = rows->offsets[r]; i < rows->offsets[r + 1]; i++) {
            const bool first = i == rows->offsets[r];
            decoder_ids[i] = first ? model->t.special.decoder_start : rows->values.ints[i - 1];
            if (first && !has_source)
                continue;
            label_rows[labels] = (int32_t)(has_source ? i : i - 1);
            label_ids[labels++] = rows->values.ints[i];
        }
    const eh_batch batch = {.sequence_count = rows->row_count,
                            .input_ids = has_source ? sources->values.ints : rows->values.ints,
                            .input_offsets = has_source ? sources->offsets : rows->offsets,
                            .decoder_ids = decoder_ids,
                            .decoder_offsets = rows->offsets,
                            .label_count = labels,
                            .label_rows = label_rows,
                            .label_ids = label_ids};
    const eh_batch_limits limits = {has_source ? sources->values.count : total, total, rows->row_count, labels};
    EH_TRY_OR(done, eh_model_reserve(model, &limits));
    EH_TRY_OR(done, eh_model_score(model, &batch, scores));
    for (int64_t i = 0; i < labels; i++) values[has_source ? label_rows[i] : label_rows[i] + 1] = scores[i];
done:
    eh_free(&decoder_ids);
    eh_free(&label_rows);
    eh_free(&label_ids);
    eh_free(&scores);
    return status;
}

static eh_status check_log_probabilities(eh_conform *conform, eh_model *model)
{
    eh_expected_rows rows = {0}, sources = {0};
    float *values = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_expected_read_rows(conform, "logprobs/ids", &rows));
    if (model->t.kind == EH_ENCODER_DECODER)
        EH_TRY_OR(done, eh_expected_read_rows(conform, "logprobs/source_ids", &sources));
    EH_TRY_OR(done, EH_ALLOC(rows.values.count, &values));
    EH_TRY_OR(done, score_rows(model, &rows, &sources, values));
    status = compare(conform, "logprobs/values", values, rows.values.count);
done:
    eh_expected_rows_deinit(&rows);
    eh_expected_rows_deinit(&sources);
    eh_free(&values);
    return status;
}

static eh_status find_mask(const eh_conform *conform, int32_t *mask)
{
    eh_string path = {0};
    eh_tokenizer *tokenizer = NULL;
    eh_status status = eh_string_printf(&path, "%s/tokenizer.json", conform->folder);
    if (status == EH_OK)
        status = eh_tokenizer_open(path.bytes, &tokenizer);
    if (status == EH_OK) {
        *mask = eh_tokenizer_id(tokenizer, "[MASK]");
        *mask = *mask >= 0 ? *mask : eh_tokenizer_id(tokenizer, "<mask>");
        if (*mask < 0)
            status = eh_error(EH_INPUT, "%s: has neither [MASK] nor <mask>", path.bytes);
    }
    eh_tokenizer_close(&tokenizer);
    eh_string_deinit(&path);
    return status;
}

static eh_status check_pseudo(eh_conform *conform, eh_model *model, const char *group, int32_t mask)
{
    eh_expected_rows rows = {0}, positions = {0};
    float *values = NULL, *sums = NULL;
    char path[128];
    eh_status status = EH_OK;
    snprintf(path, sizeof path, "%s/ids", group);
    EH_TRY_OR(done, eh_expected_read_rows(conform, path, &rows));
    snprintf(path, sizeof path, "%s/positions", group);
    EH_TRY_OR(done, eh_expected_read_rows(conform, path, &positions));
    EH_TRY_OR(done, EH_ALLOC(positions.values.count, &values));
    EH_TRY_OR(done, EH_ALLOC(positions.row_count, &sums));
    EH_TRY_OR(done, eh_model_reserve(model, &(eh_batch_limits){.tokens = 512, .sequences = 32, .labels = 32}));
    EH_TRY_OR(done, eh_pseudo_log_likelihood(model, rows.row_count, rows.values.ints, rows.offsets, NULL,
                                             positions.values.ints, positions.offsets, mask, values));
    for (int64_t r = 0; r < positions.row_count; r++) {
        double sum = 0;
        for (int64_t k = positions.offsets[r]; k < positions.offsets[r + 1]; k++) sum += (double)values[k];
        sums[r] = (float)sum;
    }
    snprintf(path, sizeof path, "%s/values", group);
    EH_TRY_OR(done, compare(conform, path, values, positions.values.count));
    snprintf(path, sizeof path, "%s/sums", group);
    status = compare(conform, path, sums, positions.row_count);
done:
    eh_expected_rows_deinit(&rows);
    eh_expected_rows_deinit(&positions);
    eh_free(&values);
    eh_free(&sums);
    return status;
}

static eh_status check_slopes(eh_conform *conform, eh_model *model)
{
    float *slopes = NULL;
    EH_TRY(EH_ALLOC(model->t.head_count, &slopes));
    eh_status status = eh_backend_download(model->backend, &model->alibi_slopes, slopes);
    if (status == EH_OK)
        status = compare(conform, "alibi_slopes", slopes, model->t.head_count);
    eh_free(&slopes);
    return status;
}

static eh_status check_buckets(eh_conform *conform, const eh_model *model, const char *path, bool bidirectional)
{
    eh_expected distance = {0}, expected = {0};
    int64_t wrong = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_expected_read(conform, "relative_buckets/distance", &distance));
    EH_TRY_OR(done, eh_expected_read(conform, path, &expected));
    for (int64_t i = 0; i < distance.count && i < expected.count; i++)
        wrong += eh_relative_bucket(distance.ints[i], bidirectional, model->t.bucket_count,
                                    model->t.bucket_max_distance) != expected.ints[i];
    eh_conform_report_exact(conform, path, wrong + (distance.count != expected.count), expected.count);
done:
    eh_expected_deinit(&distance);
    eh_expected_deinit(&expected);
    return status;
}

eh_status eh_conform_scores(eh_conform *conform, eh_model *model)
{
    if (eh_expected_exists(conform, "alibi_slopes"))
        EH_TRY(check_slopes(conform, model));
    if (eh_expected_exists(conform, "relative_buckets")) {
        EH_TRY(check_buckets(conform, model, "relative_buckets/bidirectional", true));
        EH_TRY(check_buckets(conform, model, "relative_buckets/causal", false));
    }
    if (eh_expected_exists(conform, "logprobs"))
        EH_TRY(check_log_probabilities(conform, model));
    if (!eh_expected_exists(conform, "pll"))
        return EH_OK;
    int32_t mask = -1;
    EH_TRY(find_mask(conform, &mask));
    EH_TRY(check_pseudo(conform, model, "pll", mask));
    return check_pseudo(conform, model, "crows", mask);
}
