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
predicted=$(total "$out") pairs_alone=$out
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
# --- Two ranks: three sizes, four levels ---
mpi() { mpirun --allow-run-as-root --oversubscribe --bind-to none -q "$@"; }
sizes=('bloom {vocab_size: 40000, hidden_size: 320, n_layer: 2, n_head: 5}'
    'bloom {vocab_size: 3000, hidden_size: 512, n_layer: 6, n_head: 8}'
    't5 {vocab_size: 6000, d_model: 384, d_kv: 64, d_ff: 1024, num_heads: 6, num_layers: 4, feed_forward_proj: gated-gelu}')
[ -n "${EVENHAND_SANITIZED:-}" ] && sizes=()
# planned_and_measured NAME SETTINGS...: of sized.yaml on two ranks.
planned_and_measured() {
    local name=$1
    shift
    run "$EVENHAND_BIN/evenhand" plan sized.yaml -n 2 "$@"
    plan=$out
    predicted=$(grep -oP '[0-9.]+(?= MiB, as its resident size)' <<<"$out" || total "$out")
    rm -rf sized/checkpoints sized/metrics.csv
    run mpi -n 2 "$EVENHAND_BIN/evenhand-finetune" sized.yaml --force "$@"
    measured=$(grep -oP 'peak memory: \K[0-9.]+' <<<"$err")
    echo "$name: predicted $predicted MiB, measured $measured MiB"
    check "$name: within 5 %" awk -v p="$predicted" -v m="$measured" 'BEGIN { exit !(m > 0 && p > 0.95 * m && p < 1.05 * m) }'
}
for size in "${sizes[@]}"; do
    sed -e "s/^model:.*/model: {architecture: ${size%% *}, tokenizer: world\/tokenizer.json,/" \
        -e "s/^        config:.*/        config: ${size#* }}/" -e 's/^output:.*/output: sized/' \
        -e 's/limit: 32/limit: 64/; s/batch: 8/batch: 64, micro_batches: 2/; s/max_steps: 2/max_steps: 1/' job.yaml >sized.yaml
    rm -rf sized
    "$EVENHAND_BIN/evenhand-tokenize" sized.yaml >/dev/null 2>&1
    for level in 0 1 2 3; do
        settings=(--set "memory.zero=$level")
        [ "$level" = 3 ] && settings+=(--set memory.recompute=blocks)
        planned_and_measured "${size%% *}, zero $level" "${settings[@]}"
    done
done
# --- Methods that learn a part have gradients and moments of that alone; staying near takes the starting model too ---
if [ "${#sizes[@]}" -gt 0 ]; then
    planned_and_measured 't5, lora, zero 0' --set train.method=lora --set train.lora_targets=all-linear
    check 'lora: gradients of its factors alone' awk -v g="$(grep -oP ' gradients +\K[0-9.]+' <<<"$plan")" 'BEGIN { exit !(g > 0 && g < 5) }'
    planned_and_measured 't5, lora, zero 3' --set train.method=lora --set memory.zero=3
    planned_and_measured 't5, freeze, zero 0' --set train.method=freeze --set train.freeze=top-1
    planned_and_measured 't5, freeze, zero 2' --set train.method=freeze --set train.freeze=top-1 --set memory.zero=2
    planned_and_measured 't5, kl, zero 0' --set train.kl=0.5
    planned_and_measured 't5, l2, zero 1' --set train.l2=1 --set memory.zero=1
fi

# --- A sweep: a line for each run; what the controls cost and what can be shown; control text is not learnt ---
sed -e 's/^data: \[/data: [{name: text, format: text, path: world\/neutral.txt, use: control, holdout: 0.5}, /' -e 's/^output:.*/output: controlled/' job.yaml >controlled.yaml
echo 'evaluate: [{metric: stereoset, protocol: likelihood, data: tests}, {metric: perplexity, data: text}, {controls: [placebo, neutral]}]' >>controlled.yaml
sed -i 's/^data: \[/&{name: tests, format: stereoset, path: world\/stereoset.json, use: evaluate}, /' controlled.yaml
run "$EVENHAND_BIN/evenhand" run controlled.yaml -n 1 --step tokenize
run "$EVENHAND_BIN/evenhand" plan controlled.yaml -n 1
batch=$(grep -oP '[0-9]+ tokens and [0-9]+ labels' <<<"$pairs_alone")
check 'control text is not learnt' test -n "$batch" -a "$batch" = "$(grep -oP '[0-9]+ tokens and [0-9]+ labels' <<<"$out")"
echo 'sweep: {train.lr: [1.0e-3, 1.0e-4]}' >>controlled.yaml
run "$EVENHAND_BIN/evenhand" plan controlled.yaml -n 1
check 'a sweep: exit 0' equal "$code" 0
check 'a sweep: a line for each run' equal "$(grep -c 'train.lr 1.0e-' <<<"$out")" 2
check 'a sweep: the controls' has "$out" 'controls: placebo, neutral: 2 trainings more'
check 'a sweep: what can be shown' has "$out" 'change of SS found in 4 of 5 runs'

