# For tests that fuzz readers; source it after checks.sh. With clang the targets (tests/fuzz/fuzz_*.c) are libFuzzer's, which
# looks for inputs that reach new code; with gcc alone tests/fuzz/driver.c mutates the seeds blindly. Both with the address
# and undefined-behaviour sanitizers and a fixed number of inputs; EVENHAND_FUZZ_RUNS asks for another one,
# EVENHAND_FUZZ_BLIND for gcc. Findings stay in $EVENHAND_TESTS/fuzz.
fuzz_runs=${EVENHAND_FUZZ_RUNS:-4000}
fuzz_folder=$EVENHAND_TESTS/fuzz
fuzz_flags="-std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -I$EVENHAND_SOURCE/src $(pkg-config --cflags hdf5-openmpi 2>/dev/null || echo -I/usr/include/hdf5/openmpi)"
if command -v clang >/dev/null && [ -z "${EVENHAND_FUZZ_BLIND:-}" ]; then
    fuzz_compiler=clang fuzz_object="-fsanitize=fuzzer-no-link" fuzz_link="-fsanitize=fuzzer" fuzz_driver=()
else
    command -v gcc >/dev/null || { echo 'SKIPPED TEST: neither clang nor gcc'; exit 0; }
    fuzz_compiler=gcc fuzz_object='' fuzz_link='' fuzz_driver=(tests/fuzz/driver.c) fuzz_folder=$fuzz_folder/blind
fi
mkdir -p "$fuzz_folder" && cd "$fuzz_folder" || exit 1

# fuzz_build TARGET 'PACKAGES' SOURCES...: objects are made anew only where a source or a header is newer, as compiling takes
# longer than fuzzing.
fuzz_build() {
    local target=$1 packages=$2 source object newest sources=() objects=()
    shift 2
    exec 8>"$fuzz_folder/lock" && flock 8 # tests that run beside each other share objects
    newest=$(find "$EVENHAND_SOURCE/src" "$EVENHAND_SOURCE/tests/fuzz" -name '*.h' -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
    for source in "$@" "tests/fuzz/$target.c" "${fuzz_driver[@]}"; do sources+=("$EVENHAND_SOURCE/$source"); done
    for source in "${sources[@]}"; do
        object=${source#"$EVENHAND_SOURCE/"}
        object=${object//\//_}.o
        if [ ! "$object" -nt "$source" ] || [ ! "$object" -nt "$newest" ]; then
            # shellcheck disable=SC2046
            echo "$fuzz_compiler $fuzz_flags" $(pkg-config --cflags $packages) "$fuzz_object -c $source -o $object"
        fi
    done | sort -u | xargs -r -P 2 -I{} sh -c '{}' || return 1
    for source in "${sources[@]}"; do
        object=${source#"$EVENHAND_SOURCE/"}
        objects+=("${object//\//_}.o")
    done
    # shellcheck disable=SC2046,SC2086
    $fuzz_compiler $fuzz_flags $fuzz_link "${objects[@]}" $(pkg-config --libs $packages) -lz -lm -o "$target"
    local built=$?
    exec 8>&-
    return "$built"
}

# fuzz TARGET SEEDS OPTIONS...; $times the usual number of inputs, of targets that are fast
fuzz() {
    local target=$1 seeds=$2 done_runs runs=$((${times:-1} * fuzz_runs))
    shift 2
    timeout 300 "./$target" -seed=1 -runs="$runs" -max_total_time=240 -timeout=20 -rss_limit_mb=2048 -len_control=0 -print_final_stats=1 \
        -artifact_prefix="$fuzz_folder/" "$@" "$seeds" >"$work/$target.log" 2>&1 || { tail -30 "$work/$target.log"; return 1; }
    done_runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
    echo "$target: $done_runs inputs ($fuzz_compiler)"
    [ "${done_runs:-0}" -ge "$runs" ]
}
