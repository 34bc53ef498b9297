#!/usr/bin/env bash
# Of several ranks that fail alike inside a phase, one speaks, all end within seconds, and mpirun hands on the exit code.
set -euo pipefail
began=$SECONDS code=0
message=$(mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 4 "$EVENHAND_TESTS/comm_mpi_test_comm" abort 2>&1) || code=$?
[ "$code" = 2 ] || { echo "exit code $code, expected 2"; exit 1; }
[ "$message" = "evenhand: rank 1: the file is torn" ] || { echo "said: $message"; exit 1; }
[ $((SECONDS - began)) -le 5 ] || { echo "took $((SECONDS - began)) s"; exit 1; }
