#!/usr/bin/env bash
# The fuzz targets of tokenizer.json and of texts.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
models=$EVENHAND_SHARED/oracle/fixtures/models
[ -d "$models" ] || { echo "SKIPPED TEST: the oracle's fixtures are not here"; exit 0; }
source "$EVENHAND_SOURCE/tests/support/fuzz.sh"
packages='jansson yajl oniguruma libutf8proc'
sources=("$EVENHAND_SOURCE"/src/text/*.c)
sources=("${sources[@]#"$EVENHAND_SOURCE/"}" src/core/memory.c src/core/status.c src/core/string.c src/core/sha256.c)

check "the target for tokenizer.json builds" fuzz_build fuzz_tokenizer "$packages" "${sources[@]}"
check "the target for texts builds" fuzz_build fuzz_text "$packages" "${sources[@]}"
mkdir "$work/files" "$work/texts"
for model in bloom-a gpt2-a roberta-mlm bert-mlm; do cp "$models/$model/tokenizer.json" "$work/files/$model"; done
cp "$EVENHAND_SOURCE"/tests/fuzz/seeds/*.json "$work/files"
printf "The nurse didn't know, [MASK] <mask> \xc3\xa9 \xe4\xb8\x80 \xf0\x9f\x98\x80</s>" >"$work/texts/words"
printf '\r\n\t \xff\xc3 \xef\xac\x81 \xe2\x96\x81 3.14 (a|b)' >"$work/texts/signs"
export EVENHAND_FUZZ_TOKENIZERS=$models/bloom-a/tokenizer.json:$models/gpt2-a/tokenizer.json:$models/roberta-mlm/tokenizer.json:$models/bert-mlm/tokenizer.json:$models/t5-a/tokenizer.json
check "no tokenizer.json breaks the reader" fuzz fuzz_tokenizer "$work/files" -max_len=60000 -dict="$EVENHAND_SOURCE/tests/fuzz/tokenizer.dict"
check "no text breaks a tokenizer" fuzz fuzz_text "$work/texts" -max_len=512
finish
