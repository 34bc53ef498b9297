#!/usr/bin/env bash
# jobs/scaling-planted.sh on a world too small to be learnt: each kind of model is made and has its first run with all
# controls.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
for model in bloom-16 gpt2-64 t5-64 bert-64; do
    run bash "$EVENHAND_SOURCE/jobs/scaling-planted.sh" --folder "$work/planted" --sentences 400 --peoples 4 \
        --instructions 60 --only "$model" -- --set report.replicates=100
    check "$model: exit 0" equal "$code" 0
    [ "$code" = 0 ] || tail -5 <<<"$err"
    check "$model: a page" test -n "$(ls "$work/planted"/path-"$model"_*/report.html 2>/dev/null)"
done
finish
