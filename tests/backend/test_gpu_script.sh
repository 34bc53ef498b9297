#!/usr/bin/env bash
# tests/gpu.sh where there is no GPU: it says that it did not run, exits 77 and writes nothing. With a stand-in for nvidia-smi
# and nothing built, it says what is missing. In the build with the emulated device it is rehearsed to its end.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
mkdir -p tree/tests bin
cp "$EVENHAND_SOURCE/tests/gpu.sh" tree/tests/
printf '#!/bin/sh\nexit 1\n' >bin/nvidia-smi
chmod +x bin/nvidia-smi
plain=$PWD/bin:/usr/bin:/bin # no nvcc
export CUDA_HOME=/nowhere
PATH=$plain run bash tree/tests/gpu.sh
check 'no GPU: exit 77' equal "$code" 77
check 'it says that it did not run' has "$out" 'NOT RUN: this machine has no GPU'
check 'nothing was written' test ! -e tree/results
printf '#!/bin/sh\necho "NVIDIA T4"\n' >bin/nvidia-smi
PATH=$plain run bash tree/tests/gpu.sh
check 'a GPU and no build: exit 77' equal "$code" 77
check 'what is missing' has "$out" 'neither a build in build/cuda nor nvcc'
check 'nothing was written either' test ! -e tree/results
mkdir -p tree/build/cuda
echo 'EVENHAND_CUDA:STRING=EMULATED' >tree/build/cuda/CMakeCache.txt
PATH=$plain run bash tree/tests/gpu.sh
check 'an emulated device is no GPU: exit 77' equal "$code" 77
check 'it says so' has "$out" 'NOT RUN: build/cuda has an emulated device'
PATH=$plain run bash tree/tests/gpu.sh --rehearse
check 'nothing to rehearse with: exit 77' equal "$code" 77
check 'nothing was written by either' test ! -e tree/results

build=$(dirname "$EVENHAND_TESTS")
if grep -q 'EVENHAND_CUDA:STRING=EMULATED' "$build/CMakeCache.txt"; then
    before=$(ls "$EVENHAND_SOURCE/results")
    rehearse() { run timeout 600 bash "$EVENHAND_SOURCE/tests/gpu.sh" --rehearse --build "$build" "$@"; }
    rehearse
    check 'a rehearsal goes well' equal "$code" 0
    check 'it says what it was' has "$out" 'REHEARSED on an emulated device: no GPU was tested, nothing was measured'
    for part in '| operations: sampling | passed |' 'beside transformers | ' 'memory.zero # to # | passed |' '| cast # x # |' \
        'kernels that bytes bound reach # %' '| # x # | evenhand |' '| # x # | Hugging Face Trainer' '| racecheck: sampling | passed |'; do
        check "a row of its report" has "$out" "$part"
    done
    check 'no figure in its tables' test -z "$(grep -E '^\|.*[0-9]' <<<"$out")"
    check 'nothing failed in it' has_not "$out" FAILED
    check 'nothing is left to do' has_not "$out" 'Not finished'
    # Cut off, it leaves what it knew, and says that it is not all; so does one that has too little time.
    bash "$EVENHAND_SOURCE/tests/gpu.sh" --rehearse --build "$build" >stopped 2>&1 &
    script=$!
    until grep -q '^operations: sampling' stopped || ! kill -0 $script 2>/dev/null; do sleep 0.1; done
    kill -TERM $script
    code=0
    wait $script || code=$?
    out=$(cat stopped)
    check 'stopped: exit 1' equal "$code" 1
    check 'stopped: it has what was passed by then' has "$out" '| operations: sampling | passed | # |'
    check 'what was known' has "$out" '**Not finished**: the script was stopped here'
    rehearse --seconds 0
    check 'no time: exit 1' equal "$code" 1
    check 'no time: it says so of each part' test "$(grep -c 'finished in time' <<<"${out,,}")" -ge 8
    check 'nothing was written' equal "$(ls "$EVENHAND_SOURCE/results")" "$before"
fi
run bash tree/tests/gpu.sh --helpp
check 'an unknown option' equal "$code" 2
finish
