#!/usr/bin/env bash
# The whole fine-tuning program on the planted world: the same bits on any number of ranks, after a stop, after kill -9 at
# random moments and after damage to its checkpoints (test_torture.sh does that again and again).
source "$EVENHAND_SOURCE/tests/support/checks.sh"
export OMP_NUM_THREADS=1
mpi() { local ranks=$1; shift; timeout -s KILL 200 mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" "$@"; }
finetune() { mpi "$1" "$EVENHAND_BIN/evenhand-finetune" "${job:-job.yaml}" --set "output=$2" "${@:3}"; }
# What is missing is like nothing else.
weights() { sha256sum <"$1/model/model.safetensors" || echo "none in $1"; }
losses() { cut -d, -f1-6 "$1/metrics.csv" || echo "none in $1"; }

cd "$work"
"$EVENHAND_BIN/evenhand-plant" world --sentences 400 >/dev/null 2>&1
cat >job.yaml <<'YAML'
output: out
device: cpu
precision: fp32
model: {architecture: bloom, config: {hidden_size: 32, n_layer: 2, n_head: 4}, tokenizer: world/tokenizer.json}
data:
  - {name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.05}
  - {name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: gap-fill}
train: {epochs: 2, batch: 16, micro_batches: 4, lr: 2.0e-3, dropout: 0.1}
YAML
mpi 1 "$EVENHAND_BIN/evenhand-tokenize" job.yaml >log 2>&1 || { cat log; exit 1; }
# Folders of other runs with the same shards.
fresh() { rm -rf "$1"; mkdir "$1"; cp -r out/shards "$1/"; }

# --- Any number of ranks ---
for ranks in 1 2 3 4; do
    fresh "r$ranks"
    run finetune "$ranks" "r$ranks"
    check "$ranks ranks: exit 0" equal "$code" 0
    check "$ranks ranks: the weights of one" equal "$(weights "r$ranks")" "$(weights r1)"
    check "$ranks ranks: the losses of one" equal "$(losses "r$ranks")" "$(losses r1)"
    uneven="train.micro_batches: 4 can't be shared out evenly"
    told=has_not
    [ "$ranks" != 3 ] || told=has
    check "$ranks ranks: told if some wait" "$told" "$out$err" "$uneven"
done
check 'it learnt' test "$(awk -F, 'NR == 2 { a = $3 } END { print ($3 < 0.8 * a) }' r1/metrics.csv)" = 1
check 'held-out losses, two' equal "$(awk -F, 'NR > 1 && $4 != "" { n++ } END { print n }' r1/metrics.csv)" 2
steps=$(($(wc -l <r1/metrics.csv) - 1))
check 'the columns' equal "$(head -1 r1/metrics.csv)" 'step,epoch,loss,holdout_loss,grad_norm,lr,tokens_per_second,seconds,kl,general_loss,loss_scale'
check 'a last checkpoint' test -f "r1/checkpoints/step-$(printf %08d "$steps").safetensors"

# The only gradient of a step is the sum itself on one rank, and goes through the tree on two.
for ranks in 1 2; do
    fresh "only$ranks"
    run finetune "$ranks" "only$ranks" --set train.micro_batches=1
    check "one micro-batch, $ranks ranks: exit 0" equal "$code" 0
done
check 'one micro-batch: the weights of one rank on two' equal "$(weights only2)" "$(weights only1)"

fresh fast
run finetune 2 fast --set train.reduction=fast
check 'fast: exit 0' equal "$code" 0
check 'fast: nearly the same loss' test "$(paste -d, <(tail -1 fast/metrics.csv) <(tail -1 r1/metrics.csv) |
    awk -F, '{ d = $3 - $14; print (d < 0.01 && d > -0.01) }')" = 1

# --- bf16 products with fp32 masters; frozen weights ---
for ranks in 1 2; do
    fresh "bf16-$ranks"
    run finetune "$ranks" "bf16-$ranks" --set precision=bf16
    check "bf16, $ranks ranks: exit 0" equal "$code" 0
