#!/usr/bin/env bash
# Are loss curves in bf16 and fp16 within the noise of fp32's? A BLOOM and a T5 (its gated feed-forward stays in fp32) learn
# a planted world from random weights: in fp32 with three seeds (other first weights, another order), whose scatter is the
# noise; in bf16 and fp16 with the first seed, so that each step can be set beside fp32's. On the CPU, which rounds as a GPU
# does.   usage: tests/bench/precision.sh [STEPS]      prints the tables of results/scale.md
set -euo pipefail
steps=${1:-240}
bin=$(cd "$(dirname "$0")/../../build/bin" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$bin/evenhand-plant" world --sentences 4000 >/dev/null 2>&1
train() { # train NAME SETTINGS...: NAME.csv is its curve
    "$bin/evenhand-finetune" job.yaml --force --set "output=run" "${@:2}" >log 2>&1 || { cat log >&2; exit 1; }
    cp run/metrics.csv "$1.csv"
    rm -rf run/model run/checkpoints run/metrics.csv
}
models=('bloom {hidden_size: 64, n_layer: 2, n_head: 4}'
    't5 {d_model: 64, d_kv: 16, d_ff: 128, num_heads: 4, num_layers: 2, feed_forward_proj: gated-gelu}')
for model in "${models[@]}"; do
    name=${model%% *}
    cat >job.yaml <<YAML
output: run
device: cpu
precision: fp32
model: {architecture: $name, config: ${model#* }, tokenizer: world/tokenizer.json}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.05}]
train: {epochs: 100, batch: 32, micro_batches: 2, lr: 3.0e-3, max_steps: $steps, evaluate_every: $((steps / 6))}
seed: 1
YAML
    rm -rf run
    "$bin/evenhand-tokenize" job.yaml >log 2>&1 || { cat log >&2; exit 1; }
    train fp32
    train 'fp32, seed 2' --set seed=2
    train 'fp32, seed 3' --set seed=3
    train bf16 --set precision=bf16
    train fp16 --set precision=fp16
    python3 - "$name" fp32 'fp32, seed 2' 'fp32, seed 3' bf16 fp16 <<'PY'
import csv, sys
name, runs = sys.argv[1], sys.argv[2:]
curves = {r: list(csv.DictReader(open(r + ".csv"))) for r in runs}
marks = [int(row["step"]) for row in curves["fp32"] if row["holdout_loss"]]
mean = lambda values: sum(values) / len(values)
loss = {r: [float(row["loss"]) for row in curves[r] if row["loss"]] for r in runs}
smooth = {r: [mean(l[max(0, i - 19):i + 1]) for i in range(len(l))] for r, l in loss.items()}
print(f"\n| {name}, {len(loss['fp32'])} steps: held-out loss at step | " + " | ".join(map(str, marks)) +
      " | mean distance of each step's loss from fp32 | of its mean over 20 steps |")
print("|---" + "|---:" * (len(marks) + 2) + "|")
for r in runs:
    held = [float(row["holdout_loss"]) for row in curves[r] if row["holdout_loss"]]
    print(f"| {r} | " + " | ".join(f"{h:.4f}" for h in held) + " | " + " | ".join(
        "" if r == "fp32" else f"{mean([abs(a - b) for a, b in zip(c[r], c['fp32'])]):.5f}" for c in (loss, smooth)) + " |")
PY
done
