#!/usr/bin/env bash
# A billion parameters on a laptop: random weights in bloomz-1b1's shape, fine-tuned by two ranks with gradients, weights
# and optimizer divided (zero 3), products in bf16, activations computed again, optimizer states and masters on disk.
# Needs about 11 GB of memory and 35 GB of disk. usage: tests/bench/billion.sh FOLDER [STEPS]
set -euo pipefail
folder=${1:?a folder with 35 GB of room} steps=${2:-3}
bin=$(cd "$(dirname "$0")/../../build/bin" && pwd)
mkdir -p "$folder"
cd "$folder"
[ -d world ] || "$bin/evenhand-plant" world --sentences 64 >/dev/null 2>&1
cat >job.yaml <<YAML
output: out
device: cpu
precision: bf16
model: {architecture: bloom, tokenizer: world/tokenizer.json,
        config: {vocab_size: 250880, hidden_size: 1536, n_layer: 24, n_head: 16}}
data: [{name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: gap-fill, limit: 64}]
train: {batch: 8, micro_batches: 2, epochs: 9, max_steps: $steps, lr: 1.0e-5}
memory: {zero: 3, recompute: blocks, offload: optimizer}
YAML
"$bin/evenhand-tokenize" job.yaml
"$bin/evenhand" plan job.yaml -n 2
"$bin/evenhand" plan job.yaml -n 2 --set memory.zero=0 --set memory.recompute=none --set memory.offload=none
OMP_NUM_THREADS=1 mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 2 "$bin/evenhand-finetune" job.yaml
cat out/metrics.csv