done
check 'bf16: the same losses on two ranks' equal "$(losses bf16-1)" "$(losses bf16-2)"
check 'bf16: not the bits of fp32' test "$(weights bf16-1)" != "$(weights r1)"
check 'bf16: the loss curve of fp32 within 2 %' test "$(paste -d, bf16-1/metrics.csv r1/metrics.csv | awk -F, '
    NR > 1 { d = $3 - $14; n++; if (d > 0.02 * $14 || -d > 0.02 * $14) bad++ } END { print (n > 10 && bad + 0 == 0) }')" = 1
fresh frozen
run finetune 2 frozen --set train.method=freeze --set train.freeze=norms
check 'freeze: exit 0' equal "$code" 0
check 'freeze: the trained weights are counted' has "$err" ' 384 trained weights'
check 'freeze: and recorded' equal "$(sed -n 2p frozen/training.csv | cut -d, -f1)" 384
run finetune 2 frozen --set train.method=freeze --set train.freeze=nomrs --force
check 'freeze: a wrong word: exit 2' equal "$code" 2
check 'freeze: a wrong word is named' has "$err" "'nomrs' fits no weight"

# --- Activations computed again ---
fresh again
run finetune 2 again --set memory.recompute=blocks
check 'recompute: the same weights' equal "$(weights again)" "$(weights r1)"

# --- The optimizer's states sharded over the ranks; a checkpoint goes on at another level ---
for ranks in 2 3; do
    fresh "zero-$ranks"
    run finetune "$ranks" "zero-$ranks" --set memory.zero=1
    check "zero 1, $ranks ranks: the weights of zero 0" equal "$(weights "zero-$ranks")" "$(weights r1)"
done
fresh levels
finetune 3 levels --set memory.zero=1 --set checkpoint.minutes=0.0002 >/dev/null 2>&1
rm "levels/checkpoints/step-$(printf %08d "$steps").safetensors" # the one at the end: the one before is in the middle
rm -r levels/model
run finetune 2 levels --set checkpoint.minutes=0.0002
check 'zero 1 to 0: goes on' has "$err" 'going on from levels/checkpoints/step-'
check 'written while training goes on' has "$err" 's of them beside the training'
check 'zero 1 to 0: the same weights' equal "$(weights levels)" "$(weights r1)"

# --- Stopped by a signal, then continued on other ranks ---
long=(--set train.epochs=12)
ranks_of() { pgrep -f "^[^ ]*/evenhand-finetune job.yaml --set output=$1 "; }
fresh whole
finetune 1 whole "${long[@]}" >/dev/null 2>&1
fresh stopped
(finetune 2 stopped "${long[@]}" >log 2>&1; echo $? >stopped/code) &
for _ in $(seq 200); do [ "$(cat stopped/metrics.csv 2>/dev/null | wc -l)" -gt 5 ] && break; sleep 0.02; done
kill -USR1 "$(ranks_of stopped | tail -1)"
wait
check 'SIGUSR1: exit 75' equal "$(cat stopped/code)" 75
check 'SIGUSR1: it says so' has "$(cat log)" 'stopped on request after step'
check 'SIGUSR1: a checkpoint' equal "$(ls stopped/checkpoints | wc -l)" 1
run finetune 3 stopped "${long[@]}"
check 'continued: exit 0' equal "$code" 0
check 'continued: it says from where' has "$err" 'going on from stopped/checkpoints/step-'
check 'continued: the weights of one run' equal "$(weights stopped)" "$(weights whole)"
check 'continued: its losses' equal "$(losses stopped)" "$(losses whole)"

