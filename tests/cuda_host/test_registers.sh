#!/usr/bin/env bash
# What nvcc gave each kernel on an H100 (sm_90), which needs no GPU to be known: registers and shared memory, and so how many
# warps of 64 a multiprocessor holds at once. Fails where a kernel takes more registers than are stated here, or keeps some in
# memory (which the build refuses for every generation, CMakeLists.txt). Runs in the build by nvcc only.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
command -v nvcc >/dev/null || { echo 'SKIPPED TEST: no nvcc'; exit 77; }
cd "$work"
for file in "$EVENHAND_SOURCE"/src/backend/cuda/*.cu; do
    nvcc -std=c++17 -O3 -cubin -arch=sm_90 -I"$EVENHAND_SOURCE/src" -Xptxas -v -o kernel.cubin "$file" >>log 2>&1 ||
        { cat log; check "nvcc compiles $(basename "$file")" false; }
done
# Memory bounds kernels of 256 threads: half a multiprocessor's threads at 64 registers hide its latency. The tensor cores'
# operands and sums lie in registers: blocks of 128 threads, three of them at 168 and two at 255.
c++filt <log | awk '
    function most(name) {
        if (name ~ /^tensor_.*<128/) return 255
        if (name ~ /^tensor_key/) return 200
        if (name ~ /^tensor_/) return 168
        if (name ~ /^(key_gradient|query_gradient|forward|bias_gradient)_kernel/) return 168
        if (name ~ /^(scatter|sample)_kernel/) return 80
        return 64
    }
    /Compiling entry function/ {
        name = $0
        sub(/.*entry function ./, "", name); gsub(/\(anonymous namespace\)::|_GLOBAL__N__[0-9a-zA-Z_]*::/, "", name)
        sub(/^void /, "", name); sub(/\(.*/, "", name)
    }
    /bytes stack frame/ { spilled = $0 ~ / 0 bytes spill stores/ ? 0 : 1 }
    /Used [0-9]+ registers/ {
        registers = shared = 0
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^registers/) registers = $(i - 1)
            if ($i == "smem" || $i == "smem,") shared = $(i - 2)
        }
        threads = name ~ /^(tensor_|key_gradient|query_gradient|forward_kernel|bias_gradient|delta_)/ ? 128 : 256
        rounded = int((registers + 7) / 8) * 8
        blocks = int(65536 / (rounded * threads)); by_shared = int(233472 / (shared + 1024))
        if (by_shared < blocks) blocks = by_shared
        if (blocks * threads > 2048) blocks = 2048 / threads
        printf "%-36s %3d registers of %3d  %5d bytes shared  %2d warps\n", name, registers, most(name), shared, blocks * threads / 32
        if (registers > most(name)) { print "TOO MANY REGISTERS: " name; bad++ }
        if (spilled) { print "REGISTERS IN MEMORY: " name; bad++ }
        kernels++
    }
    END { printf "%d kernels, %d beyond their bounds\n", kernels, bad; exit !(kernels > 40 && bad == 0) }' >table
code=$?
sort table
check 'every kernel stays within its registers' equal "$code" 0
finish
