#!/usr/bin/env bash
# Two hosts: two network namespaces with addresses and host names of their own, one rank in each, started by Open MPI's
# own launcher with an agent in place of ssh. Training and evaluation across them give the bits of one host.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
export OMP_NUM_THREADS=1
[ "$(id -u)" -eq 0 ] || { echo 'SKIPPED TEST: network namespaces need root'; exit 0; }
source "$EVENHAND_SOURCE/tests/support/two_hosts.sh"
on_exit+=("$hosts_end")
make_hosts >"$work/hosts" 2>&1 || { cat "$work/hosts"; echo 'SKIPPED TEST: this container may not make network namespaces'; exit 0; }
cd "$work"
run two_hosts bash -c 'hostname; ip -4 -o addr show scope global'
check 'two hosts: names and addresses of their own' equal "$(grep -oE '^first$|^second$|10.213.77.[12]/' <<<"$out" | sort)" \
    "$(printf '%s\n' 10.213.77.1/ 10.213.77.2/ first second)"

"$EVENHAND_BIN/evenhand-plant" world --sentences 120 >/dev/null 2>&1
cat >job.yaml <<'YAML'
output: one
device: cpu
precision: fp32
model: {architecture: bloom, config: {hidden_size: 32, n_layer: 2, n_head: 4}, tokenizer: world/tokenizer.json}
data:
  - {name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.1}
  - {name: pairs, format: crows-pairs, path: world/pairs.csv, use: both, task: gap-fill}
train: {epochs: 1, batch: 16, micro_batches: 4, lr: 2.0e-3, max_steps: 5}
evaluate: [{metric: crows-pairs, data: pairs, limit: 40}]
YAML
"$EVENHAND_BIN/evenhand-tokenize" job.yaml >log 2>&1 || { cat log; exit 1; }
weights() { sha256sum <"$1/model/model.safetensors" || echo "none in $1"; } # what is missing is like nothing else
"$EVENHAND_BIN/evenhand-finetune" job.yaml >log 2>&1 || cat log
for level in 0 3; do
    mkdir "two$level"
    cp -r one/shards "two$level/"
    run two_hosts "$EVENHAND_BIN/evenhand-finetune" job.yaml --set "output=two$level" --set "memory.zero=$level"
    check "training across two hosts, zero $level: exit 0" equal "$code" 0
    check "zero $level: the weights of one host" equal "$(weights "two$level")" "$(weights one)"
done
for folder in one two0; do
    launcher=$([ $folder = one ] && echo env || echo two_hosts)
    run "$launcher" "$EVENHAND_BIN/evenhand-evaluate" job.yaml --set "output=$folder" --phase after
    check "evaluation, $folder: exit 0" equal "$code" 0
done
check 'evaluation across two hosts: the rows of one' h5diff one/scores-after.h5 two0/scores-after.h5 /crows-pairs
finish
