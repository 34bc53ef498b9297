#!/usr/bin/env bash
# gpu_step.sh [NAME]: tokens a second of evenhand's training step on a GPU, bloomz-560m's shape in bf16 (fp16 before Ampere),
# and of Hugging Face Trainer's on the same tokens, as a table on standard output. NAME: the GPU in `evenhand plan`, for the
# share of its peak. Where there is no PyTorch with CUDA, its rows say so. EVENHAND_GPU_SMALL=1: a tiny model, to try the script.
# Every step is a batch of texts of the full length but for a few, and both programs' first losses must be that of random
# weights (the logarithm of the vocabulary): else a row says FAILED and the exit status is 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=${EVENHAND_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)} python=${EVENHAND_PYTHON:-python3} name=${1:-}
cd "$work"
steps=12 sentences=30000 words=250880 shape='hidden_size: 1024, n_layer: 24, n_head: 16' shapes="32:512 128:64" failed=0
[ -z "${EVENHAND_GPU_SMALL:-}" ] || steps=4 sentences=300 words=4096 shape='hidden_size: 32, n_layer: 2, n_head: 4' shapes="4:32"
config="{vocab_size: $words, $shape}"
"$EVENHAND_BIN/evenhand-plant" --peoples 4 --pairs 3 --sentences $sentences world >log 2>&1 || { cat log >&2; exit 1; }
echo '| batch | program | tokens/s | share of the peak | first loss | |'
echo '|---|---|---:|---:|---:|---|'
for shape in $shapes; do
    batch=${shape%:*} length=${shape#*:} folder=out-${shape%:*}-${shape#*:}
    # Documents of some forty windows: all pieces but their last are full. (Every piece keeps its document's text.)
    awk -v n=$((5 * length)) '{ printf "%s%s", $0, NR % n ? " " : "\n" }' world/corpus.txt >world/long.txt
    cat >job.yaml <<J
name: step
output: $folder
model: {architecture: bloom, tokenizer: world/tokenizer.json, config: $config}
data: [{name: corpus, format: text, path: world/long.txt, use: train, task: lm, max_length: $length}]
train: {epochs: 9, batch: $batch, micro_batches: 1, lr: 1.0e-5, max_steps: $steps, reduction: fast}
precision: auto
device: ${EVENHAND_GPU_DEVICE:-cuda}
evaluate: []
J
    "$EVENHAND_BIN/evenhand-tokenize" job.yaml >log 2>&1 || { cat log >&2; exit 1; }
    # A batch that does not fit is taken in halves, quarters, ...
    parts=1
    while ! "$EVENHAND_BIN/evenhand-finetune" job.yaml --force --set "train.micro_batches=$parts" >log 2>&1; do
        grep -q 'out of memory' log && [ $((parts *= 2)) -le "$batch" ] || { cat log >&2; exit 1; }
    done
    rm -rf "$folder/model" "$folder/checkpoints" # gigabytes
    # The first steps make plans and buffers: the median of the second half counts.
    rate=$(awk -F, -v skip=$((steps / 2 + 1)) 'NR > skip { print $7 }' "$folder/metrics.csv" | sort -g | awk '{ r[NR] = $1 } END { print r[int((NR + 1) / 2)] }')
    loss=$(awk -F, 'NR > 1 && $3 > 0 { print $3; exit }' "$folder/metrics.csv")
    share=unknown
    plan=$("$EVENHAND_BIN/evenhand" plan job.yaml --gpu "${name:-h100}" -n 1)
    # By its roofline: so many tokens/s are so many percent of the peak.
    [ -z "$name" ] || share=$(grep -oP '[0-9]+ tokens/s, [0-9.]+ %' <<<"$plan" | awk -v rate="$rate" '{ printf "%.1f", rate / $1 * $3 }')
    in_parts=''
    [ "$parts" = 1 ] || in_parts=", in $parts parts"
    told=$share
    [ "$share" = unknown ] || told="$share %"
    echo "| $batch x $length | evenhand$in_parts | $rate | $told | $loss | |"
    tokens=$(grep -oP '[0-9]+(?= tokens and )' <<<"$plan")
    if ! awk -v t="$tokens" -v b=$((batch * length)) -v l="$loss" -v w=$words 'BEGIN { exit !(t > 0.95 * b && t <= b && (l - log(w)) ^ 2 < 0.2 ^ 2) }'; then
        echo "| $batch x $length | FAILED: $tokens tokens a step instead of $((batch * length)), or not the loss of random weights | | | | |"
        failed=1
    fi
    code=0
    "$python" "$source/tests/bench/gpu_step.py" "$config" "$batch" "$length" "$steps" "$rate" "$share" "$loss" "$folder/shards" 2>log >row || code=$?
    grep '^|' row || true # a program may print more
    if [ "$code" != 0 ] && grep -q '^|' row; then
        echo "| $batch x $length | FAILED: $(tail -1 log) | | | | |"
        failed=1
    elif [ "$code" != 0 ]; then
        echo "| $batch x $length | Hugging Face Trainer | not run: $(tail -1 log | tr '|' ' ') | | | |"
    fi
done
exit "$failed"
