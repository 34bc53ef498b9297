#!/usr/bin/env bash
# The front end with stages of pretence (fake_stage.c): order, what is skipped, sweeps, exit codes, Ctrl-C.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
unset OMP_NUM_THREADS

mkdir "$work/bin" "$work/model" "$work/my data"
cp "$EVENHAND_BIN/evenhand" "$work/bin/"
for stage in tokenize finetune evaluate damage report; do cp "$EVENHAND_FAKE_STAGE" "$work/bin/evenhand-$stage"; done
evenhand=$work/bin/evenhand
cd "$work"
echo '{"model_type": "bloom"}' >model/config.json
echo '{}' >model/tokenizer.json
echo 'a,b' >'my data/pairs.csv'
echo 'text' >items.json
cat >job.yaml <<'YAML'
output: out
model: {path: model}
data:
  - {name: pairs, format: pairs, path: my data/pairs.csv}
  - {name: items, format: stereoset, path: items.json}
evaluate: [{metric: stereoset}]
YAML
calls() { sed 's/ .*//' "$1/calls" | paste -sd' '; }
all='tokenize evaluate-before finetune evaluate-after report'

# --- Order, and what is up to date ---
run "$evenhand" run job.yaml -n 2
check 'run succeeds' equal "$code" 0
check 'the steps in order' equal "$(calls out)" "$all"
check 'with two ranks' equal "$(grep -c 'ranks=2' out/calls)" 4
check 'the report with one' has "$(cat out/calls)" 'report ranks=1'
check 'the results are named' has "$err" 'out/report.html'
run "$evenhand" run job.yaml -n 2
check 'nothing is done twice' equal "$(calls out)" "$all"
check 'and it says so' has "$err" 'finetune: up to date'
run "$evenhand" status job.yaml
check 'status: done' equal "$(grep -c ' done$' <<<"$out")" 5
rm out/scores-before.h5
run "$evenhand" run job.yaml
check 'a lost result is made again' equal "$(calls out)" "$all evaluate-before"
: >out/calls
echo 'more' >>'my data/pairs.csv'
run "$evenhand" status job.yaml
check 'status: out of date' has "$out" 'finetune         out of date'
run "$evenhand" run job.yaml
check 'new training data: what depends on it' equal "$(calls out)" 'tokenize finetune evaluate-after report'
: >out/calls
run "$evenhand" run job.yaml --set memory.zero=1 --set checkpoint.minutes=5
check 'the way of computing changes no result' equal "$code $(calls out)" '0 '
run "$evenhand" run job.yaml --set train.lr=0.1
check 'another job is refused' equal "$code" 2
check 'with the key that differs' has "$err" "there 'lr: 3e-05', here 'lr: 0.1'"
check 'one message' equal "$(grep -c 'belongs to' <<<"$err")" 1
check 'nothing was run' equal "$(calls out)" ''
run "$evenhand" run job.yaml --set train.lr=0.1 --force
check 'unless forced' equal "$code $(calls out)" '0 finetune evaluate-after report'
cp out/resolved.yaml again.yaml
run "$evenhand" run again.yaml
check 'resolved.yaml repeats the run' equal "$code $(calls out)" '0 finetune evaluate-after report'
run "$evenhand" run job.yaml --set output=dry --dry-run
check 'a dry run makes nothing' test ! -e dry
run "$evenhand" run job.yaml --set output=some --step tokenize,evaluate-before
check 'some steps only' equal "$(calls some)" 'tokenize evaluate-before'
run "$evenhand" run job.yaml --step tokenise
check 'unknown steps are refused' equal "$code" 2
run "$evenhand" run job.yaml --set output=bare --set data=[] --set evaluate=[]
check 'nothing to do' equal "$code" 0
check 'without data' test ! -e bare/calls

# --- Controls ---
echo 'Rain fell.' >plain.txt
sed -e 's/^evaluate:.*/evaluate: [{metric: stereoset}, {controls: [repeat, reversed, placebo]}]/' \
    -e 's/^output: out/output: controlled/' job.yaml >controls.yaml
