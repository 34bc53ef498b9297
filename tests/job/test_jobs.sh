#!/usr/bin/env bash
# Every job file of jobs/ passes the schema, as it stands and resolved.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$EVENHAND_SOURCE"
for job in jobs/*.yaml jobs/*/*.yaml; do
    run "$EVENHAND_BIN/evenhand" status "$job" --set output="$work/none"
    check "$job: $err" equal "$code" 0
done
# The sweep over the study's mistakes has each of them (PROTOCOL 3.1 to 3.12).
switches=$("$EVENHAND_BIN/evenhand-tokenize" --help | grep -oE 'switches\.[a-z_]+' | sort -u)
check "twelve switches" equal "$(wc -l <<<"$switches")" 12
for switch in $switches; do
    check "ablation: $switch alone" has "$(cat jobs/study-2023/ablation.yaml)" "  - {$switch: ["
done
finish
