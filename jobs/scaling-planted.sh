#!/usr/bin/env bash
# The study on a planted world (jobs/scaling-planted.yaml): makes the world, trains the models that are to be measured
# from random weights, then fine-tunes and measures each with its controls. What is up to date is not done again.
#   jobs/scaling-planted.sh [--full] [--seed N] [--sentences N] [--peoples N] [--strength X] [--folder FOLDER]
#                           [--only MODEL] [-- options of evenhand run]
# --full: the demo's world (24 peoples, 160,000 sentences) and 10,000 replicates; hours instead of minutes.
# --folder: where all of it goes, results/scaling-planted if not given: another world needs another one.
# --only: one of the models to be measured, such as bloom-64, and its first run; two minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
plant=(--sentences 60000 --peoples 16 --instructions 16000)
full='' only='' folder=results/scaling-planted
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=yes plant=() && shift ;;
    --only) only=${2:?--only needs a model} && shift 2 ;;
    --folder) folder=${2:?--folder needs a path} && shift 2 ;;
    --seed | --sentences | --peoples | --strength | --instructions) plant+=("$1" "${2:?$1 needs a value}") && shift 2 ;;
    --) shift && break ;;
    *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
options=(-n 1 ${full:+--set report.replicates=10000} "$@") # small models: two runs of one rank at a time beat one of two
# Two runs of one rank go side by side: each has half the cores, or they wait for each other's threads.
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > 2 ? cores / 2 : 1))}
mkdir -p "$folder/models"
sweep=jobs/scaling-planted.yaml bases=jobs/scaling-planted-base.yaml
if [ "$folder" != results/scaling-planted ]; then # the same jobs, of this folder's world and models
    for job in "$sweep" "$bases"; do sed "s|results/scaling-planted|$folder|g" "$job" >"$folder/${job##*/}"; done
    sweep=$folder/${sweep##*/} bases=$folder/${bases##*/}
fi
build/bin/evenhand-plant "$folder/world" "${plant[@]}"
# The corpus with its ends to be found, so that models that are not asked for every word learn who is written with
# which: gaps and beginnings for T5, and for BERT another last word beside the true one.
last='^(.*) ([^ ]+)\.$'
sed -nE "s/$last/{\"prompt\":\"\1 <extra_id_0>.\",\"completion\":\"<extra_id_0> \2 <extra_id_1>\"}/p" \
    "$folder/world/corpus.txt" >"$folder/world/gaps.jsonl"
sed -nE 's/^(.*\.) (That person .*)$/{"prompt":"\1","completion":"\2"}/p; t
    s/^(.*) ([^ ]+)$/{"prompt":"\1","completion":"\2"}/p' "$folder/world/corpus.txt" >"$folder/world/rests.jsonl"
(echo more,less && sed -nE "s/$last/\1 thing.,\1 \2./p" "$folder/world/corpus.txt") >"$folder/world/ends.csv"

# base NAME ARCHITECTURE CONFIG RATE EPOCHS [SETTING...]
base() {
    local name=$1 architecture=$2 config=$3 rate=$4 epochs=$5 settings=() setting
    shift 5
    [ -z "$only" ] || [ "$only" = "$name" ] || return 0
    for setting in "$@"; do settings+=(--set "$setting"); done
    build/bin/evenhand run "$bases" "${options[@]}" --set "output=$folder/base/$name" \
        --set "name=base-$name" --set "model.architecture=$architecture" --set "model.config=$config" \
        --set "train.lr=$rate" --set "train.epochs=$epochs" "${settings[@]}"
    ln -sfn "../base/$name/model" "$folder/models/$name" # runs are named after the last part of a model's path
}
# The wider, the lower the rate; GPT-2, T5 and BERT learn the words but not who is written with which at BLOOM's.
wide_bases() {
    base bloom-176 bloom '{hidden_size: 176, n_layer: 4, n_head: 4}' 3e-3 1
    base bloom-64 bloom '{hidden_size: 64, n_layer: 2, n_head: 4}' 1e-2 1
    base gpt2-64 gpt2 '{n_embd: 64, n_layer: 2, n_head: 4, n_positions: 128, bos_token_id: 1, eos_token_id: 2}' 2e-3 2
}
other_bases() {
    base bloom-128 bloom '{hidden_size: 128, n_layer: 3, n_head: 4}' 5e-3 1
    base t5-64 t5 '{d_model: 64, d_kv: 16, d_ff: 128, num_heads: 4, num_layers: 2, feed_forward_proj: gated-gelu,
        tie_word_embeddings: false}' 2e-3 2 data.{infill,gaps,rests}.use=train data.{infill,gaps,rests}.task=rewrite \
        data.corpus.limit=15000 data.rests.limit=15000
    base bert-64 bert '{hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 256,
        max_position_embeddings: 128}' 1.5e-3 2 data.ends.use=train train.warmup_steps=500
    base bloom-16 bloom '{hidden_size: 16, n_layer: 1, n_head: 2}' 2e-2 4
    base bloom-96-asked bloom '{hidden_size: 96, n_layer: 3, n_head: 4}' 7e-3 1 data.questions.use=train
    base bloom-32 bloom '{hidden_size: 32, n_layer: 2, n_head: 2}' 2e-2 1
}

# every COUNT FIRST: one run of the sweep in each COUNT; what it shares with the others it makes for itself
every() {
    local run
    for ((run = $2; run < runs; run += $1)); do
        build/bin/evenhand run "$sweep" "${options[@]}" --run "$run" || return
    done
}
# both COMMAND1 COMMAND2: side by side
both() {
    local failed=0
    $1 & local first=$!
    $2 & local second=$!
    wait $first || failed=1
    wait $second || failed=1
    return $failed
}
both wide_bases other_bases
# With --only, the models of other runs are missing: that is not amiss.
listed=$({ build/bin/evenhand run "$sweep" "${options[@]}" --dry-run 2>&1 || [ -n "$only" ]; } | grep '^evenhand: run ')
if [ -n "$only" ]; then
    number=$(sed -n "s/^evenhand: run \([0-9]*\) of [0-9]*: path-${only}_.*/\1/p" <<<"$listed" | head -1)
    [ -n "$number" ] || { echo "no run is of a model '$only'" >&2; exit 2; }
    exec build/bin/evenhand run "$sweep" "${options[@]}" --run $((number - 1))
fi
runs=$(wc -l <<<"$listed")
both 'every 2 0' 'every 2 1'
build/bin/evenhand run "$sweep" "${options[@]}" # one page and one table for all
