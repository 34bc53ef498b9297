// libFuzzer target: bytes as text through the tokenizers named in EVENHAND_FUZZ_TOKENIZERS (paths, separated by
// colons). What must hold: encoding works, ids exist, offsets ascend within the text, and text without malformed bytes
// has none replaced.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

enum { MOST = 8 };

typedef struct {
    eh_tokenizer *tokenizers[MOST];
    eh_encoding encodings[MOST];
    int count;
} opened;

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken promise: %s: %s\n", what, eh_error_message());
        abort();
    }
}

static const opened *open_all(opened *all)
{
    const char *paths = getenv("EVENHAND_FUZZ_TOKENIZERS");
    require(paths != NULL, "EVENHAND_FUZZ_TOKENIZERS is set");
    char *copy = strdup(paths), *rest = NULL;
    for (char *path = strtok_r(copy, ":", &rest); path != NULL && all->count < MOST;
         path = strtok_r(NULL, ":", &rest)) {
        require(eh_tokenizer_open(path, &all->tokenizers[all->count]) == EH_OK, path);
        all->count++;
    }
    free(copy);
    return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static opened all; // the fuzzer keeps the process
    if (all.count == 0)
        open_all(&all);
    const char *text = (const char *)data;
    for (int i = 0; i < all.count; i++) {
        eh_encoding *encoding = &all.encodings[i];
        eh_string back = {0};
        require(eh_tokenizer_encode(all.tokenizers[i], text, size, EH_WITH_SPECIAL, encoding) == EH_OK,
                "encoding works");
        require((encoding->replaced > 0) == (eh_utf8_valid_prefix(text, size) < size), "malformed bytes are counted");
        for (int64_t t = 0; t < encoding->count; t++) {
            const uint32_t *offsets = encoding->offsets[t];
            require(offsets[0] <= offsets[1] && offsets[1] <= size, "offsets lie inside");
            require(eh_tokenizer_token(all.tokenizers[i], encoding->ids[t]) != NULL, "ids exist");
        }
        require(eh_tokenizer_decode(all.tokenizers[i], encoding->ids, encoding->count, false, &back) == EH_OK,
                "decoding works");
        require(eh_utf8_valid_prefix(back.bytes, back.size) == back.size, "decoded text is UTF-8");
        eh_string_deinit(&back);
    }
    return 0;
}
