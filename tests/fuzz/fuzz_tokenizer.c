// libFuzzer target: bytes as a tokenizer.json, and, where it opens, texts through it. What must hold: no crash, ids
// that exist, offsets inside the text, the same answer twice, decoding that does not fail.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text/tokenizer.h"

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static void check_text(const eh_tokenizer *tokenizer, const char *text, size_t size)
{
    eh_encoding encoding = {0}, again = {0};
    eh_string back = {0};
    const eh_status status = eh_tokenizer_encode(tokenizer, text, size, EH_WITH_SPECIAL, &encoding);
    require(status == EH_OK || (status == EH_INPUT && encoding.count == 0), "encoding works, or leaves nothing");
    for (int64_t i = 0; i < encoding.count; i++) {
        require(encoding.offsets[i][0] <= encoding.offsets[i][1] && encoding.offsets[i][1] <= size,
                "offsets lie inside");
        if (encoding.sources[i] != EH_TOKEN_ADDED)
            require(eh_tokenizer_token(tokenizer, encoding.ids[i]) != NULL, "ids exist");
    }
    require(eh_tokenizer_encode_pair(tokenizer, text, size / 2, text + size / 2, size - size / 2, &again) != EH_MACHINE,
            "pairs work, or are refused");
    if (status == EH_OK) {
        require(eh_tokenizer_encode(tokenizer, text, size, EH_WITH_SPECIAL, &again) == EH_OK, "it works again");
        require(again.count == encoding.count, "as many tokens again");
        require(again.count == 0 || memcmp(again.ids, encoding.ids, (size_t)again.count * sizeof *again.ids) == 0,
                "the same ids again");
        const eh_status decoded = eh_tokenizer_decode(tokenizer, encoding.ids, encoding.count, true, &back);
        require(decoded == EH_OK || decoded == EH_INPUT, "decoding works, or is refused");
    }
    eh_string_deinit(&back);
    eh_encoding_deinit(&encoding);
    eh_encoding_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {
        "The nurse didn't know: [MASK] is 3.14 (or less)|x",
        " \r\n\t\xC3\xA9\xCC\x81 \xE4\xB8\x80\xE2\x96\x81 \xEF\xAC\x81 \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7",
        "\xFF\xE2\x82 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xC3",
    };
    char path[64];
    snprintf(path, sizeof path, "/tmp/evenhand-fuzz-%ld.json", (long)getpid());
    FILE *file = fopen(path, "wb");
    require(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0, "the input can be written");
    eh_tokenizer *tokenizer = NULL;
    const eh_status status = eh_tokenizer_open(path, &tokenizer);
    unlink(path);
    require((status == EH_OK) == (tokenizer != NULL), "a tokenizer, or a refusal");
    require(status == EH_OK || (status == EH_INPUT && eh_error_message()[0] != '\0'), "a refusal says why");
    for (size_t i = 0; tokenizer != NULL && i < sizeof texts / sizeof *texts; i++)
        check_text(tokenizer, texts[i], strlen(texts[i]));
    eh_tokenizer_close(&tokenizer);
    return 0;
}
