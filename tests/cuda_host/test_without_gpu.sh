#!/usr/bin/env bash
# Programs with the CUDA backend in them on a machine without a GPU: `device: auto` says so and takes the CPU, `device: cuda`
# stops with 3. Run in the build by nvcc, whose programs must also hold code for every generation, and in the emulated one.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
export CUDA_VISIBLE_DEVICES='' CUDAEMU_DEVICES=0
"$EVENHAND_BIN/evenhand-plant" --peoples 4 --pairs 3 --sentences 100 world >/dev/null 2>&1
cat >job.yaml <<'J'
name: without
model: {architecture: bloom, config: {hidden_size: 32, n_layer: 1, n_head: 4}, tokenizer: world/tokenizer.json}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm}]
train: {epochs: 1, batch: 8, lr: 5.0e-3, max_steps: 1}
evaluate: []
output: out
J
"$EVENHAND_BIN/evenhand-tokenize" job.yaml >/dev/null 2>&1
train() { run "$EVENHAND_BIN/evenhand-finetune" job.yaml --force --set "device=$1"; }
train cuda
check 'device: cuda without a GPU: exit 3' equal "$code" 3
check 'it says why' has "$err" 'no GPU can be used'
check 'no model was written' test ! -e out/model
train auto
check 'device: auto without a GPU trains' equal "$code" 0
check 'it says so' has "$err" 'device: auto: no GPU can be used'
check 'a model was written' test -s out/model/model.safetensors
run "$EVENHAND_BIN/evenhand" doctor
check 'evenhand doctor tells the same' grep -qE 'device cuda +no: no GPU can be used' <<<"$out"

# The code of the programs, if this is not the emulated device: five generations, and PTX for those to come.
if command -v cuobjdump >/dev/null && ldd "$EVENHAND_BIN/evenhand-finetune" | grep -q libcublasLt; then
    code=$(cuobjdump --list-elf --list-ptx "$EVENHAND_BIN/evenhand-finetune")
    for generation in 75 80 86 89 90; do check "code for sm_$generation" grep -qE "sm_$generation\.cubin" <<<"$code"; done
    check 'PTX' grep -qE 'sm_90\.ptx' <<<"$code"
fi
finish
