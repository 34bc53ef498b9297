#!/usr/bin/env bash
# Every C and CUDA file is as clang-format 14 (.clang-format) writes it; other versions differ in details. Not the
# emulated device's tests/cuda_host/include: tables of one-line stand-ins for CUDA's own headers.
set -euo pipefail
cd "$EVENHAND_SOURCE"
version=$(clang-format --version 2>/dev/null | grep -oE 'version [0-9]+' | cut -d' ' -f2 || true)
[ "$version" = 14 ] || { echo "SKIPPED TEST: clang-format 14 is not here (found: ${version:-none})"; exit 0; }
mapfile -t files < <(find src stages tests -path tests/cuda_host/include -prune -o \
    '(' -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' ')' -print)
[ "${#files[@]}" -gt 50 ]
clang-format --dry-run --Werror "${files[@]}"
echo "${#files[@]} files"
