#!/usr/bin/env bash
# gpu_step.sh [NAME]: tokens a second of evenhand's training step on a GPU, bloomz-560m's shape in bf16 (fp16 before Ampere),
# and of Hugging Face Trainer's on batches of the same size, as a table on standard output. NAME: the GPU in `evenhand plan`, for the
# share of its peak. Where there is no PyTorch with CUDA, its rows say so. EVENHAND_GPU_SMALL=1: a tiny model, to try the script.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=${EVENHAND_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)} python=${EVENHAND_PYTHON:-python3} name=${1:-}
cd "$work"
steps=12 sentences=60000 config='{vocab_size: 250880, hidden_size: 1024, n_layer: 24, n_head: 16}' shapes="32:512 128:64"
[ -z "${EVENHAND_GPU_SMALL:-}" ] || steps=3 sentences=300 config='{vocab_size: 4096, hidden_size: 32, n_layer: 2, n_head: 4}' shapes="4:32"
"$EVENHAND_BIN/evenhand-plant" --peoples 4 --pairs 3 --sentences $sentences world >/dev/null 2>&1
echo '| batch | program | tokens/s | share of the peak |'
echo '|---|---|---:|---:|'
for shape in $shapes; do
    batch=${shape%:*} length=${shape#*:}
    cat >job.yaml <<J
name: step
output: out-$batch-$length
model: {architecture: bloom, tokenizer: world/tokenizer.json, config: $config}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, max_length: $length}]
train: {epochs: 9, batch: $batch, micro_batches: 1, lr: 1.0e-5, max_steps: $steps, reduction: fast}
precision: auto
device: ${EVENHAND_GPU_DEVICE:-cuda}
evaluate: []
J
    "$EVENHAND_BIN/evenhand-tokenize" job.yaml >log 2>&1 || { cat log >&2; exit 1; }
    "$EVENHAND_BIN/evenhand-finetune" job.yaml >log 2>&1 || { cat log >&2; exit 1; }
    # The first steps make plans and buffers: the median of the second half counts.
    rate=$(awk -F, -v skip=$((steps / 2 + 1)) 'NR > skip { print $7 }' "out-$batch-$length/metrics.csv" | sort -g | awk '{ r[NR] = $1 } END { print r[int((NR + 1) / 2)] }')
    share=unknown
    if [ -n "$name" ] && plan=$("$EVENHAND_BIN/evenhand" plan job.yaml --gpu "$name" -n 1 2>/dev/null); then
        # By its roofline: so many tokens/s are so many percent of the peak.
        share=$(grep -oP '[0-9]+ tokens/s, [0-9]+ %' <<<"$plan" | awk -v rate="$rate" '{ printf "%.0f %%", rate / $1 * $3 }')
    fi
    echo "| $batch x $length | evenhand | $rate | $share |"
    "$python" "$source/tests/bench/gpu_step.py" "$config" "$batch" "$length" "$steps" "$rate" 2>log ||
        echo "| $batch x $length | Hugging Face Trainer | not run: $(tail -1 log) | |"
done
