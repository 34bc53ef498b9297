#!/usr/bin/env bash
# A sweep with every control on two nodes of a real Slurm that this test starts, stopped by a signal and thrown out by the
# scheduler in the middle, ends with the tables of the same sweep that nobody disturbed. Minutes: tests/run.sh --large.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
source "$EVENHAND_SOURCE/tests/slurm/cluster.sh"
[ -n "${EVENHAND_LARGE:-}" ] || { echo 'SKIPPED TEST: takes minutes; tests/run.sh --large'; exit 0; }
for program in slurmctld slurmd sbatch munged unshare; do
    command -v $program >/dev/null || [ -x /usr/sbin/$program ] || { echo "SKIPPED TEST: no $program"; exit 0; }
done
[ "$(id -u)" -eq 0 ] || { echo 'SKIPPED TEST: the daemons of a private Slurm must be started by root'; exit 0; }
PATH=$PATH:/usr/sbin
on_exit+=('cluster_down "$work/cluster"')
cluster_up "$work/cluster" >"$work/up" 2>&1 || { cat "$work/up"; echo 'SKIPPED TEST: Slurm does not start in this container'; exit 0; }

cd "$work" || exit 1
mkdir -p tree/build && cp -r "$EVENHAND_SOURCE/slurm" tree/ && ln -s "$EVENHAND_BIN" tree/build/bin
evenhand=$work/tree/build/bin/evenhand
"$EVENHAND_BIN/evenhand-plant" world --sentences 4000 --peoples 8 --instructions 50 >/dev/null 2>&1
cat >base.yaml <<'YAML'
output: base
model: {architecture: bloom, config: {hidden_size: 32, n_layer: 2, n_head: 2}, tokenizer: world/tokenizer.json}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.01}]
train: {epochs: 1, batch: 32, micro_batches: 2, lr: 1.0e-2}
precision: fp32
YAML
cat >sweep.yaml <<'YAML'
name: swept
output: quiet
model: {path: base/model}
data:
  - {name: pairs, format: crows-pairs, path: world/pairs.csv, use: both, task: preferred, holdout: 0.1}
  - {name: tests, format: stereoset, path: world/stereoset.json}
  - {name: neutral, format: text, path: world/neutral.txt, use: control, holdout: 0.5}
train: {epochs: 200, batch: 20, micro_batches: 2, lr: 1.0e-4}
precision: fp32
evaluate:
  - {metric: stereoset, protocol: likelihood}
  - {metric: perplexity, data: neutral}
  - {controls: [placebo, reversed, neutral, damage, repeat]}
switches: {split: row}
report: {replicates: 200}
sweep: {seed: [1, 2]}
YAML
run "$evenhand" run base.yaml -n 2
check "a base: $err" equal "$code" 0
run "$evenhand" run sweep.yaml -n 2
check "the sweep, undisturbed: $err" equal "$code" 0

# --- The same through Slurm ---
export OMP_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1
run "$evenhand" submit sweep.yaml --set output=disturbed --nodes 2 -n 2 --time 20
check "submitted: $err" equal "$code" 0
id_of() { awk -v step="$1" '$1 == step {print $2}' disturbed/slurm/jobs; }
# stopped by a signal: it saves a checkpoint, ends with 75 and is queued again
await 120 test -s disturbed/seed-1/metrics.csv
scancel -b -s USR1 "$(id_of finetune)_0"
check 'a training was stopped and saved' await 30 grep -q 'a checkpoint was saved' disturbed/slurm/finetune-0.log
# thrown out by the scheduler, as when a node is drained: no time to save
await 120 test -s disturbed/seed-2/metrics.csv
scontrol requeue "$(id_of finetune)_1"
# and a control in its middle
await 180 test -s disturbed/seed-1/control-reversed/metrics.csv
scontrol requeue "$(id_of finetune-reversed)_0"
check 'the chain ends' await 600 job_is "$(id_of table)" COMPLETED
restarts=0
for task in "$(id_of finetune)_0" "$(id_of finetune)_1" "$(id_of finetune-reversed)_0"; do
    restarts=$((restarts + $(job_field "$task" Restarts)))
done
check 'restarted at least twice' test "$restarts" -ge 2
echo "restarts: $restarts"
squeue -h -o '%i %j %T' | head
[ "$failed" -eq 0 ] || tail -n 5 disturbed/slurm/*.log

# --- The same tables, byte for byte ---
for folder in . seed-1 seed-2; do
    check "tables of $folder" diff -r "quiet/$folder/tables" "disturbed/$folder/tables"
done
check 'as many tables as there should be' test "$(ls quiet/tables/*.csv | wc -l)" -ge 5
check 'the same weights' cmp quiet/seed-1/model/model.safetensors disturbed/seed-1/model/model.safetensors
check 'and of the control' cmp quiet/seed-1/control-reversed/model/model.safetensors \
    disturbed/seed-1/control-reversed/model/model.safetensors
finish
