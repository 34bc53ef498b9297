#!/usr/bin/env bash
# From a fresh machine to a result: installs missing packages, builds, and measures an invented world whose biases are
# known, before and after fine-tuning, with controls, on 2 ranks. At most 4 minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/setup.sh build

launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake --preset default -DBUILD_TESTING=OFF -B build/demo -DEVENHAND_BINARIES="$PWD/build/bin" "${launcher[@]}" >/dev/null
cmake --build build/demo -j "$(nproc)"

build/bin/evenhand-plant results/demo-world
build/bin/evenhand run jobs/demo-base.yaml -n 2 "$@"
build/bin/evenhand run jobs/demo.yaml -n 2 "$@"
