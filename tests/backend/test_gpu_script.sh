#!/usr/bin/env bash
# tests/gpu.sh where there is no GPU: it says that it did not run, exits 77 and writes nothing. With a stand-in for nvidia-smi
# and nothing built, it says what is missing.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
mkdir -p tree/tests bin
cp "$EVENHAND_SOURCE/tests/gpu.sh" tree/tests/
printf '#!/bin/sh\nexit 1\n' >bin/nvidia-smi
chmod +x bin/nvidia-smi
plain=$PWD/bin:/usr/bin:/bin # no nvcc
PATH=$plain run bash tree/tests/gpu.sh
check 'no GPU: exit 77' equal "$code" 77
check 'it says that it did not run' has "$out" 'NOT RUN: this machine has no GPU'
check 'nothing was written' test ! -e tree/results
printf '#!/bin/sh\necho "NVIDIA T4"\n' >bin/nvidia-smi
PATH=$plain run bash tree/tests/gpu.sh
check 'a GPU and no build: exit 77' equal "$code" 77
check 'what is missing' has "$out" 'neither a build in build/cuda nor nvcc'
check 'nothing was written either' test ! -e tree/results
run bash tree/tests/gpu.sh --helpp
check 'an unknown option' equal "$code" 2
finish
