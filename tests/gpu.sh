#!/usr/bin/env bash
# All that only a GPU can tell, in one go of less than ten minutes:  tests/gpu.sh [--build FOLDER] [--short] [--rehearse]
#   --build FOLDER  a build of the preset cuda (build/cuda): made if it isn't there and nvcc is
#   --short         no compute-sanitizer, kernels in one type only
#   --rehearse      on the emulated device of a build of the preset cuda-host (build/cuda-host): tries this script itself, prints
#                   what it would write with each figure as #, and writes nothing; with --short what takes a minute
# Tests every operation and model on the GPU, runs compute-sanitizer (memcheck, racecheck) over the kernels, times each kernel
# against what bounds it (src/job/README.md) and a training step of bloomz-560m's shape beside PyTorch's, and writes
# results/gpu-NAME.md. Without a GPU it says so, runs nothing, writes nothing, and exits 77.
# Exit status: 0 all passed, 1 something failed (the file says what), 77 not run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build='' short=0 rehearse=0
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=${2:?--build takes a folder}; shift ;;
    --short) short=1 ;;
    --rehearse) rehearse=1 ;;
    --help | -h) sed -n '2,11s/^# //p' "$0"; exit 0 ;;
    *) echo "tests/gpu.sh: $1: see --help" >&2; exit 2 ;;
    esac
    shift
done
not_run() { echo "tests/gpu.sh: NOT RUN: $1; nothing was tested or measured, nothing was written"; exit 77; }
emulated() { grep -qs '^EVENHAND_CUDA:[A-Z]*=EMULATED' "$build/CMakeCache.txt"; }

if [ "$rehearse" = 1 ]; then
    build=${build:-build/cuda-host} gpu='emulated device'
    emulated || not_run "a rehearsal needs a build of the preset cuda-host, which $build is not"
    export EVENHAND_GPU_SMALL=1 CUDAEMU_LAZY=1
    nvidia-smi() { # as the real one answers
        case $1 in *compute_cap*) echo 8.0 ;; *driver_version*) echo '0, 0 MiB, 0 MHz' ;; esac
    }
else
    build=${build:-build/cuda}
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1) || gpu=
    [ -n "$gpu" ] || not_run "this machine has no GPU that nvidia-smi knows"
    emulated && not_run "$build has an emulated device (--rehearse tries the script with it)"
fi
if [ ! -x "$build/bin/evenhand-finetune" ]; then
    command -v nvcc >/dev/null || not_run "there is a $gpu, but neither a build in $build nor nvcc to make one"
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
    cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$capability-real" >/dev/null && cmake --build "$build" -j "$(nproc)" || exit 1
fi
[ -x "$build/tests/bench_ops" ] || cmake --build "$build" --target bench_ops >/dev/null || exit 1
build=$(cd "$build" && pwd)

short_name=$(tr '[:upper:]' '[:lower:]' <<<"$gpu" | grep -oE 't4|v100|a100|h100|h200|l4|l40s|a10g?|rtx[ 0-9a-z]*' | head -1 | tr ' ' -)
short_name=${short_name:-$(tr -cd '[:alnum:]' <<<"$gpu" | tr '[:upper:]' '[:lower:]')}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
report=$work/report.md failed=0
shared=$PWD/../shared
[ -d "$shared" ] || shared=$PWD/shared # where the tree was copied to the GPU's machine without its neighbours
export EVENHAND_BIN=$build/bin EVENHAND_SOURCE=$PWD EVENHAND_TESTS=$build/tests
export EVENHAND_SHARED=${EVENHAND_SHARED:-$shared} EVENHAND_TEST_DEVICES=cuda OMP_NUM_THREADS=4
{
    echo "# evenhand on one $gpu"
    echo
    echo "\`tests/gpu.sh\` wrote this on $(date +%F) at $(git describe --always --dirty 2>/dev/null || echo 'an unknown revision')."
    nvidia-smi --query-gpu=driver_version,memory.total,clocks.max.sm --format=csv,noheader |
        awk -F, '{printf "Driver %s, %s of memory, up to %s.\n", $1, $2, $3}'
    echo
    echo '## Tests'
    echo '| what | result | seconds |'
    echo '|---|---|---:|'
} >"$report"

