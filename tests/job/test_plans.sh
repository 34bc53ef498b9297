#!/usr/bin/env bash
# Every job file of jobs/ can be planned before anything is downloaded or run, and without network: published models by
# their shapes, models that another job makes by a config in their place.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
evenhand=$EVENHAND_BIN/evenhand
"$EVENHAND_BIN/evenhand-plant" results/demo-world --sentences 50 --instructions 50 >/dev/null 2>&1 || exit 1
mkdir -p results/scaling-planted && ln -s ../demo-world results/scaling-planted/world
own=$(grep -ohP 'results/[\w./-]+(?=[,\]}])' "$EVENHAND_SOURCE"/jobs/*.yaml | grep -P '/models?(/|$)' | sort -u)
check 'models that other jobs make' test "$(wc -l <<<"$own")" -ge 8
for folder in $own; do
    mkdir -p "$folder"
    kind=bloom
    [[ $folder == */gpt2* ]] && kind=gpt2
    echo '{"model_type": "'$kind'", "vocab_size": 700, "hidden_size": 16, "n_layer": 1, "n_head": 2}' >"$folder/config.json"
done
jobs=("$EVENHAND_SOURCE"/jobs/*.yaml "$EVENHAND_SOURCE"/jobs/*/*.yaml)
check 'job files' test ${#jobs[@]} -ge 14
for job in "${jobs[@]}"; do
    run unshare --net "$evenhand" plan "$job" --gpu h100 -n 8
    [ "$code" -eq 0 ] || run "$evenhand" plan "$job" --gpu h100 -n 8 # where namespaces are not allowed
    check "${job##*/jobs/}: $err" equal "$code" 0
    check "${job##*/jobs/} says how long" has "$out" "$([[ $out == *'| run |'* ]] && echo hours || echo 'min in all')"
done

# --- The shapes are those that the publishers' weights have ---
weights() { # NAME: their number, planned without the model
    run "$evenhand" plan "$EVENHAND_SOURCE/jobs/study-2023/bloomz-560m.yaml" --gpu h100 -n 8 --set "model.path=models/$1" \
        --set 'evaluate=[]'
    grep -oP '\d+(?= weights;)' <<<"$out"
}
check 'bloomz-560m' equal "$(weights bloomz-560m)" 559214592
check 'bloomz-7b1' equal "$(weights bloomz-7b1)" 7069016064
check 'flan-t5-small' equal "$(weights flan-t5-small)" 76961152
check 'flan-t5-xxl' equal "$(weights flan-t5-xxl)" 11135332352
check 'gpt2' equal "$(weights gpt2)" 124439808
check 'gpt2-xl' equal "$(weights gpt2-xl)" 1557611200
check 'it says so' has "$out" 'not downloaded yet'
run "$evenhand" plan "$EVENHAND_SOURCE/jobs/study-2023/bloomz-560m.yaml" --gpu h100 -n 8
check 'a classifier that is not there yet is told, too' has "$out" 'its classifier, which is not here yet'
run "$evenhand" plan "$EVENHAND_SOURCE/jobs/study-2023/bloomz-560m.yaml" --gpu h100 --set model.path=models/mine
check 'a model that nobody published' equal "$code" 2
check 'is missed' has "$err" 'models/mine/config.json'
run "$evenhand" plan "$EVENHAND_SOURCE/jobs/study-2023/bloomz-560m.yaml" --gpu h100 -n 8 --set model.path=results/scaling-planted/models/bloom-64
check 'a config that is there goes before a shape' has_not "$out" 'not downloaded yet'
finish