run "$evenhand" run controls.yaml -n 2
check 'controls stand between the scores after and the report' equal "$code $(calls controlled)" \
    '0 tokenize evaluate-before finetune evaluate-after evaluate-placebo evaluate-reversed evaluate-repeat report'
check 'each is trained in a folder of its own' equal "$(calls controlled/control-placebo)" 'tokenize finetune'
check 'on pairs in random direction' has "$(cat controlled/control-placebo/resolved.yaml)" 'pair_order: random'
check 'or reversed' has "$(cat controlled/control-reversed/resolved.yaml)" 'pair_order: reversed'
check 'the treatment keeps its direction' has "$(cat controlled/resolved.yaml)" 'pair_order: stereotype'
check 'nothing but the training is in it' equal "$(grep -c 'name: items' controlled/control-placebo/resolved.yaml)" 0
run "$evenhand" run controls.yaml -n 2
check 'controls are not made twice' equal "$(cat controlled/calls controlled/control-*/calls | wc -l)" 12
run "$evenhand" status controls.yaml
check 'status names their steps' equal "$(grep -c ' done$' <<<"$out")" 12
check 'such as' has "$out" 'finetune-placebo done'
rm -r controlled/control-placebo/model
run "$evenhand" status controls.yaml
check 'a lost control' has "$out" 'finetune-placebo out of date'
run "$evenhand" run controls.yaml -n 2 --step finetune-placebo
check 'is made again' equal "$code $(calls controlled/control-placebo)" '0 tokenize finetune finetune'
run "$evenhand" run controls.yaml -n 1 --set train.lr=0.1 --force
check 'controls follow the treatment' has "$(cat controlled/control-reversed/resolved.yaml)" 'lr: 0.1'
run "$evenhand" run controls.yaml -n 1 --set train.lr=0.2 --set output=controlled/again --dry-run
check 'a dry run names them' has "$err" 'finetune-reversed: to do'
run "$evenhand" run controls.yaml -n 1 --set output=all --set data.items.format=text --set data.items.holdout=0.5 \
    --set data.items.use=control --set 'evaluate=[{metric: perplexity},{controls: [neutral, damage]}]' --dry-run
check 'neutral text and damage come after it' has "$(sed -n 's/evenhand: //; s/: .*//p' <<<"$err" | paste -sd' ')" \
    'evaluate-after tokenize-neutral finetune-neutral evaluate-neutral damage evaluate-damage report'
refuse_controls() { # words of the message, options
    run "$evenhand" run controls.yaml --set output=none "${@:2}"
    check "$1: exit code" equal "$code" 2
    check "$1: why" has "$err" "$1"
    check "$1: before anything is made" test ! -e none
}
refuse_controls 'no data set of the job is trained on' --set data.pairs.use=evaluate --set data.pairs.task=none
refuse_controls "format: text, use: control" --set 'evaluate.controls=[neutral]'
refuse_controls 'turn pairs round' --set data.pairs.format=jsonl --set data.pairs.task=lm
refuse_controls 'capability must be measured' --set evaluate.controls=damage
refuse_controls "'evaluate' names no metric" --set 'evaluate=[{controls: [repeat]}]'
refuse_controls "'noise' is not a value of 'evaluate.controls'" --set 'evaluate.controls=[noise]'

# --- Failures ---
for ranks in 1 3; do
    last=$((ranks - 1))
    for how in input:2 machine:3 abort:3; do
        rm -rf bad
        SECONDS=0
        run env FAKE_FAIL="finetune:$last:${how%:*}" "$evenhand" run job.yaml --set output=bad -n $ranks
        check "$how: exit code, $ranks ranks" equal "$code" "${how#*:}"
        check "$how: one message" equal "$(grep -c 'row 7 of the fake data is broken' <<<"$err")" 1
        [ $ranks = 1 ] || check "$how: with the rank" has "$err" "rank $last: row 7"
        check "$how: nothing after it" equal "$(calls bad)" 'tokenize evaluate-before finetune'
        check "$how: within 5 s" test $SECONDS -le 6
    done
