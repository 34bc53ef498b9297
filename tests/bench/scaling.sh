#!/usr/bin/env bash
# Strong and weak scaling of training on 1 and 2 ranks of one thread each, and what the machine itself allows: two runs of one
# rank side by side, which share nothing but its memory and caches. Runs take turns and go before other work (chrt, where that
# is allowed), so that a machine that others use too is equally busy for all; the median of all steps' tokens/s counts, the
# first step of a run apart.   usage: tests/bench/scaling.sh [ROUNDS]      prints JSON lines, which scaling_study.py reads
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
train: {epochs: 1, batch: 512, micro_batches: 2, lr: 1.0e-4, max_steps: 3}
memory: {zero: 1}
YAML
"$bin/evenhand-tokenize" job.yaml >/dev/null 2>&1
first=()
chrt -f 1 true 2>/dev/null && first=(chrt -f 1)
once() { # once NAME RANKS SETTINGS...: adds its steps to NAME.steps and its processor seconds to NAME.cpu
    local name=$1 ranks=$2
    shift 2
    rm -rf "run-$name"
    mkdir "run-$name"
    cp -r out/shards "run-$name/"
    OMP_NUM_THREADS=1 "${first[@]}" mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" \
        "$bin/evenhand-finetune" job.yaml --set "output=run-$name" "$@" >"$name.log" 2>&1 || { cat "$name.log" >&2; exit 1; }
    grep -oP 'processors: \K[0-9.]+' "$name.log" >>"$name.cpu"
    awk -F, 'NR > 2 { print $7 }' "run-$name/metrics.csv" >>"$name.steps"
}
for _ in $(seq "$rounds"); do
    once strong1 1
    once strong2 2
    once beside1 1 & once beside2 1
    wait
    once weak2 2 --set train.batch=1024 --set train.micro_batches=4
    once zero3 2 --set memory.zero=3
done
median() { sort -g "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
for name in strong1 strong2 beside1 beside2 weak2 zero3; do
    printf '{"bench":"scaling","run":"%s","tokens_per_second":%.1f,"cpu_seconds":%.2f}\n' "$name" "$(median "$name.steps")" "$(sort -g "$name.cpu" | head -1)"
done
