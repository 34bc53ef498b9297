#!/usr/bin/env bash
# jobs/crows-tiny.yaml on a part of the real data, from start to page; then input as users get it wrong.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
evenhand=$EVENHAND_BIN/evenhand
data=$EVENHAND_SHARED/datasets tokenizer=$EVENHAND_SHARED/oracle/fixtures/models/bloom-a
[ -e "$data/crows_pairs/crows_pairs_anonymized.csv" ] && [ -e "$tokenizer/tokenizer.json" ] ||
    { echo 'SKIPPED TEST: the real data sets are not here'; exit 0; }
cd "$work"
places=(--set "data.crows.path=$data/crows_pairs/crows_pairs_anonymized.csv" --set "data.stereoset.path=$data/stereoset/dev.json"
    --set "model.tokenizer=$tokenizer" --set report.replicates=200)
job=$EVENHAND_SOURCE/jobs/crows-tiny.yaml
small=(--set data.crows.limit=120 --set data.stereoset.limit=60 --set data.crows.holdout=0.2 --set train.epochs=1)

run "$evenhand" run "$job" -n 2 --set output=out "${places[@]}" "${small[@]}"
check "the whole way: $err" equal "$code" 0
for result in shards/crows-00000-of-00001.h5 scores-before.h5 model/config.json model/model.safetensors metrics.csv scores-after.h5 \
    tables/table1.csv tables/table1.md tables/table1.tex report.html resolved.yaml costs.csv; do
    check "$result" test -s "out/$result"
done
check 'the page says what the steps cost' grep -q '<td[^>]*data-label="step"[^>]*>finetune</td>' out/report.html
# Columns of costs.csv behind the step's name: weights, ranks, seconds, foretold, memory, foretold.
costs=$(grep -oP '(^|,)finetune,\K.*' out/tables/costs.csv)
check "and what was foretold of the training: $costs" awk -F, 'NR == 1 { for (i = NF - 3; i <= NF; i++) bad += !($i > 0) } END { exit NR != 1 || NF < 5 || bad }' <<<"$costs"
check 'the page is whole' has "$(tail -c 200 out/report.html)" '</html>'
check 'no file is half written' equal "$(find out -name '*.part*' | wc -l)" 0
run "$evenhand" run "$job" -n 1 --set output=out "${places[@]}" "${small[@]}"
check 'all up to date, on any number of ranks' equal "$(grep -c 'up to date' <<<"$err")" 5
run "$evenhand" inspect out/scores-after.h5
check 'scores can be looked at' has "$out" 'stereoset'

# --- The way of a training ---
run "$evenhand" run "$job" -n 2 --set output=way "${places[@]}" "${small[@]}" --set train.keep_every=2
check "models on the way: $err" equal "$code" 0
check 'the model of step 2' test -s way/step-2/model/model.safetensors
run mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 2 "$EVENHAND_BIN/evenhand-evaluate" way/resolved.yaml --phase step-2
check "it is measured: $err" equal "$code" 0
run "$EVENHAND_BIN/evenhand-report" way/resolved.yaml
check "and reported: $err" equal "$code" 0
check 'between before and after' equal "$(cut -d, -f2 way/tables/trajectory.csv | tr '\n' ' ')" 'phase before step-2 after '
check 'the result is that of a training without' cmp -s way/model/model.safetensors out/model/model.safetensors

# --- What users get wrong ---
wrong() { # NAME WORDS options...: exit 2, one message with these words, no result of the step
    local name=$1 words=$2
    shift 2
    rm -rf bad
    run "$evenhand" run "$job" -n 2 --set output=bad "${places[@]}" "${small[@]}" "$@"
    check "$name: exit code ($err)" equal "$code" 2
    check "$name: message" has "$err" "$words"
    check "$name: said once" equal "$(grep -cF "$words" <<<"$err")" 1
    check "$name: nothing half written" equal "$(find bad -name '*.part*' 2>/dev/null | wc -l)" 0
    check "$name: no stamp" test ! -e bad/stamps/tokenize
}
head -c 3000 "$data/stereoset/dev.json" >cut.json
wrong 'a truncated JSON file' 'cut.json' --set data.stereoset.path=cut.json
wrong 'a missing file' "nothing.csv: No such file" --set data.crows.path=nothing.csv
echo '{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}}' >tokenizer.json
wrong 'a tokenizer of an unsupported kind' 'WordLevel' --set model.tokenizer=tokenizer.json
{ head -5 "$data/crows_pairs/crows_pairs_anonymized.csv"; echo '9,only,three'; } >short.csv
run "$evenhand" run "$job" -n 2 --set output=short "${places[@]}" "${small[@]}" --set data.crows.path=short.csv --step tokenize
check "a row with too few columns is no end: $err" equal "$code" 0
check 'it is counted' has "$err" '1 rejected'
check 'and listed' test -s short/shards/crows-rejected.csv
finish