done
run "$evenhand" run job.yaml --set output=bad
check 'going on after a failure' equal "$code $(calls bad)" "0 tokenize evaluate-before finetune finetune evaluate-after report"
rm -rf bad
SECONDS=0
run env FAKE_FAIL=finetune:1:kill "$evenhand" run job.yaml --set output=bad -n 3
check 'a killed rank ends all within 5 s' test $SECONDS -le 6
check 'a killed rank: the machine fails' equal "$code" 3
run env PATH=/nowhere "$evenhand" run job.yaml --set output=bad -n 2
check 'no mpirun: exit code' equal "$code" 3
check 'no mpirun: what to do' has "$err" 'openmpi-bin'
run "$evenhand" run job.yaml --set output=/proc/none
check 'an output that cannot be made' equal "$code" 3
run "$evenhand" run job.yaml --set output=lost --set model.path=nowhere
check 'no model' equal "$code" 2
check 'its path' has "$err" 'nowhere'
check 'nothing made' test ! -e lost
run "$evenhand" run job.yaml --set output=lost --set data.pairs.path=nothing.csv
check 'no data' equal "$code" 2
check 'which data set' has "$err" "data set 'pairs': nothing.csv: No such file"
run "$evenhand" run nothing.yaml
check 'no job' equal "$code $err" '2 evenhand: nothing.yaml: No such file or directory'
printf 'model: {path: model}\ntran: {lr: 1}\n' >typo.yaml
run "$evenhand" run typo.yaml
check 'a typo' equal "$code $err" "2 evenhand: typo.yaml:2: unknown key 'tran': did you mean 'train'?"
check 'makes nothing' test ! -e results
run mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 3 "$work/bin/evenhand-tokenize" typo.yaml
check 'a stage says the same once' equal "$code $err" "2 evenhand-tokenize: typo.yaml:2: unknown key 'tran': did you mean 'train'?"
run mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 2 "$work/bin/evenhand-tokenize" --help
check 'help, once' equal "$code $(grep -c '^usage' <<<"$out")" '0 1'
check 'help lists the keys' has "$out" 'train.lr'
run env PATH=/nowhere LD_PRELOAD= "$work/bin/evenhand-report" --version
check 'version, without MPI' has "$out" 'evenhand-report 0.'

# --- A launcher of the user's own ---
run "$evenhand" run job.yaml --set output=own --set 'launcher=mpirun --allow-run-as-root --oversubscribe -q -n 2' --step tokenize
check 'own launcher' has "$(cat own/calls)" 'ranks=2'
run "$evenhand" run job.yaml --set output=own2 --set 'launcher=nosuchlauncher -n 2'
check 'a launcher that is not there' equal "$code" 2

# --- Ctrl-C ---
stop_while_training() { # signal times
    rm -rf stopped
    FAKE_SLEEP=finetune:60 "$evenhand" run job.yaml --set output=stopped -n 2 >/dev/null 2>stopped.err &
    local child=$! i
    for i in $(seq 200); do grep -q waiting stopped.err 2>/dev/null && break; sleep 0.1; done
    SECONDS=0
    kill -"$1" $child
    wait $child
    code=$?
}
for signal in INT TERM USR1; do
    stop_while_training $signal
    check "$signal: stopped after a checkpoint" equal "$code" 75
    check "$signal: soon" test $SECONDS -le 5
    check "$signal: no stamp" test ! -e stopped/stamps/finetune
    check "$signal: nobody is left" equal "$(pgrep -cf "$work/bin/evenhand-finetune")" 0
done

