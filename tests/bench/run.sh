#!/usr/bin/env bash
# usage: tests/bench/run.sh [NAME...]     (none: all; --list names them)
# evenhand beside its peers on the same, checked work, in turn: tests/bench/peers.py says how. Each case leaves a file of
# JSON lines in build/bench; the tables of results/bench-cpu.md are made of all that lie there. growth.py prints last how
# cost grows with the model and the data. Needs the peers' Python
# (EVENHAND_PYTHON), EVENHAND_SHARED with the peers' programs and data sets, and a build. ROUNDS, THREADS: how often and
# how wide. PREFIX: words before each measured program, ours and the peers': "chrt -f 1" on a machine that others use.
set -euo pipefail
cd "$(dirname "$0")/../.."
export EVENHAND_SHARED=${EVENHAND_SHARED:-$PWD/../shared} HF_HUB_DISABLE_PROGRESS_BARS=1
python=${EVENHAND_PYTHON:-$HOME/.cache/evenhand/venv/bin/python} build=${BUILD:-build/default}
threads=${THREADS:-$(nproc)} rounds=${ROUNDS:-5}
mkdir -p build/bench

# The whole of bloom-560m where its peers' 13 GiB fit, else as many words with a quarter of the layers.
large=bloom-560m-6
[ "$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)" -lt 18 ] || large=bloom-560m

cases=(
    "train-gpt2 train gpt2"
    "train-bloom-small train bloom-small"
    "train-flan-t5-small train flan-t5-small"
    "train-flan-t5-base train flan-t5-base --one-at-a-time"
    "train-bert-base train bert-base"
    "train-$large train $large --one-at-a-time"
    "train-$large-bf16 train $large --one-at-a-time --precision bf16"
    "train-bloom-small-4 train bloom-small --micro 4 --peers=lean"
    "score-gpt2 score gpt2 --peers lean,batch,study"
    "score-flan-t5-small score flan-t5-small --peers lean,batch,study"
    "score-bloom-560m score bloom-560m --peers lean --one-at-a-time"
    "score-bloom-560m-bf16 score bloom-560m --peers lean --one-at-a-time --precision bf16"
    "generate-gpt2 generate gpt2"
    "generate-flan-t5-small generate flan-t5-small"
    "generate-bloom-560m generate bloom-560m --peers lean --one-at-a-time"
    "generate-bloom-560m-one generate bloom-560m --items 2 --size 1 --peers study --one-at-a-time"
    "orders-1 choose bloom-small --orders 1 --peers="
    "orders-6 choose bloom-small --orders 6 --peers="
    "pll-bert-base pll bert-base --items 8"
    "ranks-1x1 train bloom-small --threads 1 --micro 2 --peers="
    "ranks-1x2 train bloom-small --threads 2 --micro 2 --peers="
    "ranks-2x1 train bloom-small --threads 1 --ranks 2 --micro 2 --peers="
    "ranks-2x1-zero1 train bloom-small --threads 1 --ranks 2 --micro 2 --zero 1 --peers="
)
for shape in gpt2 bloom-small flan-t5-small; do cases+=("train-$shape-bf16 train $shape --precision bf16"); done
for shape in gpt2 flan-t5-small; do cases+=("score-$shape-bf16 score $shape --peers lean,batch --precision bf16"); done
for shape in gpt2 bloom-small flan-t5-small bert-base "$large"; do
    cases+=("start-$shape train $shape --restart --peers lean")
done
for count in 1 41; do # of tokens after a prompt: their difference is what one costs
    cases+=("decode-gpt2-$count generate gpt2 --items 4 --size 1 --new-tokens $count --peers="
        "decode-bloom-560m-$count generate bloom-560m --items 2 --size 1 --new-tokens $count --peers="
        "decode-bloom-560m-bf16-$count generate bloom-560m --precision bf16 --items 2 --size 1 --new-tokens $count --peers=")
done
for size in 1m 5m 20m 50m 130m 350m; do cases+=("grow-$size train grow-$size --peers="); done
for count in 100 1000 10000; do cases+=("data-$count train tiny --peers= --rounds 40 --examples $count"); done

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${cases[@]}" | cut -d' ' -f1
    exit
fi
wanted() { # NAME: one of the arguments, or all
    [ "$#" -gt 0 ] || return 1
    local name=$1
    shift
    [ "$#" -eq 0 ] && return
    for word in "$@"; do [ "$word" != "$name" ] || return 0; done
    return 1
}
cmake --build "$build" --target bench_model >/dev/null
found=0
for line in "${cases[@]}"; do
    read -r name arguments <<<"$line"
    wanted "$name" "$@" || continue
    found=1
    echo "== $name: peers.py $arguments --threads $threads --rounds $rounds"
    # shellcheck disable=SC2086
    "$python" tests/bench/peers.py --program "$build/tests/bench_model" --threads "$threads" --rounds "$rounds" $arguments \
        >"build/bench/$name.part"
    mv "build/bench/$name.part" "build/bench/$name.jsonl"
    "$python" tests/bench/table.py build/bench/"$name.jsonl"
done
[ "$found" = 1 ] || { echo "no case of that name; tests/bench/run.sh --list names them" >&2; exit 2; }
"$python" tests/bench/table.py --into results/bench-cpu.md build/bench/*.jsonl
"$python" tests/bench/growth.py build/bench/*.jsonl
