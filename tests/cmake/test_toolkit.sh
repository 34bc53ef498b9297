#!/usr/bin/env bash
# The build where CUDA's toolkit is missing, as CMake sees it: EVENHAND_CUDA=AUTO makes the programs without it, ON stops and
# says what is missing. Only configured: the compiled CPU-only build is the preset that runs this. Where the toolkit is here,
# AUTO takes it.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
configure() { # configure FOLDER SETTINGS...
    run cmake -S "$EVENHAND_SOURCE" -B "$@" -DBUILD_TESTING=OFF
}
backends() { grep -oP 'backends: \K[^"]*' "$1/version.c"; }
plain=(PATH=/usr/bin:/bin CUDACXX= CUDA_PATH= CUDAToolkit_ROOT=/nowhere)
hide=(-DCMAKE_CUDA_COMPILER=CMAKE_CUDA_COMPILER-NOTFOUND -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON)
env_configure() { run env "${plain[@]}" cmake -S "$EVENHAND_SOURCE" -B "$@" -DBUILD_TESTING=OFF; }
env_configure auto -DEVENHAND_CUDA=AUTO "${hide[@]}"
check 'AUTO without a toolkit is configured' equal "$code" 0
check 'for the CPU' equal "$(backends auto)" 'reference cpu'
check 'with nothing of CUDA to compile' test -z "$(grep -rl 'backend/cuda/.*\.cu' auto --include=build.ninja --include=Makefile* --include=build.make)"
env_configure on -DEVENHAND_CUDA=ON "${hide[@]}"
check 'ON without a toolkit stops' test "$code" -ne 0
check 'and says why' has "$err" 'EVENHAND_CUDA=ON, but nvcc'
if command -v nvcc >/dev/null; then
    configure here -DEVENHAND_CUDA=AUTO -DCMAKE_CUDA_ARCHITECTURES=80-real
    check 'AUTO with a toolkit takes it' equal "$code $(backends here)" '0 reference cpu cuda'
fi
finish
