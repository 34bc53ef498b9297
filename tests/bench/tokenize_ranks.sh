#!/usr/bin/env bash
# evenhand-tokenize on one and on two ranks, in turn:  tests/bench/tokenize_ranks.sh [MEGABYTES [ROUNDS]]
# Needs $EVENHAND_SHARED (the data sets) and $EVENHAND_PYTHON (the reference library makes the tokenizer.json). Prints wall
# time and the processor's time of each rank; the least of the rounds count. PREFIX goes before mpirun: "chrt -f 1" keeps
# other work on the machine from being measured too.
set -euo pipefail
source_folder=$(cd "$(dirname "$0")/../.." && pwd)
megabytes=${1:-100} rounds=${2:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$EVENHAND_SHARED/oracle/fixtures/models/gpt2-a" "$work/model"
PYTHONPATH=$source_folder/tests/text "$EVENHAND_PYTHON" - "$work/model" <<'PY'
import json, sys
import real_tokenizers
folder = sys.argv[1]
real_tokenizers.gpt2().save(folder + "/tokenizer.json")
config = json.load(open(folder + "/config.json"))
config |= {"vocab_size": 50257, "eos_token_id": 50256, "bos_token_id": 50256, "n_positions": 1024}
json.dump(config, open(folder + "/config.json", "w"))
PY
text=$EVENHAND_SHARED/datasets/corpus/war_and_peace/war_and_peace.txt
for _ in $(seq $((megabytes * 1000000 / $(stat -c %s "$text") + 2))); do grep . "$text"; done >"$work/text"
truncate -s ${megabytes}000000 "$work/text"
cat >"$work/job.yaml" <<YAML
output: $work/out
model: {path: $work/model}
data: [{name: text, format: text, path: $work/text, use: train, task: lm}]
YAML
export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1
for _ in $(seq "$rounds"); do
    for ranks in 1 2; do
        rm -rf "$work/out"
        # shellcheck disable=SC2086
        ${PREFIX:-} mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n $ranks bash -c \
            "TIMEFORMAT='rank %R %U %S'; time $source_folder/build/bin/evenhand-tokenize $work/job.yaml 2>/dev/null" 2>&1 |
            awk -v ranks=$ranks '/^rank/ { if ($2 > wall) wall = $2; cpu = cpu " " $3 + $4 }
                END { printf "%d rank(s): %.2f s; processor%s s\n", ranks, wall, cpu }'
    done
done
