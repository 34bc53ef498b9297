// The tokenizer: ids of texts and pairs, types, and text of ids, all exact.
#include <string.h>

#include "core/memory.h"
#include "model/conform_internal.h"
#include "text/tokenizer.h"

// Ragged bytes: values of uint8 datasets are read as int32.
static eh_status row_bytes(const eh_expected_rows *rows, int64_t row, eh_string *text)
{
    eh_string_clear(text);
    for (int64_t i = rows->offsets[row]; i < rows->offsets[row + 1]; i++) {
        const char byte = (char)rows->values.ints[i];
        EH_TRY(eh_string_append(text, &byte, 1));
    }
    return EH_OK;
}

static bool equals(const eh_expected_rows *rows, int64_t row, const int32_t *ids, int64_t count)
{
    return rows->offsets[row + 1] - rows->offsets[row] == count &&
           (count == 0 || memcmp(rows->values.ints + rows->offsets[row], ids, (size_t)count * sizeof *ids) == 0);
}

static eh_status check_ids(eh_conform *conform, const eh_tokenizer *tokenizer, const eh_expected_rows *texts,
                           const char *path, eh_special special)
{
    eh_expected_rows expected = {0};
    eh_encoding encoding = {0};
    eh_string text = {0};
    int64_t wrong = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_expected_read_rows(conform, path, &expected));
    for (int64_t i = 0; i < texts->row_count && i < expected.row_count; i++) {
        EH_TRY_OR(done, row_bytes(texts, i, &text));
        EH_TRY_OR(done,
                  eh_tokenizer_encode(tokenizer, text.bytes != NULL ? text.bytes : "", text.size, special, &encoding));
        wrong += !equals(&expected, i, encoding.ids, encoding.count);
    }
    eh_conform_report_exact(conform, path, wrong + (expected.row_count != texts->row_count), expected.row_count);
done:
    eh_expected_rows_deinit(&expected);
    eh_encoding_deinit(&encoding);
    eh_string_deinit(&text);
    return status;
}

static eh_status check_pairs(eh_conform *conform, const eh_tokenizer *tokenizer, const eh_expected_rows *texts)
{
    eh_expected_rows ids = {0}, types = {0};
    eh_expected pairs = {0};
    eh_encoding encoding = {0};
    eh_string first = {0}, second = {0};
    int64_t wrong = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_expected_read_rows(conform, "tokenizer/pair_ids", &ids));
    EH_TRY_OR(done, eh_expected_read_rows(conform, "tokenizer/pair_types", &types));
    EH_TRY_OR(done, eh_expected_read(conform, "tokenizer/pairs", &pairs));
    if (pairs.count != 2 * ids.row_count || pairs.count != 2 * types.row_count) {
        status = eh_error(EH_INPUT, "%s: tokenizer/pairs and pair_ids differ in length", conform->name);
        goto done;
    }
    for (int64_t p = 0; p < ids.row_count; p++) {
        const int32_t a = pairs.ints[2 * p], b = pairs.ints[2 * p + 1];
        if (a < 0 || b < 0 || a >= texts->row_count || b >= texts->row_count) {
            status = eh_error(EH_INPUT, "%s: tokenizer/pairs names a text that is not there", conform->name);
            goto done;
        }
        EH_TRY_OR(done, row_bytes(texts, a, &first));
        EH_TRY_OR(done, row_bytes(texts, b, &second));
        EH_TRY_OR(done, eh_tokenizer_encode_pair(tokenizer, first.bytes != NULL ? first.bytes : "", first.size,
                                                 second.bytes != NULL ? second.bytes : "", second.size, &encoding));
        bool same = equals(&ids, p, encoding.ids, encoding.count);
        for (int64_t i = 0; same && i < encoding.count; i++)
            same = types.values.ints[types.offsets[p] + i] == encoding.type_ids[i];
        wrong += !same;
    }
    eh_conform_report_exact(conform, "tokenizer/pair_ids", wrong, ids.row_count);
done:
    eh_expected_rows_deinit(&ids);
    eh_expected_rows_deinit(&types);
    eh_expected_deinit(&pairs);
    eh_encoding_deinit(&encoding);
    eh_string_deinit(&first);
    eh_string_deinit(&second);
    return status;
}

static eh_status check_decoded(eh_conform *conform, const eh_tokenizer *tokenizer, const char *path, bool skip_special)
{
    eh_expected_rows ids = {0}, expected = {0};
    eh_string text = {0}, wanted = {0};
    int64_t wrong = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_expected_read_rows(conform, "tokenizer/decode_ids", &ids));
    EH_TRY_OR(done, eh_expected_read_rows(conform, path, &expected));
    for (int64_t i = 0; i < ids.row_count && i < expected.row_count; i++) {
        EH_TRY_OR(done, row_bytes(&expected, i, &wanted));
        EH_TRY_OR(done, eh_tokenizer_decode(tokenizer, ids.values.ints + ids.offsets[i],
                                            ids.offsets[i + 1] - ids.offsets[i], skip_special, &text));
        wrong += text.size != wanted.size || (text.size > 0 && memcmp(text.bytes, wanted.bytes, text.size) != 0);
    }
    eh_conform_report_exact(conform, path, wrong + (ids.row_count != expected.row_count), expected.row_count);
done:
    eh_expected_rows_deinit(&ids);
    eh_expected_rows_deinit(&expected);
    eh_string_deinit(&text);
    eh_string_deinit(&wanted);
    return status;
}

eh_status eh_conform_text(eh_conform *conform)
{
    eh_expected_rows texts = {0};
    eh_tokenizer *tokenizer = NULL;
    eh_string path = {0};
    eh_status status = EH_OK;
    if (!eh_expected_exists(conform, "tokenizer"))
        return EH_OK;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/tokenizer.json", conform->folder));
    EH_TRY_OR(done, eh_tokenizer_open(path.bytes, &tokenizer));
    EH_TRY_OR(done, eh_expected_read_rows(conform, "tokenizer/texts", &texts));
    EH_TRY_OR(done, check_ids(conform, tokenizer, &texts, "tokenizer/ids", EH_WITH_SPECIAL));
    EH_TRY_OR(done, check_ids(conform, tokenizer, &texts, "tokenizer/ids_plain", EH_WITHOUT_SPECIAL));
    EH_TRY_OR(done, check_pairs(conform, tokenizer, &texts));
    EH_TRY_OR(done, check_decoded(conform, tokenizer, "tokenizer/decoded", true));
    status = check_decoded(conform, tokenizer, "tokenizer/decoded_with_special", false);
done:
    eh_expected_rows_deinit(&texts);
    eh_tokenizer_close(&tokenizer);
    eh_string_deinit(&path);
    return status;
}