# --- Sweeps ---
cat >sweep.yaml <<'YAML'
output: swept
model: {path: model}
data:
  - {name: pairs, format: pairs, path: my data/pairs.csv, holdout: 0.1}
  - {name: items, format: stereoset, path: items.json}
evaluate: [{metric: stereoset}]
sweep:
  data.pairs.task: [gap-fill, rewrite]
  train.lr: [1e-4, 0.5]
YAML
run "$evenhand" run sweep.yaml -n 1
check 'a sweep' equal "$code" 0
a=swept/task-gap-fill_lr-1e-4 b=swept/task-gap-fill_lr-0.5 c=swept/task-rewrite_lr-1e-4 d=swept/task-rewrite_lr-0.5
check 'the first run does all' equal "$(calls $a)" "$all"
check 'the second shares shards and scores before' equal "$(calls $b)" 'finetune evaluate-after report'
check 'the third has shards of its own' equal "$(calls $c)" 'tokenize finetune evaluate-after report'
check 'the fourth shares with the third' equal "$(readlink $d/shards)" '../task-rewrite_lr-1e-4/shards'
check 'scores before are those of the first' equal "$(cat $d/scores-before.h5)" 'sweep/task-gap-fill_lr-1e-4'
check 'each run its own key' has "$(cat $d/resolved.yaml)" 'lr: 0.5'
check 'one table' equal "$(cat swept/tables/scores.csv)" 'run,data.pairs.task,train.lr,metric,value
task-gap-fill_lr-1e-4,gap-fill,1e-4,"a, b",0.0001
task-gap-fill_lr-0.5,gap-fill,0.5,"a, b",0.5
task-rewrite_lr-1e-4,rewrite,1e-4,"a, b",0.0001
task-rewrite_lr-0.5,rewrite,0.5,"a, b",0.5'
check "a table's own column of runs is not there twice" equal "$(head -3 swept/tables/own.csv)" \
    'run,data.pairs.task,train.lr,metric,null_picker,value
task-gap-fill_lr-1e-4,gap-fill,1e-4,"b, c",,3
task-gap-fill_lr-0.5,gap-fill,0.5,"b, c",,1'
check 'null pickers stay in the tables of the runs' equal "$(wc -l <swept/tables/own.csv) $(cat $b/tables/own.csv | wc -l)" '5 3'
rm -r swept/tables
run "$evenhand" run sweep.yaml -n 1 --step tokenize
check 'no table of all runs before their reports' test "$code" -eq 0 -a ! -e swept/tables
run "$evenhand" run sweep.yaml -n 1
check 'again: nothing to do' equal "$(cat swept/*/calls | wc -l)" 15
check 'again: said' equal "$(grep -c 'up to date' <<<"$err")" 20
rm -rf swept
run env FAKE_FAIL=evaluate-after:0:input "$evenhand" run sweep.yaml -n 1
check 'a failing sweep goes on' equal "$(cat swept/*/calls | grep -c finetune)" 4
check 'and fails in the end' equal "$code" 2
check 'saying which' equal "$(grep -c 'failed with 2' <<<"$err")" 4
check 'and in the table' has "$(cat swept/tables/runs.csv)" 'task-rewrite_lr-0.5,rewrite,0.5,2,'
run "$evenhand" run sweep.yaml -n 1 --run 3
check 'one run of a sweep' equal "$code" 0
run "$evenhand" run sweep.yaml --run 4
check 'there is no fifth' equal "$code" 2
run mpirun --allow-run-as-root -q -n 1 "$work/bin/evenhand-tokenize" sweep.yaml
check 'a stage refuses a sweep' equal "$code $err" \
    "2 evenhand-tokenize: sweep.yaml:8: this job has a sweep, so it is several runs: 'evenhand run' starts each"
sed 's/0.5/high/' sweep.yaml >badsweep.yaml
rm -rf swept
run "$evenhand" run badsweep.yaml
check 'all runs are checked before the first' equal "$code" 2
check 'so that nothing is made' test ! -e swept

finish
