#!/usr/bin/env bash
# results/README.md says what the tables beside it say.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
tool=$EVENHAND_SOURCE/tests/report/results_tables.py
run python3 "$tool" "$EVENHAND_SOURCE/results/README.md"
check "as measured: $out $err" equal "$code" 0
echo "$out"

# --- The check notices what is wrong ---
cp -r "$EVENHAND_SOURCE/results" "$work/results" && cd "$work/results" || exit 1
echo 'The bias fell by 12345.678 nats.' >>README.md
run python3 "$tool" README.md
check 'a number that nobody measured' equal "$code" 1
check 'is named' has "$out" '12345.678: in no table'
cp "$EVENHAND_SOURCE/results/README.md" . && sed -i -E '/^<!-- table/,/^<!-- end/ s/^(\| [^|]+\| *[-+]?[0-9]+\.[0-9]*)[0-9]/\1x/' README.md
run python3 "$tool" README.md
check 'a table that is not the CSV file' equal "$code" 1
finish
