#!/usr/bin/env bash
# Everything from a fresh machine to tested programs:  tests/run.sh [--large] [--asan] [ctest options]
#   --large   also the tests that need minutes or gigabytes
#   --cuda-host  build the CUDA backend on an emulated device (build/cuda-host) and run the tests that take a device
#   --cuda    compile with nvcc for every generation of GPUs (build/cuda) and start the programs without a GPU; where there is
#             no nvcc it says that it did not run
#   --asan    build with AddressSanitizer and UBSan (build/asan) and run the tests of the parts with them
# Ends with ctest's own summary; its exit code is ctest's.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=default
select=()
while [ $# -gt 0 ]; do
    case $1 in
    --large) export EVENHAND_LARGE=1 ;;
    --cuda-host) preset=cuda-host select=(-R '^(backend|model|cuda_host)\.') ;;
    --cuda) preset=cuda select=(-R '^cuda_host\.(without_gpu|registers)') ;;
    --asan) preset=asan select=(-L '^(unit|mpi)$') ;;
    --help | -h) sed -n '2,8s/^# //p' "$0"; exit 0 ;;
    *) break ;;
    esac
    shift
done

if [ "$preset" = cuda ] && ! command -v nvcc >/dev/null; then
    echo "tests/run.sh --cuda: NOT RUN: no nvcc here, so the CUDA backend was not compiled by it"
    exit 0
fi
bash tests/setup.sh test
if [ -z "${EVENHAND_PYTHON:-}" ]; then
    if bash tests/setup_python.sh; then
        export EVENHAND_PYTHON=${XDG_CACHE_HOME:-$HOME/.cache}/evenhand/venv/bin/python
    else
        echo "no reference Python: the tests that need it are skipped" >&2
    fi
fi

jobs=$(nproc)
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
[ "$preset" = cuda ] && [ ${#launcher[@]} -gt 0 ] && launcher+=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
cmake --preset $preset "${launcher[@]}" >/dev/null
cmake --build --preset $preset -j "$jobs"
ctest --preset $preset -j "$jobs" "${select[@]}" "$@"
