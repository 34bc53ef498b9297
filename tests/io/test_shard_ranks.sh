#!/usr/bin/env bash
# The shards of the same examples are the same bytes whether 1, 2, 3 or 5 ranks write them.
set -euo pipefail
program=$EVENHAND_TESTS/io_mpi_test_shard
export EVENHAND_DIGESTS=1
expected=$("$program" | grep '^DIGEST' || true)
[ "$(wc -l <<<"$expected")" -ge 4 ] || { echo "only these files: $expected"; exit 1; }
for ranks in 2 3 5; do
    found=$(mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n $ranks "$program" | grep '^DIGEST')
    [ "$found" = "$expected" ] || { diff <(echo "$expected") <(echo "$found"); echo "$ranks ranks differ"; exit 1; }
done
