#!/usr/bin/env bash
# What a training on the emulated device does with its memory: no allocation in a step, a message for want of memory that
# says what was asked for, by whom and what would need less; and which GPU each rank takes.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
"$EVENHAND_BIN/evenhand-plant" --peoples 4 --pairs 3 --sentences 200 world >/dev/null 2>&1
cat >job.yaml <<'J'
name: steps
model: {architecture: bloom, config: {hidden_size: 32, n_layer: 2, n_head: 4}, tokenizer: world/tokenizer.json}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm}]
train: {epochs: 1, batch: 8, micro_batches: 2, lr: 5.0e-3, max_steps: 2, dropout: 0.1}
device: cuda
evaluate: []
output: out
J
"$EVENHAND_BIN/evenhand-tokenize" job.yaml >/dev/null 2>&1
train() { rm -rf out/model out/checkpoints out/metrics.csv; run "$EVENHAND_BIN/evenhand-finetune" job.yaml --force "$@"; }

# The more steps, the more shapes of batches; the number of allocations stays.
export CUDAEMU_COUNT=1 EVENHAND_CUDA_SLAB_MIB=0
for precision in fp32 bf16; do
    counts=()
    for steps in 2 9; do
        train --set "precision=$precision" --set "train.max_steps=$steps"
        check "$precision, $steps steps" equal "$code" 0
        counts+=("$(grep -oP 'cudaemu: \K[0-9]+(?= allocations)' <<<"$err")")
    done
    echo "$precision: ${counts[0]} allocations with 2 steps, ${counts[1]} with 9"
    check "$precision: a step allocates nothing" equal "${counts[0]}" "${counts[1]}"
done
separate=${counts[0]}

# What `plan` says of a GPU is what the training asks of it, to the byte but for T5's tables
# of buckets, rounding to 256 bytes and cuBLAS's own 4 MiB, which the emulated library lacks.
planned() { grep -oP 'together +\K[0-9.]+' <<<"$out"; }
sed -e 's/hidden_size: 32, n_layer: 2, n_head: 4/hidden_size: 192, n_layer: 2, n_head: 4, vocab_size: 6000/' -e 's/batch: 8, micro_batches: 2/batch: 64, micro_batches: 1/' job.yaml >planned.yaml
for settings in 'precision=bf16' 'precision=fp32' 'memory.recompute=blocks' 'train.method=lora'; do
    run "$EVENHAND_BIN/evenhand" plan planned.yaml --gpu a100 -n 1 --set train.max_steps=1 --set "$settings"
    check "$settings: a plan" equal "$code" 0
    predicted=$(planned)
    rm -rf out/model out/checkpoints out/metrics.csv
    run "$EVENHAND_BIN/evenhand-finetune" planned.yaml --force --set train.max_steps=1 --set "$settings"
    measured=$(grep -oP 'at most \K[0-9]+(?= bytes)' <<<"$err")
    echo "$settings: planned $predicted MiB, asked for $((measured >> 10)) KiB"
    check "$settings: within 1 %" awk -v p="$predicted" -v m="$measured" 'BEGIN { m = m / 2 ^ 20 + 4; exit !(p > 0.99 * m && p < 1.01 * m) }'
done
unset EVENHAND_CUDA_SLAB_MIB
train --set precision=bf16
arena=$(grep -oP 'cudaemu: \K[0-9]+(?= allocations)' <<<"$err")
echo "with the arena: $arena allocations"
check 'an arena asks the driver less often' test "$arena" -lt "$separate"

# The host waits twice a step, for the log-probabilities and the gradient's norm: what is queued in between never runs dry.
# A layer is some thirty kernels of ours and the products' conversions; one for each vector or piece would show here.
export CUDAEMU_LAZY=1
waits=() launches=()
for steps in 2 9; do
    train --set precision=bf16 --set train.micro_batches=1 --set train.reduction=fast --set "train.max_steps=$steps" --set train.dropout=0
    check "$steps steps in the fast order" equal "$code" 0
    waits+=("$(grep -oP '[0-9]+(?= waits of the host)' <<<"$err")")
    launches+=("$(grep -oP '[0-9]+(?= launches)' <<<"$err")")
done
a_step=$(((waits[1] - waits[0]) / 7)) kernels=$(((launches[1] - launches[0]) / 7))
echo "a step of two layers: the host waits $a_step times; $kernels kernels of ours"
check 'a step waits for the device twice' test "$a_step" -le 2
check 'a step launches few kernels' test "$kernels" -le 100
unset CUDAEMU_COUNT CUDAEMU_LAZY

CUDAEMU_MEMORY=4500000 train # a little more than cuBLAS has
check 'too little memory: exit 3' equal "$code" 3
check 'what was asked for, and by whom' grep -qE 'out of memory: [0-9.]+ MiB for [a-z].* were asked for' <<<"$err"
check 'who holds the rest' grep -qE 'this rank holds [a-zA-Z]' <<<"$err"
check 'what would need less' grep -qE 'need less|needs less' <<<"$err"
check 'and where to see what would fit' has "$err" 'evenhand plan JOB'

# Two ranks: GPUs that Slurm chose for each task, one for both, one for both on purpose.
two() { run mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 2 bash -c "$1" _ "$EVENHAND_BIN/evenhand-finetune" job.yaml --force --set train.reduction=fast --set train.max_steps=1; }
export CUDAEMU_DEVICES=4
took() { grep -oP '0000:[0-9a-f]+:00.0' <<<"$err" | sort -u | tr '\n' ' '; }
two 'exec "$@"'
check 'all GPUs of the node: each rank takes its own' equal "$code $(took)" '0 0000:01:00.0 0000:02:00.0 '
two 'CUDA_VISIBLE_DEVICES=1,3 exec "$@"'
check 'two that Slurm chose for the job: one each' equal "$code $(took)" '0 0000:02:00.0 0000:04:00.0 '
two 'CUDA_VISIBLE_DEVICES=$((2 + OMPI_COMM_WORLD_RANK)) exec "$@"'
check 'a GPU for each task: both see one, which is their own' equal "$code" 0
two 'CUDA_VISIBLE_DEVICES=3 exec "$@"'
check 'one GPU for two ranks: exit 3' equal "$code" 3
check 'told as such' has "$err" 'has no GPU of its own: it shares 0000:04:00.0'
EVENHAND_SHARE_GPU=1 two 'CUDA_VISIBLE_DEVICES=3 exec "$@"'
check 'unless asked for' equal "$code" 0
finish
