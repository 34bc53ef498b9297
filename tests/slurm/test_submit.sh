#!/usr/bin/env bash
# `evenhand submit` on a real Slurm that this test starts: the chain of steps on two ranks of two nodes, a stop and a
# requeue in the middle, a sweep as arrays; names and paths with spaces, quotes and percent signs.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
source "$EVENHAND_SOURCE/tests/slurm/cluster.sh"
for program in slurmctld slurmd sbatch munged unshare; do
    command -v $program >/dev/null || [ -x /usr/sbin/$program ] || { echo "SKIPPED TEST: no $program"; exit 0; }
done
[ "$(id -u)" -eq 0 ] || { echo 'SKIPPED TEST: the daemons of a private Slurm must be started by root'; exit 0; }
PATH=$PATH:/usr/sbin
on_exit+=('cluster_down "$work/cluster"')
cluster_up "$work/cluster" >"$work/up" 2>&1 || { cat "$work/up"; echo 'SKIPPED TEST: Slurm does not start in this container'; exit 0; }

mkdir -p "$work/tree/build/bin" "$work/it's a \"job\" 5%d/model"
cp -r "$EVENHAND_SOURCE/slurm" "$work/tree/"
cp "$EVENHAND_BIN/evenhand" "$work/tree/build/bin/"
for stage in tokenize finetune evaluate report; do cp "$EVENHAND_FAKE_STAGE" "$work/tree/build/bin/evenhand-$stage"; done
evenhand=$work/tree/build/bin/evenhand
cd "$work/it's a \"job\" 5%d" || exit 1
echo '{"model_type": "bloom"}' >model/config.json
echo '{}' >model/tokenizer.json
echo 'a,b' >pairs.csv
cat >"my 'job'.yaml" <<'YAML'
output: "out 'put' 7%j"
model: {path: model}
data: [{name: pairs, format: pairs, path: pairs.csv}]
evaluate: [{metric: crows-pairs}]
YAML
output="out 'put' 7%j"
calls() { sed 's/ .*//' "$1/calls" | paste -sd' '; }
id_of() { awk -v step="$2" '$1 == step {print $2}' "$1/slurm/jobs"; }
all='tokenize evaluate-before finetune evaluate-after report'

# --- A chain, stopped and requeued in the middle ---
export FAKE_SLEEP=finetune:8 OMP_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1
run "$evenhand" submit "my 'job'.yaml" --nodes 2 -n 2 --set "name=it's \"mine\"" --time 5
check 'submitted' equal "$code" 0
finetune=$(id_of "$output" finetune) report=$(id_of "$output" report)
check 'five jobs noted' equal "$(wc -l <"$output/slurm/jobs")" 5
await 60 grep -q waiting "$output/slurm/finetune.log" || cat "$output"/slurm/*.log
run "$evenhand" status "my 'job'.yaml" --set "name=it's \"mine\""
check 'status names the Slurm job' has "$out" "Slurm job $finetune (finetune): RUNNING"
scancel -b -s USR1 "$finetune"
check 'stopped and queued again' await 20 job_is "$finetune" PENDING
check 'it says why' grep -q 'a checkpoint was saved' "$output/slurm/finetune.log"
check 'the chain ends' await 90 job_is "$report" COMPLETED
check 'one restart' equal "$(job_field "$finetune" Restarts)" 1
check 'the training began twice' equal "$(calls "$output")" 'tokenize evaluate-before finetune finetune evaluate-after report'
check 'two ranks' equal "$(grep -c 'ranks=2' "$output/calls")" 5
[ "$failed" -eq 0 ] || tail -n 20 "$output"/slurm/*.log

# --- A failure ends the chain ---
export FAKE_SLEEP=none:0
FAKE_FAIL=finetune:0:input run env FAKE_FAIL=finetune:0:input "$evenhand" submit "my 'job'.yaml" --set output=bad -n 1
check 'submitted' equal "$code" 0
check 'the failing step fails' await 60 job_is "$(id_of bad finetune)" FAILED
check 'with its exit code' equal "$(job_field "$(id_of bad finetune)" ExitCode)" 2:0
check 'what depends on it is cancelled' await 20 job_is "$(id_of bad report)" CANCELLED

# --- A sweep ---
cat >sweep.yaml <<'YAML'
output: swept
model: {path: model}
data: [{name: pairs, format: pairs, path: pairs.csv}]
evaluate: [{metric: crows-pairs}]
sweep: {train.lr: [1e-4, 1e-3, 1e-2]}
YAML
run "$evenhand" submit sweep.yaml -n 1
check 'a sweep is submitted' equal "$code" 0
check 'it ends' await 120 job_is "$(id_of swept table)" COMPLETED
check 'shards made once' equal "$(cat swept/*/calls | grep -c tokenize)" 1
check 'three trainings' equal "$(cat swept/*/calls | grep -c finetune)" 3
check 'one table' equal "$(wc -l <swept/tables/scores.csv)" 4
[ "$failed" -eq 0 ] || tail -n 20 swept/slurm/*.log

# --- What is refused ---
run "$evenhand" submit "my 'job'.yaml" --partition nosuch
check 'an unknown partition' equal "$code" 2
check "Slurm's own words" has "$err" 'partition'
run "$evenhand" submit "my 'job'.yaml" --dry-run --set output=dry
check 'a dry run' equal "$code $(grep -c sbatch <<<"$out") $(ls dry 2>&1 | grep -c 'No such')" '0 5 1'
run env PATH=/nowhere "$evenhand" submit "my 'job'.yaml"
check 'no Slurm' equal "$code" 3
finish
