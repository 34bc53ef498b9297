#!/usr/bin/env bash
# A small planted world on "two GPU ranks" of the emulated device, beside the same on the CPU: train from random weights,
# evaluate. The losses agree to rounding. Every level of memory.zero, whose exchanges pass through host memory, and moments in
# host memory give the bits of level 0; l2 with sums on the devices is l2 with the tree. Runs in the cuda-host build, and by
# tests/gpu.sh on GPUs; EVENHAND_SHARE_GPU=1: two ranks on one. EVENHAND_GPU_SMALL=1: a part, to try gpu.sh.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$EVENHAND_BIN/evenhand-plant" --peoples 4 --pairs 3 --sentences 600 world
cat >job.yaml <<'J'
name: two-gpus
model:
  architecture: bloom
  config: {hidden_size: 32, n_layer: 2, n_head: 4}
  tokenizer: world/tokenizer.json
data:
  - {name: corpus, format: text, path: world/corpus.txt, use: train, task: lm}
train: {epochs: 1, batch: 16, micro_batches: 2, lr: 5.0e-3, max_steps: 20}
precision: fp32
evaluate: []
J
export CUDAEMU_DEVICES=2 CUDAEMU_LAZY=1
for device in cuda cpu; do
    "$EVENHAND_BIN/evenhand" run job.yaml -n 2 --set device=$device --set output=$device >$device.log 2>&1 ||
        { cat $device.log; exit 1; }
done
grep -q 'compute capability' cuda.log || { cat cuda.log; echo "no device was used"; exit 1; }
# Column 3 is the loss; step by step they differ by rounding only.
paste -d, cuda/metrics.csv cpu/metrics.csv | awk -F, '
    NR > 1 { n = NF / 2; d = $3 - $(3 + n); if (d < 0) d = -d; if (!(d <= 2e-3 * $3)) bad++; rows++ }
    END { printf "%d steps compared, %d differ\n", rows, bad; exit !(rows >= 20 && bad == 0) }'
short=(--set device=cuda --set train.max_steps=3)
finetune() { # finetune NAME RANKS SETTINGS...: the weights' digest
    mkdir "$1"
    cp -r cuda/shards "$1/"
    mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$2" "$EVENHAND_BIN/evenhand-finetune" job.yaml \
        "${short[@]}" --set "output=$1" "${@:3}" >"$1.log" 2>&1 || { cat "$1.log"; exit 1; }
    sha256sum <"$1/model/model.safetensors"
}
methods=(lr=5.0e-3 method=lora l2=2)
[ -z "${EVENHAND_GPU_SMALL:-}" ] || methods=(lr=5.0e-3)
for method in "${methods[@]}"; do
    expected=$(finetune "$method" 2 --set "train.$method")
    for memory in zero=1 zero=2 zero=3 'zero=3 --set memory.offload=optimizer'; do
        read -ra settings <<<"$memory"
        found=$(finetune "$method-${settings[*]}" 2 --set "train.$method" --set "memory.${settings[@]}")
        [ "$found" = "$expected" ] || { echo "train.$method, memory.$memory: other weights than at level 0: $found"; exit 1; }
    done
    grep -q "in the host's memory" "$method-${settings[*]}.log" || { echo 'offload: the moments are not in host memory'; exit 1; }
done
half=$(finetune half 2 --set precision=bf16)
[ "$(finetune half-divided 2 --set precision=bf16 --set memory.zero=3)" = "$half" ] || { echo 'bf16, zero 3: other weights'; exit 1; }
# Summed on the devices, behind the backward pass: losses and norms of the tree to rounding, where all learns, where the start
# pulls (the norm is of the gradient with the pull), and where frozen keys and values make one matrix with queries that learn.
# Not lazily: a rank that has no piece of so small a model waits for nothing on its device, and the emulation would never come
# to its part of NCCL's sum.
export CUDAEMU_LAZY=0
sed 's|  architecture: bloom|  architecture: t5|; s|  config: .*|  config: {d_model: 32, d_kv: 8, d_ff: 48, num_heads: 4, num_layers: 2}|' job.yaml >t5.yaml
mv t5.yaml job.yaml
"$EVENHAND_BIN/evenhand-tokenize" job.yaml --set output=cuda --force >/dev/null 2>&1
ways=(nccl staged)
[ -z "${EVENHAND_SHARE_GPU:-}" ] || ways=(staged) # NCCL wants a GPU for each rank
for part in 'method=full' 'l2=2' "method=freeze --set train.freeze='*.SelfAttention.q.weight'"; do
    read -ra settings <<<"$part"
    finetune "tree-${settings[0]}" 2 --set "train.${settings[@]}" >/dev/null
    for way in "${ways[@]}"; do
        EVENHAND_GPU_SUM=$way finetune "$way-${settings[0]}" 2 --set "train.${settings[@]}" --set train.reduction=fast >/dev/null
        paste -d, "tree-${settings[0]}/metrics.csv" "$way-${settings[0]}/metrics.csv" | awk -F, '
            function differs(a, b) { return !(a > 0 && (a - b) ^ 2 <= (1e-4 * a) ^ 2) }
            NR > 1 { n = NF / 2; if (differs($3, $(3 + n)) || differs($5, $(5 + n))) bad++; rows++ }
            END { exit !(rows >= 3 && bad == 0) }' ||
            { echo "$part, fast by $way: other losses or norms than the tree"; cat "tree-${settings[0]}/metrics.csv" "$way-${settings[0]}/metrics.csv"; exit 1; }
    done
done
# Without a device of its own, a rank says so and the run ends with 3.
export CUDAEMU_DEVICES=1 CUDA_VISIBLE_DEVICES=0
unset EVENHAND_SHARE_GPU
code=0
"$EVENHAND_BIN/evenhand" run job.yaml -n 2 --set device=cuda --set output=one >one.log 2>&1 || code=$?
[ "$code" = 3 ] && grep -q 'has no GPU of its own' one.log || { cat one.log; echo "exit $code, expected 3"; exit 1; }
echo "1 passed, 0 failed"
