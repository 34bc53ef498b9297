#!/usr/bin/env bash
# Every job file of jobs/ passes the schema, as it stands and resolved.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$EVENHAND_SOURCE"
for job in jobs/*.yaml jobs/*/*.yaml; do
    run "$EVENHAND_BIN/evenhand" status "$job" --set output="$work/none"
    check "$job: $err" equal "$code" 0
done
finish
