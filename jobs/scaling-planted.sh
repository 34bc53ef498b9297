#!/usr/bin/env bash
# The study on a planted world (jobs/scaling-planted.yaml): makes the world, trains the models that are to be measured
# from random weights, then fine-tunes and measures each with its controls. What is up to date is not done again.
#   jobs/scaling-planted.sh [--seed N] [--sentences N] [--peoples N] [--strength X] [-- options of evenhand run]
set -euo pipefail
cd "$(dirname "$0")/.."
plant=()
while [ $# -gt 0 ]; do
    case $1 in
    --seed | --sentences | --peoples | --strength) plant+=("$1" "${2:?$1 needs a value}") && shift 2 ;;
    --) shift && break ;;
    *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
    esac
done
folder=results/scaling-planted
mkdir -p "$folder/models"
build/bin/evenhand-plant "$folder/world" "${plant[@]}"

# base NAME ARCHITECTURE CONFIG
base() {
    build/bin/evenhand run jobs/scaling-planted-base.yaml "${options[@]}" --set "output=$folder/base/$1" \
        --set "name=base-$1" --set "model.architecture=$2" --set "model.config=$3"
    ln -sfn "../base/$1/model" "$folder/models/$1" # runs are named after the last part of a model's path
}
options=("$@")
base bloom-16 bloom '{hidden_size: 16, n_layer: 1, n_head: 2}'
base bloom-32 bloom '{hidden_size: 32, n_layer: 2, n_head: 2}'
base bloom-64 bloom '{hidden_size: 64, n_layer: 2, n_head: 4}'
base bloom-128 bloom '{hidden_size: 128, n_layer: 3, n_head: 4}'
base gpt2-64 gpt2 '{n_embd: 64, n_layer: 2, n_head: 4, n_positions: 64, bos_token_id: 1, eos_token_id: 2}'
build/bin/evenhand run jobs/scaling-planted.yaml "${options[@]}"
