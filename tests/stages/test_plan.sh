#!/usr/bin/env bash
# `evenhand plan` against the peak memory of a training that then runs; what does not fit; published devices.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
"$EVENHAND_BIN/evenhand-plant" --sentences 50 world >/dev/null 2>&1 || exit 1
cat >job.yaml <<'YAML'
output: out
model: {architecture: bloom, tokenizer: world/tokenizer.json,
        config: {vocab_size: 60000, hidden_size: 384, n_layer: 2, n_head: 6}}
data: [{name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: gap-fill, limit: 32}]
train: {max_steps: 2, batch: 8, epochs: 5}
precision: fp32
device: cpu
YAML
total() { grep -oP 'together +\K[0-9.]+' <<<"$1"; }

run "$EVENHAND_BIN/evenhand" plan job.yaml -n 1
check 'a plan before anything runs' equal "$code" 0
check 'it says that it assumes' has "$out" 'assumed: not tokenized yet'
check 'weights: vocabulary, 2 blocks of 12 h^2 + 13 h, 4 norms' has "$out" "$((60000 * 384 + 2 * (12 * 384 * 384 + 13 * 384) + 4 * 384)) weights"
run "$EVENHAND_BIN/evenhand" run job.yaml -n 1 --step tokenize
check 'tokenized' equal "$code" 0
run "$EVENHAND_BIN/evenhand" plan job.yaml -n 1
check 'from the shards' has "$out" '2 steps of 8 examples'
predicted=$(total "$out")
if [ -z "${EVENHAND_SANITIZED:-}" ]; then
    measured=$(python3 - "$EVENHAND_BIN/evenhand-finetune" <<'PY'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "job.yaml"], check=True, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
PY
    )
    echo "predicted $predicted MiB, measured $measured MiB"
    check 'memory within 5 %' awk -v p="$predicted" -v m="$measured" 'BEGIN { exit !(m > 0 && p > 0.95 * m && p < 1.05 * m) }'
fi
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu t4 -n 1
check 'a t4 computes in fp32 if told so' has "$out" 'products in fp32'
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu t4 -n 1 --set precision=auto
check 'and else in fp16' has "$out" 'products in fp16'
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu t4 -n 1 --set 'model.config={vocab_size: 250880, hidden_size: 4096, n_layer: 30, n_head: 32}'
check 'what does not fit is said' has "$out" 'IT DOES NOT FIT'
check 'bloom-7b1 has its published size' has "$out" '7069016064 weights'
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu tpu
check 'an unknown device' equal "$code" 2
finish