# check NAME SECONDS COMMAND...: a row of the table. A program that skipped, or found no GPU, is not one that passed.
check() {
    local name=$1 most=$2 begin=$SECONDS result=passed code=0
    shift 2
    [ "$rehearse" = 0 ] || most=900
    timeout "$most" "$@" >"$work/log" 2>&1 || code=$?
    if [ "$code" = 77 ] || grep -qE 'not tested here: cuda|SKIPPED TEST' "$work/log"; then result='not run'
    elif [ "$code" = 124 ]; then result="FAILED: more than $most s" failed=1
    elif [ "$code" != 0 ]; then result="FAILED: exit $code" failed=1; fi
    [ "$result" = passed ] || tail -15 "$work/log"
    echo "$name: $result"
    echo "| $name | $result | $((SECONDS - begin)) |" >>"$report"
}
tests=$build/tests
operations=(pointwise product attention output sampling)
[ "$rehearse$short" = 11 ] && operations=(sampling) # the others are tests of that build as it is
for test in "${operations[@]}"; do check "operations: $test" 60 "$tests/backend_test_ops_$test"; done
[ "$rehearse$short" = 11 ] || check 'models: logits, gradients, ten steps beside transformers' 120 "$tests/model_test_oracle_conform"

if [ "$short" = 0 ] && command -v compute-sanitizer >/dev/null; then
    export EVENHAND_CUDA_SLAB_MIB=0 # each buffer of its own, so that memcheck knows its end
    for tool in memcheck racecheck; do
        for test in pointwise attention output sampling; do
            check "compute-sanitizer $tool: $test" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests/backend_test_ops_$test"
        done
    done
    unset EVENHAND_CUDA_SLAB_MIB
elif [ "$short" = 0 ]; then
    echo '| compute-sanitizer | not run: it is not installed | |' >>"$report"
fi

peaks=(); case $short_name in t4 | v100 | a100 | h100) peaks=(-g "$short_name") ;; esac
types=(bf16 fp32)
[ "$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | cut -d. -f1)" -ge 8 ] || types=(fp16 fp32)
[ "$short" = 0 ] || types=("${types[0]}")
chosen=()
[ "$rehearse" = 0 ] || chosen=(-o cast) # the shapes are a GPU's
for type in "${types[@]}"; do
    {
        echo
        echo "## Kernels, $type"
        echo 'Milliseconds of the quickest of some batches of calls. Bound: the longer of bytes / bandwidth and FLOP / peak, by the data sheet.'
        echo
    } >>"$report"
    timeout 90 "$tests/bench_ops" -d cuda -s 0.1 -p "$type" -m "${peaks[@]}" "${chosen[@]}" >>"$report" 2>"$work/log" ||
        { failed=1; echo "FAILED: bench_ops: $(tail -1 "$work/log")" | tee -a "$report"; }
done

{
    echo
    echo '## A training step of bloomz-560m'"'"'s shape beside PyTorch'
    echo
} >>"$report"
timeout 150 bash tests/bench/gpu_step.sh "$short_name" >"$work/step" 2>"$work/log" || { failed=1; echo "FAILED: gpu_step.sh: $(tail -1 "$work/log")" >>"$work/step"; }
cat "$work/step" >>"$report"
if [ "$rehearse" = 1 ]; then
    sed -E '/^(#|`|Driver)/!s/[0-9]+(\.[0-9]+)?/#/g' "$report"
    echo "tests/gpu.sh: REHEARSED on an emulated device: no GPU was tested, nothing was measured, nothing was written"
    exit "$failed"
fi
mkdir -p results
cp "$report" "results/gpu-$short_name.md"
[ -z "${OUT:-}" ] || cp "$report" "$OUT/gpu-$short_name.md"
echo "results/gpu-$short_name.md"
exit "$failed"
