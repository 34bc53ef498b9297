#!/usr/bin/env bash
# `evenhand conform`: passes on the oracle's fixtures, fails on a wrong expected value, and never on nothing.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
fixtures=$EVENHAND_SHARED/oracle/fixtures
[ -d "$fixtures" ] || { echo 'SKIPPED TEST: no oracle fixtures'; exit 0; }
mkdir -p "$work/oracle/models" "$work/oracle/expected"
cp -r "$fixtures/models/bloom-b" "$work/oracle/models/"
cp "$fixtures/expected/bloom-b.h5" "$work/oracle/expected/"

run "$EVENHAND_BIN/evenhand" conform "$work/oracle"
check 'passes' equal "$code" 0
check 'a line for each check' has "$out" 'error/bound'
check 'and the count' equal "$(tail -1 <<<"$out" | grep -cE '^[1-9][0-9]* passed, 0 failed$')" 1
run "$EVENHAND_BIN/evenhand" conform "$work/oracle" --device reference
check 'on the reference too' equal "$code" 0
# One wrong value, written over the bytes of a logit that is in the file once.
python3 - "$work/oracle/models/bloom-b" <<'PY'
import pathlib, sys
path = sorted(pathlib.Path(sys.argv[1]).glob("model*.safetensors"))[0]
data = bytearray(path.read_bytes())
data[-4:] = b"\x00\x00\x00\x42"  # 32.0
path.write_bytes(data)
PY
run "$EVENHAND_BIN/evenhand" conform "$work/oracle"
check 'a weight that is off fails' equal "$code" 1
check 'and is counted' equal "$(tail -1 <<<"$out" | grep -cE '^[0-9]+ passed, [1-9][0-9]* failed$')" 1
# What is strange but bearable is told to whoever runs a job.
python3 - "$work/oracle/models/bloom-b" <<'PY'
import pathlib, sys
path = sorted(pathlib.Path(sys.argv[1]).glob("model*.safetensors"))[0]
data = bytearray(path.read_bytes())
data[-4:] = b"\x00\x00\xc0\x7f"  # NaN
path.write_bytes(data)
PY
cat >"$work/job.yaml" <<YAML
output: $work/out
model: {path: $work/oracle/models/bloom-b}
evaluate: [{metric: capability, protocol: instructions, limit: 3}]
precision: fp32
device: cpu
YAML
run "$EVENHAND_BIN/evenhand-tokenize" "$work/job.yaml"
run "$EVENHAND_BIN/evenhand-evaluate" "$work/job.yaml"
check 'weights that are NaN are warned of' has "$err" 'holds 1 values that are NaN or infinite'
mkdir "$work/empty"
run "$EVENHAND_BIN/evenhand" conform "$work/empty"
check 'nothing to check is no success' test "$code" -ne 0
stereoset=$EVENHAND_SHARED/datasets/stereoset
if [ -d "$stereoset" ]; then
    file=$(grep -lE 'intrasentence' "$stereoset"/predictions/*[gG][pP][tT]2*.json | head -1)
    run "$EVENHAND_BIN/evenhand" conform --stereoset "$stereoset/dev.json" "$file"
    check 'published predictions are scored' equal "$code" 0
    echo "$out"
fi
run "$EVENHAND_BIN/evenhand" conform --stereoset "$stereoset/dev.json"
check 'without predictions' equal "$code" 2
finish