# --- Evaluations: the plan's line is the one that evaluate prints, and its peak is near ---
models=('bloom {vocab_size: 20000, hidden_size: 320, n_layer: 3, n_head: 5}' 't5 {vocab_size: 20000, d_model: 320, d_kv: 64, d_ff: 640, num_heads: 5, num_layers: 3, feed_forward_proj: gated-gelu}')
metrics=('{metric: stereoset, protocol: likelihood, limit: 40}' '{metric: capability, protocol: degeneration, data: text, samples: 16, max_new_tokens: 24, limit: 2}')
seconds_told() { grep -oP 'tokens read.*: about \K[0-9.e-]+(?= s)' <<<"$out"; }
for model in "${models[@]}"; do
    for metric in "${metrics[@]}"; do
        for precision in fp32 bf16; do
            [ "$precision ${model%% *}" != 'bf16 t5' ] || continue
            cat >measured.yaml <<YAML
output: measured
model: {architecture: ${model%% *}, tokenizer: world/tokenizer.json, config: ${model#* }}
data: [{name: tests, format: stereoset, path: world/stereoset.json}, {name: text, format: text, path: world/neutral.txt, use: evaluate}]
evaluate: [$metric]
precision: $precision
device: cpu
batch_tokens: 512
YAML
            what="${model%% *}, ${metric:9:10}, $precision"
            rm -rf measured
            run "$EVENHAND_BIN/evenhand-tokenize" measured.yaml
            run "$EVENHAND_BIN/evenhand" plan measured.yaml -n 1
            planned=$(grep -oP 'on (tests|text): \Kweights.*MiB(?=;)' <<<"$out")
            check "$what: its time is foretold" awk -v t="$(seconds_told)" 'BEGIN { exit !(t > 0) }'
            run "$EVENHAND_BIN/evenhand-evaluate" measured.yaml
            told=$(grep -oP 'memory of a rank for .*: \Kweights.*MiB(?=;)' <<<"$err")
            # A model from random weights holds them in fp32 too, which the plan, of a model from a folder, does not.
            check "$what: the plan's line is evaluate's" equal "${planned#*, }" "${told#*, }"
            measured=$(grep -oP 'peak memory: \K[0-9.]+' <<<"$err") predicted=$(grep -oP 'rank, predicted \K[0-9.]+' <<<"$err")
            echo "$what: predicted $predicted MiB, measured $measured MiB ($told)"
            [ -n "${EVENHAND_SANITIZED:-}" ] || check "$what: within 5 %" awk -v p="$predicted" -v m="$measured" 'BEGIN { exit !(m > 0 && p > 0.95 * m && p < 1.05 * m) }'
        done
    done
done

# --- The time of an evaluation goes with its items, and with the ranks ---
sed -i 's/^evaluate:.*/evaluate: [{metric: stereoset, protocol: likelihood, limit: 20}]/' measured.yaml
run "$EVENHAND_BIN/evenhand-tokenize" measured.yaml
run "$EVENHAND_BIN/evenhand" plan measured.yaml --gpu h100 -n 1
twenty=$(seconds_told)
sed -i 's/limit: 20/limit: 40/' measured.yaml
run "$EVENHAND_BIN/evenhand" plan measured.yaml --gpu h100 -n 1
forty=$(seconds_told)
run "$EVENHAND_BIN/evenhand" plan measured.yaml --gpu h100 -n 2
check "20 items $twenty s, 40 items $forty s, on two ranks $(seconds_told) s" awk -v a="$twenty" -v b="$forty" -v c="$(seconds_told)" '
    BEGIN { exit !(a > 0 && b > 1.8 * a && b < 2.2 * a && c > 0.49 * b && c < 0.51 * b) }'

run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu t4 -n 1
check 'a t4 computes in fp32 if told so' has "$out" 'products in fp32'
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu t4 -n 1 --set precision=auto
check 'and else in fp16' has "$out" 'products in fp16'
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu t4 -n 1 --set 'model.config={vocab_size: 250880, hidden_size: 4096, n_layer: 30, n_head: 32}'
check 'what bounds a step' has "$out" 'by its roofline:'
check 'what does not fit is said' has "$out" 'IT DOES NOT FIT'
check 'bloom-7b1 has its published size' has "$out" '7069016064 weights'
check 'with how many ranks it would fit' has "$out" 'no settings fit 1 rank; '
run "$EVENHAND_BIN/evenhand" plan "$EVENHAND_SOURCE/jobs/sizes.yaml" --gpu h100 -n 64
check 'a table of all sizes: bloom' has "$out" '| bloom, hidden size 14336 | 176.25B |'
check 'flan-t5-xxl' has "$out" '| t5, hidden size 4096 | 11.14B |'
check 'nine rows' equal "$(grep -c '^| [bt].*B |' <<<"$out")" 9
run "$EVENHAND_BIN/evenhand" plan job.yaml --gpu tpu
check 'an unknown device' equal "$code" 2
finish