# --- kill -9 at random steps, with a checkpoint every step or so ---
fresh killed
more=("${long[@]}" --set checkpoint.minutes=0.0002)
kills=0
for round in 1 2; do
    finetune "$((round % 3 + 1))" killed "${more[@]}" >log 2>&1 &
    for _ in $(seq 400); do # its ranks have met: mpirun 4.1 waits for ever for one that is killed before
        grep -q 'rank.*, cpu' log && break
        sleep 0.05
    done
    more_rows=$((RANDOM % 6 + 1)) rows=$(cat killed/metrics.csv 2>/dev/null | wc -l)
    for _ in $(seq 500); do # some steps later, however quick they are
        [ "$(cat killed/metrics.csv 2>/dev/null | wc -l)" -lt $((rows + more_rows)) ] || break
        sleep 0.01
    done
    victim=$(ranks_of killed | shuf -n 1)
    [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null && kills=$((kills + 1))
    wait
    check "round $round: two checkpoints, and one that is being written" test "$(ls killed/checkpoints 2>/dev/null | grep -c 'safetensors$')" -le 3
done
check 'ranks were killed' test "$kills" -gt 0
run finetune 2 killed "${more[@]}"
check "after $kills kills: exit 0" equal "$code" 0
[ "$code" = 0 ] || tail -20 <<<"$err"
check "after $kills kills: the weights of an undisturbed run" equal "$(weights killed)" "$(weights whole)"
check "after $kills kills: its losses" equal "$(losses killed)" "$(losses whole)"

# --- Checkpoints of a training with other settings are not used ---
fresh other
finetune 1 other >/dev/null 2>&1
run finetune 2 other --force --set train.lr=1e-3
check 'other settings: a warning' has "$err" 'belongs to a training with other data or settings'
check 'other settings: other weights' test "$(weights other)" != "$(weights r1)"
check 'other settings: from the first step' equal "$(sed -n 2p other/metrics.csv | cut -d, -f1)" 1

# --- Damaged checkpoints ---
fresh damaged
finetune 1 damaged "${more[@]}" >/dev/null 2>&1
check 'two checkpoints are kept' equal "$(ls damaged/checkpoints | wc -l)" 2
newest=damaged/checkpoints/$(ls damaged/checkpoints | tail -1)
printf 'X' | dd of="$newest" bs=1 seek=20000 conv=notrunc 2>/dev/null
rm -r damaged/model
run finetune 2 damaged "${more[@]}"
check 'a flipped byte: exit 0' equal "$code" 0
check 'a flipped byte: a warning' has "$err" 'the checkpoint before it is used'
check 'a flipped byte: the same weights' equal "$(weights damaged)" "$(weights whole)"
truncate -s 1000 damaged/checkpoints/*
run finetune 2 damaged "${more[@]}"
check 'both torn: from the start, the same weights' equal "$(weights damaged)" "$(weights whole)"

# --- A disk that fills up while a checkpoint is written: the run ends, the one before stands, and a larger disk goes on ---
fresh full
mkdir full/checkpoints
size=$(stat -c %s damaged/checkpoints/* | sort -n | tail -1)
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o "size=$((size * 3 / 2))" none full/checkpoints 2>/dev/null; then
    on_exit+=("umount '$work/full/checkpoints' 2>/dev/null")
    run finetune 2 full "${more[@]}"
    check 'disk full: exit 3' equal "$code" 3
    check 'disk full: it says so' has "$err" 'No space left on device'
    check 'disk full: said once' equal "$(grep -c 'No space left' <<<"$err")" 1
    check 'disk full: one whole checkpoint, no torn one' equal "$(ls full/checkpoints | sed 's/[0-9]*//g')" step-.safetensors
    cp -r full/checkpoints full/kept
    umount full/checkpoints
    cp full/kept/* full/checkpoints/
    run finetune 1 full "${more[@]}"
    check 'a larger disk: goes on' has "$err" 'going on from full/checkpoints/step-'
    check 'a larger disk: the same weights' equal "$(weights full)" "$(weights whole)"
else
    echo 'not tested: a full disk (needs a tmpfs of its own)'
fi

# --- Divergence: a NaN among the weights stands for it ---
fresh diverged
cp -r r1/model bad
printf '\x00\x00\xc0\x7f' | dd of=bad/model.safetensors bs=1 seek=$(($(stat -c %s bad/model.safetensors) - 4)) conv=notrunc 2>/dev/null
sed 's|^model:.*|model: {path: bad}|' job.yaml >bad.yaml
job=bad.yaml run finetune 2 diverged
check 'NaN: exit 2' equal "$code" 2
check 'NaN: one message' equal "$(grep -c 'training diverged' <<<"$err")" 1
check 'NaN: it names the checkpoint' has "$err" 'the last good checkpoint is none'
check 'NaN: no model is left' test ! -e diverged/model

finish
