#!/usr/bin/env bash
# The fuzz targets of the tokenizers (tests/fuzz/), a fixed number of inputs each, with the address and undefined-behaviour
# sanitizers. Set EVENHAND_FUZZ_RUNS for more; findings stay in $EVENHAND_TESTS/fuzz.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
command -v clang >/dev/null || { echo "SKIPPED TEST: libFuzzer needs clang"; exit 0; }
models=$EVENHAND_SHARED/oracle/fixtures/models
[ -d "$models" ] || { echo "SKIPPED TEST: the oracle's fixtures are not here"; exit 0; }
runs=${EVENHAND_FUZZ_RUNS:-4000}
folder=$EVENHAND_TESTS/fuzz
mkdir -p "$folder" && cd "$folder" || exit 1

# Objects are made anew only where a source or a header is newer: compiling takes longer than fuzzing.
libraries=$(pkg-config --libs jansson yajl oniguruma libutf8proc)
flags="-std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -I$EVENHAND_SOURCE/src $(pkg-config --cflags jansson yajl oniguruma libutf8proc)"
build() { # build TARGET
    local source object sources=("$EVENHAND_SOURCE"/src/text/*.c "$EVENHAND_SOURCE"/src/core/{memory,status,string,sha256}.c)
    local newest
    newest=$(find "$EVENHAND_SOURCE"/src/text "$EVENHAND_SOURCE"/src/core -name '*.h' -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
    for source in "${sources[@]}" "$EVENHAND_SOURCE/tests/fuzz/$1.c"; do
        object=$(basename "$source" .c).o
        if [ ! "$object" -nt "$source" ] || [ ! "$object" -nt "$newest" ]; then
            echo clang "$flags" -fsanitize=fuzzer-no-link -c "$source" -o "$object"
        fi
    done | sort -u | xargs -r -P 2 -I{} sh -c '{}' || return 1
    local objects=()
    for source in "${sources[@]}" "$EVENHAND_SOURCE/tests/fuzz/$1.c"; do objects+=("$(basename "$source" .c).o"); done
    # shellcheck disable=SC2086
    clang $flags -fsanitize=fuzzer "${objects[@]}" $libraries -lm -o "$1"
}

fuzz() { # fuzz TARGET SEEDS OPTIONS...
    local target=$1 seeds=$2
    shift 2
    timeout 300 "./$target" -seed=1 -runs="$runs" -max_total_time=240 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$folder/" "$@" "$seeds" >"$work/$target.log" 2>&1 || { tail -30 "$work/$target.log"; return 1; }
    local done_runs
    done_runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
    echo "$target: $done_runs inputs"
    [ "$done_runs" -ge "$runs" ]
}

check "the target for tokenizer.json builds" build fuzz_tokenizer
check "the target for texts builds" build fuzz_text
mkdir "$work/files" "$work/texts"
for model in bloom-a gpt2-a roberta-mlm bert-mlm; do cp "$models/$model/tokenizer.json" "$work/files/$model"; done
cp "$EVENHAND_SOURCE"/tests/fuzz/seeds/*.json "$work/files"
printf "The nurse didn't know, [MASK] <mask> \xc3\xa9 \xe4\xb8\x80 \xf0\x9f\x98\x80</s>" >"$work/texts/words"
printf '\r\n\t \xff\xc3 \xef\xac\x81 \xe2\x96\x81 3.14 (a|b)' >"$work/texts/signs"
export EVENHAND_FUZZ_TOKENIZERS=$models/bloom-a/tokenizer.json:$models/gpt2-a/tokenizer.json:$models/roberta-mlm/tokenizer.json:$models/bert-mlm/tokenizer.json:$models/t5-a/tokenizer.json
check "no tokenizer.json breaks the reader" fuzz fuzz_tokenizer "$work/files" -max_len=60000 -dict="$EVENHAND_SOURCE/tests/fuzz/tokenizer.dict"
check "no text breaks a tokenizer" fuzz fuzz_text "$work/texts" -max_len=512
finish
