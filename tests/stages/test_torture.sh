#!/usr/bin/env bash
# A training that is harmed again and again (EVENHAND_TORTURE rounds, default 6) ends with the weights of an undisturbed one:
# rounds take turns in how they harm (kill -9 of a rank while it computes or writes, a bit that flips in the newest
# checkpoint, a disk that fills up while a checkpoint is written), on how many ranks they go on, and at which zero level.
# Nothing but the work since the last whole checkpoint may be lost: each round that leaves one must go on from it.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
export OMP_NUM_THREADS=1
rounds=${EVENHAND_TORTURE:-6}
# Seconds after which a round counts as hung. mpirun itself must not outlive it, nor its ranks.
limit=${EVENHAND_TORTURE_LIMIT:-120}
mpi() { local ranks=$1; shift; timeout -s KILL "$limit" mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n "$ranks" "$@"; }
finetune() { mpi "$1" "$EVENHAND_BIN/evenhand-finetune" "$work/job.yaml" --set "output=$2" "${@:3}"; }
weights() { sha256sum <"$1/model/model.safetensors" || echo "none in $1"; }
losses() { cut -d, -f1-6 "$1/metrics.csv" || echo "none in $1"; }
ranks_of() { pgrep -f "^[^ ]*/evenhand-finetune $work/job.yaml --set output=$1 "; }
newest() { ls harmed/checkpoints 2>/dev/null | grep '^step-[0-9]*\.safetensors$' | tail -1; }
step_of() { local digits; digits=$(grep -oP '[0-9]+' <<<"$1" | head -1); echo $((10#${digits:-0})); }

cd "$work"
"$EVENHAND_BIN/evenhand-plant" world --sentences 400 >/dev/null 2>&1
steps=$((600 + 40 * rounds))
cat >job.yaml <<YAML
output: out
device: cpu
precision: fp32
model: {architecture: bloom, config: {hidden_size: 32, n_layer: 2, n_head: 4}, tokenizer: $work/world/tokenizer.json}
data:
  - {name: corpus, format: text, path: $work/world/corpus.txt, use: train, task: lm}
  - {name: pairs, format: crows-pairs, path: $work/world/pairs.csv, use: train, task: gap-fill}
train: {epochs: 1000, batch: 16, micro_batches: 4, lr: 2.0e-3, dropout: 0.1, max_steps: $steps}
YAML
mpi 1 "$EVENHAND_BIN/evenhand-tokenize" job.yaml >log 2>&1 || { cat log; exit 1; }
fresh() { rm -rf "$1"; mkdir "$1"; cp -r out/shards "$1/"; }
fresh whole
finetune 1 whole >log 2>&1 || { cat log; exit 1; }

# Checkpoints on a disk of their own, whose size a round may change; without the right to mount, no round fills it.
fresh harmed
mkdir harmed/checkpoints
fills=
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=64m none harmed/checkpoints 2>/dev/null; then
    on_exit+=("umount '$work/harmed/checkpoints' 2>/dev/null")
    fills=yes
else
    echo 'not tested: a full disk (needs a tmpfs of its own)'
fi

declare -A harms=()
hung=0 harm_step=0
every=(--set checkpoint.minutes=0.0001)
for round in $(seq "$rounds"); do
    ranks=$((round % 3 + 1)) level=$((round % 4)) kind=kill
    [ $((round % 4)) = 2 ] && kind=flip
    [ $((round % 4)) = 0 ] && [ -n "$fills" ] && [ -n "$(newest)" ] && kind=full
    before=$(newest)
    if [ "$kind" = full ]; then # room for the newest checkpoint and half of another
        find harmed/checkpoints -type f ! -name "$before" -delete
        mount -o "remount,size=$(($(stat -c %s "harmed/checkpoints/$before") * 3 / 2 + 65536))" harmed/checkpoints
    fi
    finetune "$ranks" harmed "${every[@]}" --set "memory.zero=$level" >log 2>&1 &
    started=$! began=$SECONDS
    if [ "$kind" != full ]; then
        for _ in $(seq 200); do # until it has begun; half of the time until it trains
            victim=$(ranks_of harmed | shuf -n 1)
            [ -n "$victim" ] && { [ $((RANDOM % 2)) = 0 ] || grep -q 'trained weights' log; } && break
            sleep 0.05
        done
        sleep "0.$(printf %03d $((RANDOM % 700)))"
        victim=$(ranks_of harmed | shuf -n 1)
        [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null && harms[$kind]=$((${harms[$kind]:-0} + 1))
    fi
    wait "$started" 2>/dev/null
    code=$?
    if [ $((SECONDS - began)) -ge "$limit" ]; then # mpirun was ended by its limit: which ranks were left, and what they said
        hung=$((hung + 1))
        echo "round $round ($kind, $ranks ranks, zero $level): mpirun did not end within $limit s; its ranks: $(ranks_of harmed | tr '\n' ' ')"
        tail -5 log
    fi
    for left in $(ranks_of harmed); do kill -9 "$left" 2>/dev/null; done
    if [ "$kind" = full ]; then
        [ "$code" = 3 ] && has "$(cat log)" 'No space left' >/dev/null && harms[full]=$((${harms[full]:-0} + 1))
        check "round $round: a full disk ends the run with exit 3, or it had nothing left to do" test "$code" = 3 -o -e harmed/model
        mount -o remount,size=64m harmed/checkpoints
    fi
    if grep -q 'trained weights' log && [ -n "$before" ] && ! grep -q 'checkpoint before it is used' log; then
        check "round $round: it went on from $before" has "$(cat log)" "going on from harmed/checkpoints/$before"
    fi
    check "round $round: no more than two whole checkpoints and one that replaces them" test "$(ls harmed/checkpoints | grep -c 'safetensors$')" -le 3
    check "round $round: checkpoints only go on" test "$(step_of "$(newest)")" -ge "$harm_step"
    harm_step=$(step_of "$(newest)")
    if [ "$kind" = flip ] && [ "$(ls harmed/checkpoints | grep -c '^step-[0-9]*\.safetensors$')" -ge 2 ]; then
        file=harmed/checkpoints/$(newest) at=$((RANDOM * 32768 + RANDOM))
        at=$((at % $(stat -c %s "$file")))
        byte=$(od -An -tu1 -j "$at" -N 1 "$file")
        printf "\\x$(printf %02x $((byte ^ (1 << (RANDOM % 8)))))" | dd of="$file" bs=1 seek="$at" conv=notrunc 2>/dev/null
        harm_step=$(step_of "$(ls harmed/checkpoints | grep '^step-[0-9]*\.safetensors$' | tail -2 | head -1)")
        harms[flipped]=$((${harms[flipped]:-0} + 1))
    fi
done
echo "harms: $(for kind in "${!harms[@]}"; do printf '%s %s, ' "$kind" "${harms[$kind]}"; done)hung: $hung, at step $harm_step of $steps"
check 'ranks were killed' test "${harms[kill]:-0}" -gt 0
check 'no round hung' equal "$hung" 0
run finetune 2 harmed "${every[@]}"
check 'after all of it: exit 0' equal "$code" 0
check 'the weights of an undisturbed run' equal "$(weights harmed)" "$(weights whole)"
check 'its losses' equal "$(losses harmed)" "$(losses whole)"
finish
