#!/usr/bin/env bash
# Fuzzes the readers of CSV and of all data formats for a fixed number of inputs:  tests/fuzz/run.sh [RUNS]
# Needs clang. Exit status 1 if an input breaks one of them; the input stays in build/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-20000}
command -v clang >/dev/null || { echo 'SKIPPED TEST: no clang for libFuzzer'; exit 0; }
mkdir -p build/fuzz/csv build/fuzz/records
hdf5=$(pkg-config --cflags hdf5-openmpi 2>/dev/null || echo -I/usr/include/hdf5/openmpi)
flags=(-std=c11 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Isrc $hdf5)
core=(src/core/memory.c src/core/status.c src/core/string.c)
sources=(src/io/lines.c src/io/csv.c src/io/json.c)
formats=$(ls src/dataset/{dataset,records,templates_tsv,crows_pairs,stereoset,honest,bold,real_toxicity_prompts,regard_prompts,pairs,jsonl,text}.c)
clang "${flags[@]}" tests/fuzz/fuzz_csv.c "${core[@]}" "${sources[@]}" -lz -ljansson -o build/fuzz/fuzz_csv
# shellcheck disable=SC2086
clang "${flags[@]}" tests/fuzz/fuzz_records.c "${core[@]}" "${sources[@]}" $formats -lz -ljansson -lutf8proc -lm -o build/fuzz/fuzz_records
head -c 800 tests/data/pairs-20.csv >build/fuzz/csv/pairs
cp build/fuzz/csv/pairs build/fuzz/records/pairs
printf '{"data": {"intersentence": [{"id": "a", "target": "t", "bias_type": "b", "context": "c", "sentences": [{"sentence": "s", "id": "1", "gold_label": "unrelated"}, {"sentence": "s", "id": "1", "gold_label": "related"}, {"sentence": "s", "id": "1", "gold_label": "stereotype"}]}]}}' >build/fuzz/records/items
printf '{"prompt": "a", "completion": "b", "id": 3}\n{"prompt": {"text": "x", "toxicity": 0.7}}\n' >build/fuzz/records/lines
printf '{"g": {"e": ["p ", ""]}}' >build/fuzz/records/bold
export ASAN_OPTIONS=detect_leaks=1
for target in csv records; do
    (cd build/fuzz && ./fuzz_$target -runs="$runs" -seed=1 -max_len=4096 -rss_limit_mb=2048 -timeout=20 $target >$target.log 2>&1) ||
        { tail -40 build/fuzz/$target.log; echo "fuzz_$target failed"; exit 1; }
    grep -E '^Done|stat::' build/fuzz/$target.log || tail -1 build/fuzz/$target.log
done
