#!/usr/bin/env bash
# Training in parts: every level of memory.zero on 1, 2 and 4 ranks gives the bits of level 0 on one, decoders and
# encoder-decoders, with layers computed again too; checkpoints go on at other levels and on other ranks.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
export OMP_NUM_THREADS=1
mpi() { local ranks=$1; shift; mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" "$@"; }
finetune() { mpi "$1" "$EVENHAND_BIN/evenhand-finetune" "$job" --set "output=$2" "${@:3}"; }
# What is missing is like nothing else.
weights() { sha256sum <"$1/model/model.safetensors" || echo "none in $1"; }
losses() { cut -d, -f1-6 "$1/metrics.csv" || echo "none in $1"; }
fresh() { rm -rf "$1"; mkdir "$1"; cp -r "$shards" "$1/shards"; }

cd "$work"
"$EVENHAND_BIN/evenhand-plant" world --sentences 200 >/dev/null 2>&1
write_job() { # write_job NAME MODEL: job NAME.yaml with its shards under NAME
    cat >"$1.yaml" <<YAML
output: $1
device: cpu
precision: fp32
model: $2
data:
  - {name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.1}
  - {name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: gap-fill}
train: {epochs: 1, batch: 12, micro_batches: 6, lr: 2.0e-3, dropout: 0.1, max_steps: 4}
YAML
    "$EVENHAND_BIN/evenhand-tokenize" "$1.yaml" >log 2>&1 || { cat log; exit 1; }
    job=$1.yaml shards=$1/shards
}

# --- Every level on 1, 2 and 4 ranks ---
write_job bloom '{architecture: bloom, config: {hidden_size: 32, n_layer: 3, n_head: 4}, tokenizer: world/tokenizer.json}'
for precision in fp32 bf16; do
    fresh "$precision"
    finetune 1 "$precision" --set "precision=$precision" >/dev/null 2>&1
    for ranks in 1 2 4; do
        for level in 1 2 3; do
            [ "$precision$ranks" = bf161 ] && continue
            fresh run
            run finetune "$ranks" run --set "precision=$precision" --set "memory.zero=$level"
            check "$precision, zero $level, $ranks ranks: the weights of zero 0" equal "$(weights run)" "$(weights "$precision")"
            check "$precision, zero $level, $ranks ranks: its losses" equal "$(losses run)" "$(losses "$precision")"
        done
    done
done
fresh run
run finetune 3 run --set memory.zero=3 --set memory.recompute=blocks --set train.micro_batches=4
fresh other
finetune 1 other --set train.micro_batches=4 >/dev/null 2>&1
check 'three ranks, four micro-batches, recomputed: the same' equal "$(weights run)" "$(weights other)"

# --- Methods that learn a part, or stay near: every level gives the bits of level 0 on one rank ---
methods=('freeze --set train.method=freeze --set train.freeze=norms+top-1'
    'lora --set train.method=lora --set train.lora_targets=all-linear'
    'kl --set train.kl=0.4' 'l2 --set train.l2=3')
for precision in fp32 bf16; do
    for method in "${methods[@]}"; do
        read -ra words <<<"$method"
        [ "$precision" = bf16 ] && [[ "${words[0]}" = [fk]* ]] && continue
        settings=("${words[@]:1}" --set "precision=$precision")
        fresh method
        run finetune 1 method "${settings[@]}"
        check "$precision, ${words[0]}: exit 0" equal "$code" 0
        check "$precision, ${words[0]}: not the weights of full training" test "$(weights method)" != "$(weights $precision)"
        for division in '3 1' '3 2' '2 3'; do
            [ "$precision" = bf16 ] && [[ "$division" != *3 ]] && continue
            read -r ranks level <<<"$division"
            fresh run
            run finetune "$ranks" run "${settings[@]}" --set "memory.zero=$level"
            check "$precision, ${words[0]}, zero $level, $ranks ranks: the weights of zero 0" equal "$(weights run)" "$(weights method)"
            check "$precision, ${words[0]}, zero $level, $ranks ranks: its losses" equal "$(losses run)" "$(losses method)"
            [ "${words[0]}" = lora ] || continue
            check "lora, zero $level, $ranks ranks: the adapter" equal "$(sha256sum <run/adapter/adapter_model.safetensors)" "$(sha256sum <method/adapter/adapter_model.safetensors)"
        done
    done
done

# --- The optimizer's states on disk ---
check 'else they are not' has "$err" "MiB on rank 0, in the device's memory"
for precision in fp32 bf16; do
    fresh run
    run finetune 2 run --set "precision=$precision" --set memory.zero=3 --set memory.offload=optimizer
    check "$precision, offload: the moments are on disk" has "$err" 'MiB on rank 0, on disk'
    check "$precision, offload: the same weights" equal "$(weights run)" "$(weights "$precision")"
done
check 'offload: nothing is left' equal "$(ls run)" "$(ls bf16)"
run finetune 2 run --set memory.offload=parameters --force
check 'offload of parameters is refused: exit 2' equal "$code" 2

# The chain of sums has its own bits, the same on any number of ranks.
for ranks in 1 3; do
    fresh "chain$ranks"
    run finetune "$ranks" "chain$ranks" --set memory.zero=2 --set train.reduction=fast
done
check 'zero 2, fast: the same on three ranks' equal "$(weights chain1)" "$(weights chain3)"

# --- Checkpoints ---
every=(--set checkpoint.minutes=0.00001)
fresh across
finetune 3 across --set memory.zero=3 "${every[@]}" >/dev/null 2>&1
step() { rm -rf across/model "across/checkpoints/step-00000004.safetensors"; }
for goes_on in '2 2' '4 1' '1 3' '2 0' '2 3'; do
    read -r ranks level <<<"$goes_on"
    step
    run finetune "$ranks" across --set "memory.zero=$level" "${every[@]}"
    check "on $ranks ranks at level $level: from the checkpoint" has "$err" 'going on from across/checkpoints/step-00000003'
    check "on $ranks ranks at level $level: the same weights" equal "$(weights across)" "$(weights fp32)"
done

# --- Encoder-decoders; a model from files ---
write_job t5 '{architecture: t5, config: {d_model: 32, d_kv: 8, d_ff: 48, num_heads: 4, num_layers: 2, num_decoder_layers: 3}, tokenizer: world/tokenizer.json}'
fresh whole
finetune 1 whole >log 2>&1
cp -r whole/model start
for level in 2 3; do
    fresh run
    run finetune 2 run --set "memory.zero=$level" --set memory.recompute=blocks
    check "t5, zero $level: the weights of zero 0" equal "$(weights run)" "$(weights whole)"
done
part=(--set train.method=freeze --set "train.freeze='*.SelfAttention.q.weight'") # of a product of three matrices
fresh part
finetune 1 part "${part[@]}" >log 2>&1
for level in 1 3; do
    fresh run
    run finetune 3 run "${part[@]}" --set "memory.zero=$level"
    check "t5, queries alone, zero $level: the weights of zero 0" equal "$(weights run)" "$(weights part)"
    check "t5, queries alone, zero $level: its gradient norms" equal "$(losses run)" "$(losses part)"
done
sed 's|^model:.*|model: {path: start}|' t5.yaml >again.yaml
job=again.yaml
fresh whole
finetune 1 whole >log 2>&1
fresh run
run finetune 3 run --set memory.zero=3
check 'from files, zero 3: the weights of zero 0' equal "$(weights run)" "$(weights whole)"
check 'from files: it learnt' test "$(weights run)" != "$(sha256sum <start/model.safetensors)"
printf '\x00\x00\xc0\x7f' | dd of=start/model.safetensors bs=1 seek=$(($(stat -c %s start/model.safetensors) - 4)) conv=notrunc 2>/dev/null
fresh run
run finetune 3 run --set memory.zero=3
check 'a NaN in the files, on one rank of three: exit 2' equal "$code" 2
check 'a NaN: diverged, said once' equal "$(grep -c 'training diverged' <<<"$err")" 1
rm start/model.safetensors
run finetune 3 run --set memory.zero=3
check 'no weights: exit 2' equal "$code" 2

finish
