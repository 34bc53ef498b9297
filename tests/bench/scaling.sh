#!/usr/bin/env bash
# Strong and weak scaling of training on 1 and 2 ranks of one thread each. Runs take turns, so that a machine that others
# use too is equally busy for all; of each step the shortest time counts, and the steps' processor seconds beside it,
# which other work lengthens less.   usage: tests/bench/scaling.sh [ROUNDS]      prints JSON lines, which scaling_study.py reads
set -euo pipefail
rounds=${1:-3}
bin=$(cd "$(dirname "$0")/../../build/bin" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$bin/evenhand-plant" world --sentences 4000 >/dev/null 2>&1
cat >job.yaml <<'YAML'
output: out
device: cpu
precision: fp32
model: {architecture: bloom, config: {hidden_size: 384, n_layer: 6, n_head: 8}, tokenizer: world/tokenizer.json}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm}]
train: {epochs: 1, batch: 512, micro_batches: 2, lr: 1.0e-4, max_steps: 2}
memory: {zero: 1}
YAML
"$bin/evenhand-tokenize" job.yaml >/dev/null 2>&1
once() { # once NAME RANKS SETTINGS...: adds its steps to NAME.steps and its processor seconds to NAME.cpu
    local name=$1 ranks=$2
    shift 2
    rm -rf run
    mkdir run
    cp -r out/shards run/
    OMP_NUM_THREADS=1 mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" \
        "$bin/evenhand-finetune" job.yaml --set output=run "$@" >log 2>&1 || { cat log >&2; exit 1; }
    grep -oP 'processors: \K[0-9.]+' log >>"$name.cpu"
    awk -F, 'NR > 1 { print $1, $7 }' run/metrics.csv >>"$name.steps"
}
for _ in $(seq "$rounds"); do
    once strong1 1
    once strong2 2
    once weak2 2 --set train.batch=1024 --set train.micro_batches=4
    once zero3 2 --set memory.zero=3
done
for name in strong1 strong2 weak2 zero3; do
    awk -v name="$name" '
        FNR == NR { if ($2 > best[$1]) best[$1] = $2; next }
        { cpu = $1; if (least == "" || cpu < least) least = cpu }
        END {
            for (step in best) if (step > 1) { sum += 1 / best[step]; count++ }
            printf "{\"bench\":\"scaling\",\"run\":\"%s\",\"tokens_per_second\":%.1f,\"cpu_seconds\":%.2f}\n", name, count / sum, least
        }' "$name.steps" "$name.cpu"
done
