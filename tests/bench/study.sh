#!/usr/bin/env bash
# What slurm/SCALING.md says: messages timed inside a node and between two hosts (network namespaces: needs root), scaling
# measured on 1 and 2 ranks, and the step times of 1,024 ranks that follow.   usage: tests/bench/study.sh [ROUNDS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
source "$here/../support/two_hosts.sh"
trap 'eval "$hosts_end"; rm -rf "$work"' EXIT
exchange=$here/../../build/default/tests/bench_exchange
mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 2 "$exchange" node >"$work/figures"
make_hosts
two_hosts "$exchange" tcp >>"$work/figures"
if [ -n "${SCALING_FIGURES:-}" ]; then cat "$SCALING_FIGURES"; else "$here/scaling.sh" "${1:-3}"; fi >>"$work/figures" # of an earlier run
python3 "$here/scaling_study.py" "$work/figures"
