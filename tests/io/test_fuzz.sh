#!/usr/bin/env bash
# A fixed number of fuzzed files for the readers of CSV, JSON and all data formats.
exec bash "$EVENHAND_SOURCE/tests/fuzz/run.sh" 5000
