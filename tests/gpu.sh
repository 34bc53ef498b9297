#!/usr/bin/env bash
# All that only a GPU can tell, in one go of less than ten minutes:  tests/gpu.sh [--build WHERE] [--seconds N] [--rehearse]
#   --build WHERE   a build of the preset cuda (build/cuda), made if it isn't there and nvcc is; or a file of --pack
#   --seconds N     stop within so many seconds (540); what there was no time for says so
#   --pack FILE     only build for one generation (--generation 90) and put programs, libraries and test data into FILE, for a
#                   GPU's machine that has the driver and CUDA's libraries but no MPI, HDF5, ...: there --build FILE takes it
#   --rehearse      on the emulated device of a build of the preset cuda-host (build/cuda-host): tries this script itself, prints
#                   what it would write with each figure as #, and writes nothing
# Tests every operation, model and way to train on the GPU, times a training step of bloomz-560m's shape beside PyTorch's and each
# kernel against what bounds it (src/job/README.md), runs compute-sanitizer over the kernels, and writes results/gpu-NAME.md (and
# a copy to $OUT), anew after each part, so that a machine that is taken away leaves what was known. Without a GPU it says so,
# runs nothing, writes nothing, and exits 77.
# Exit status: 0 all passed, 1 something failed or, but for compute-sanitizer, was not finished (the file says what), 77 not run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build='' rehearse=0 total=540 pack='' generation=90
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=${2:?--build takes a folder or a file}; shift ;;
    --seconds) total=${2:?--seconds takes a number}; shift ;;
    --pack) pack=${2:?--pack takes a file}; shift ;;
    --generation) generation=${2:?--generation takes a number, as 90}; shift ;;
    --rehearse) rehearse=1 ;;
    --help | -h) sed -n '2,15s/^# //p' "$0"; exit 0 ;;
    *) echo "tests/gpu.sh: $1: see --help" >&2; exit 2 ;;
    esac
    shift
done
not_run() { echo "tests/gpu.sh: NOT RUN: $1; nothing was tested or measured, nothing was written"; exit 77; }
emulated() { grep -qs '^EVENHAND_CUDA:[A-Z]*=EMULATED' "$build/CMakeCache.txt"; }
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin # nvcc, compute-sanitizer
programs=(evenhand-plant evenhand-tokenize evenhand-finetune evenhand-evaluate evenhand-report evenhand)
operations=(pointwise product attention output sampling)
tools=(bench_ops "${operations[@]/#/backend_test_ops_}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shared=${EVENHAND_SHARED:-$PWD/../shared}
[ -d "$shared" ] || shared=$PWD/shared # where the tree was copied to the GPU's machine without its neighbours

make_build() { # for one generation: five take five times as long
    cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$generation-real" -DCMAKE_BUILD_RPATH="\$ORIGIN/../lib" \
        -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >/dev/null &&
        cmake --build "$build" -j "${EVENHAND_BUILD_JOBS:-$(nproc)}" --target "${programs[@]}" "${tools[@]}"
}

# Programs, and every library that they and Open MPI's plugins load but the C library's and NVIDIA's own.
make_pack() {
    local plugins mca folder
    mkdir -p "$work/pack"/{bin,tests,lib,mpi/bin} || return
    cp "${programs[@]/#/$build/bin/}" "$work/pack/bin/" && cp "${tools[@]/#/$build/tests/}" "$work/pack/tests/" || return
    strip "$work/pack"/{bin,tests}/*
    grep '^EVENHAND_CUDA:' "$build/CMakeCache.txt" >"$work/pack/CMakeCache.txt"
    plugins=$(ompi_info --path pkglibdir --parsable | sed 's/.*pkglibdir://') mca=$(mca_of_pmix)
    mkdir -p "$work/pack/mpi/plugins" "$work/pack/mpi/share"
    cp "$plugins"/*.so "$work/pack/mpi/plugins/"
    [ -z "$mca" ] || cp -r "$mca" "$work/pack/mpi/pmix"
    cp -rL /usr/share/openmpi/. "$work/pack/mpi/share/"
    cp "$(readlink -f "$(command -v mpirun)")" "$work/pack/mpi/bin/orterun" && cp "$(readlink -f "$(command -v orted)")" "$work/pack/mpi/bin/orted"
    for folder in bin tests mpi/bin mpi/plugins mpi/pmix; do
        [ ! -d "$work/pack/$folder" ] || find "$work/pack/$folder" -type f -print0 | xargs -0 ldd 2>/dev/null
    done | grep -oP '=> \K/\S+' | sort -u | grep -vE '/(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|cuda|cudart|cublas|cublasLt|nccl|nvidia-.*))\.so' |
        while read -r folder; do cp -L "$folder" "$work/pack/lib/"; done
    # A library's own RUNPATH would keep it from what the programs' RPATH finds: it becomes a RPATH, beside which theirs counts.
    python3 - "$work/pack/lib"/* "$work/pack/mpi/plugins"/* <<'P' || return
import struct, sys
for path in sys.argv[1:]:
    elf = bytearray(open(path, "rb").read())
    offset, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, begin = struct.unpack_from("<IIQ", elf, offset + i * size)
        while kind == 2 and struct.unpack_from("<Q", elf, begin)[0] != 0:
            if struct.unpack_from("<Q", elf, begin)[0] == 29:
                struct.pack_into("<Q", elf, begin, 15)
            begin += 16
    open(path, "wb").write(elf)
P
    [ ! -d "$shared/oracle/fixtures" ] || { mkdir "$work/pack/oracle" && cp -rL "$shared/oracle/fixtures" "$work/pack/oracle/"; }
    "$build/bin/evenhand" --version >"$work/pack/version" 2>&1
    XZ_OPT="-3 -T0" tar -C "$work" -cJf "$pack" pack
}
mca_of_pmix() { # Open MPI 4 and 5 have plugins of PMIx beside their own, if it is a library of its own
    local library
    library=$(ldd "$(command -v orted)" "$plugins"/*pmix* 2>/dev/null | grep -oP 'libpmix\.so\S* => \K\S+' | head -1)
    [ -z "$library" ] || find "$(dirname "$(readlink -f "$library")")" -maxdepth 2 -type d -name pmix | head -1
}

if [ -n "$pack" ]; then
    build=${build:-$PWD/build/cuda-$generation}
    command -v nvcc >/dev/null || emulated || { echo "tests/gpu.sh: --pack needs nvcc" >&2; exit 1; }
    emulated || make_build >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
    make_pack || { echo "tests/gpu.sh: $pack could not be made" >&2; exit 1; }
    echo "$pack: $(($(stat -c %s "$pack") >> 20)) MiB"
    exit 0
fi

if [ -f "$build" ]; then
    packed=1
    tar -C "$work" -xf "$build" || exit 1
    build=$work/pack
else packed=0; fi
if [ "$rehearse" = 1 ]; then
    build=${build:-build/cuda-host} gpu='emulated device'
    emulated || not_run "a rehearsal needs a build of the preset cuda-host, which $build is not"
    export EVENHAND_GPU_SMALL=1 CUDAEMU_LAZY=1 OUT=$work/out
    mkdir -p "$work/bin" "$OUT"
    # As the real ones answer.
    cat >"$work/bin/nvidia-smi" <<'S'
#!/bin/sh
case $1 in *compute_cap*) echo 8.0 ;; *driver_version*) echo '580.00, 81559 MiB, 1980 MHz' ;; *index*) echo 0 ;; esac
S
    cat >"$work/bin/compute-sanitizer" <<'S'
#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift 2; done
exec "$@"
S
    chmod +x "$work/bin"/*
    PATH=$work/bin:$PATH results=$work/results
else
    build=${build:-build/cuda} results=results
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1) || gpu=
    [ -n "$gpu" ] || not_run "this machine has no GPU that nvidia-smi knows"
    emulated && not_run "$build has an emulated device (--rehearse tries the script with it)"
fi
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
if [ ! -x "$build/bin/evenhand-finetune" ]; then
    command -v nvcc >/dev/null || not_run "there is a $gpu, but neither a build in $build nor nvcc to make one (--pack makes one elsewhere)"
    generation=$capability
    make_build >"$work/log" 2>&1 || { tail -20 "$work/log"; not_run "there is a $gpu, but the build failed (--pack makes one elsewhere)"; }
elif [ "$packed" = 0 ]; then # some build: it may lack the benchmark
    cmake --build "$build" -j "${EVENHAND_BUILD_JOBS:-$(nproc)}" --target "${programs[@]}" "${tools[@]}" >/dev/null || exit 1
fi
build=$(cd "$build" && pwd)
if [ "$packed" = 1 ]; then # the programs look into lib, Open MPI's own into what these say
    [ ! -d "$build/oracle" ] || shared=$build
    export OPAL_LIBDIR=$build/lib OPAL_PKGLIBDIR=$build/mpi/plugins OPAL_BINDIR=$build/mpi/bin OPAL_PKGDATADIR=$build/mpi/share
    export OMPI_MCA_mca_base_component_path=$build/mpi/plugins PMIX_MCA_mca_base_component_path=$build/mpi/pmix PMIX_PKGLIBDIR=$build/mpi
    # One machine, maybe a container: no ssh, no fabric, no reading of another process's memory.
    export OMPI_MCA_plm=isolated OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$build/lib" "$build/mpi/bin/orterun" >"$build/mpi/bin/mpirun"
    chmod +x "$build/mpi/bin/mpirun"
    mv "$build/mpi/bin/orted" "$build/mpi/bin/orted.real"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$build/lib" "$build/mpi/bin/orted.real" >"$build/mpi/bin/orted"
    chmod +x "$build/mpi/bin/orted"
    PATH=$build/mpi/bin:$PATH
fi
# CUDA's libraries may lie in a toolkit or among Python's packages.
mkdir -p "$work/cuda"
missing() { LD_LIBRARY_PATH=$work/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} ldd "$build/bin/evenhand-finetune" | grep -oP '\S+(?= => not found)'; }
for library in $(missing); do
    found=$(find /usr/local/cuda*/ /opt /usr/lib "$(${EVENHAND_PYTHON:-python3} -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null || echo /usr/lib)" \
        -name "$library" 2>/dev/null | head -1)
    [ -z "$found" ] || ln -sf "$found" "$work/cuda/$library"
done
[ -z "$(ls "$work/cuda")" ] || export LD_LIBRARY_PATH=$work/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
[ -z "$(missing)" ] || not_run "$build needs $(missing | tr '\n' ' ')which this machine lacks"
doctor=$("$build/bin/evenhand" doctor 2>&1 | grep -i 'device cuda')
grep -q 'no GPU can be used' <<<"$doctor" && not_run "there is a $gpu, but $doctor" # an old driver, say

short_name=$(tr '[:upper:]' '[:lower:]' <<<"$gpu" | grep -oE 't4|v100|a100|h100|h200|l4|l40s|a10g?|rtx[ 0-9a-z]*' | head -1 | tr ' ' -)
short_name=${short_name:-$(tr -cd '[:alnum:]' <<<"$gpu" | tr '[:upper:]' '[:lower:]')}
case $gpu in # whose data sheet job/roofline.c has: cards of one name on other boards are slower
*T4) sheet=t4 ;; *V100-SXM2*) sheet=v100 ;; *A100-SXM4-80GB) sheet=a100 ;; *'H100 80GB HBM3') sheet=h100 ;; *'H200') sheet=h200 ;;
emulated*) sheet=a100 ;; *) sheet= ;;
esac
report=$work/report.md failed=0
export EVENHAND_BIN=$build/bin EVENHAND_SOURCE=$PWD EVENHAND_TESTS=$build/tests EVENHAND_SHARED=$shared
export EVENHAND_TEST_DEVICES=cuda OMP_NUM_THREADS=4 PYTHONUNBUFFERED=1
left() { echo $((total - SECONDS)); }

# What is known so far, where it outlives this script.
save() { # [finished]
    mkdir -p "$results"
    { cat "$report"; [ -n "${1:-}" ] || printf '\n**Not finished**: the script was stopped here.\n'; } >"$results/.gpu.tmp"
    [ -z "${OUT:-}" ] || cp "$results/.gpu.tmp" "$OUT/gpu-$short_name.md"
    mv "$results/.gpu.tmp" "$results/gpu-$short_name.md"
}
tell_rehearsal() {
    sed -E '/^(#|`|Driver)/!s/[0-9]+(\.[0-9]+)?/#/g' "$results/gpu-$short_name.md"
    echo "tests/gpu.sh: REHEARSED on an emulated device: no GPU was tested, nothing was measured, nothing was written"
}
exec 3>&1 # where a signal comes during a check, whose output goes to a file
stopped() {
    exec >&3
    kill $(jobs -p) 2>/dev/null
    [ "$rehearse" = 0 ] || tell_rehearsal
    echo "tests/gpu.sh: stopped; what was known by then: $results/gpu-$short_name.md"
    exit 1
}
trap stopped TERM INT

{
    echo "# evenhand on one $gpu"
    echo
    echo "\`tests/gpu.sh\` wrote this on $(date +%F) with $("$build/bin/evenhand" --version 2>&1 | head -1), source $(git describe --always --dirty 2>/dev/null || echo unknown)."
    nvidia-smi --query-gpu=driver_version,memory.total,clocks.max.sm --format=csv,noheader | head -1 |
        awk -F, '{printf "Driver %s, %s of memory, up to %s.", $1, $2, $3}'
    echo " Libraries: $(ldd "$build/bin/evenhand-finetune" | grep -oE 'lib(cudart|cublas|cublasLt|nccl)\.so\.[0-9]+' | sort -u | tr '\n' ' '); ${sheet:+bounds by the data sheet of $sheet.}"
    echo
    echo '## Tests'
    echo '| what | result | seconds |'
    echo '|---|---|---:|'
} >"$report"
save

# run_for SECONDS COMMAND...: within what time is left; 124 if that was too little. In the background, so that a signal is heard.
run_for() {
    local most=$1
    shift
    [ "$most" -lt "$(left)" ] || most=$(left)
    [ "$most" -gt 0 ] || return 124
    timeout "$most" "$@" &
    wait $!
}
# check NAME SECONDS COMMAND...: a row of the table. A program that skipped, or found no GPU, is not one that passed.
check() {
    local name=$1 most=$2 begin=$SECONDS result=passed code=0
    shift 2
    run_for "$most" "$@" >"$work/log" 2>&1 || code=$?
    if [ "$code" = 77 ] || grep -qE 'not tested here: cuda|SKIPPED TEST|Device not supported' "$work/log"; then result='not run'
    elif [ "$code" = 124 ] && { [ "$(left)" -le 0 ] || [ "$1" = compute-sanitizer ]; }; then
        result='not finished in time'
        [ "$1" = compute-sanitizer ] || failed=1
    elif [ "$code" = 124 ]; then result="FAILED: more than $most s" failed=1
    elif [ "$code" != 0 ]; then result="FAILED: exit $code" failed=1; fi
    [ "$result" = passed ] || tail -15 "$work/log"
    echo "| $name | $result | $((SECONDS - begin)) |" >>"$report"
    save
    echo "$name: $result"
}
tests=$build/tests sanitized=(pointwise attention output sampling) slow=1
[ "$rehearse" = 0 ] || operations=(sampling) sanitized=(sampling) slow=5 # the others are tests of that build as it is
for test in "${operations[@]}"; do check "operations: $test" $((60 * slow)) "$tests/backend_test_ops_$test"; done
only=()
[ "$rehearse" = 0 ] || only=(--only bloom-b)
if [ -d "$shared/oracle/fixtures" ]; then
    check 'models: logits, gradients, ten steps beside transformers' $((120 * slow)) "$build/bin/evenhand" conform "$shared/oracle/fixtures" --device cuda "${only[@]}"
else
    echo '| models | not run: their expected values are not here | |' >>"$report"
fi
[ "$(nvidia-smi --query-gpu=index --format=csv,noheader | wc -l)" -gt 1 ] || export EVENHAND_SHARE_GPU=1
check "training on two ranks${EVENHAND_SHARE_GPU:+ that share the GPU} beside the CPU's, memory.zero 0 to 3" $((150 * slow)) bash tests/cuda_host/test_two_gpu_ranks.sh
unset EVENHAND_SHARE_GPU

{
    echo
    echo '## A training step of bloomz-560m'"'"'s shape beside PyTorch'
    echo
} >>"$report"
code=0
OMP_NUM_THREADS=$(nproc) run_for 240 bash tests/bench/gpu_step.sh "$sheet" >"$work/step" 2>"$work/log" || code=$?
cat "$work/step" >>"$report"
[ "$code" != 124 ] || { failed=1; echo '| | not finished in time | | | | |' >>"$report"; }
[ "$code" = 0 ] || [ "$code" = 124 ] || { failed=1; echo "FAILED: gpu_step.sh: $(tail -1 "$work/log")" | tee -a "$report"; }
save

types=(bf16 fp32)
[ "$capability" -ge 80 ] || types=(fp16 fp32)
for type in "${types[@]}"; do
    {
        echo
        echo "## Kernels, $type"
        echo 'Milliseconds of the quickest of some batches of calls, on operands larger than the caches. Bound: the longer of bytes / bandwidth and FLOP / peak, by the data sheet.'
        echo
    } >>"$report"
    code=0
    run_for 90 "$tests/bench_ops" -d cuda -s 0.1 -p "$type" -m ${sheet:+-g "$sheet"} ${EVENHAND_GPU_SMALL:+-S} >"$work/kernels" 2>"$work/log" || code=$?
    cat "$work/kernels" >>"$report"
    awk -F' *[|] *' '$6 ~ /bytes/ { n++; if ($7 + 0 >= 80) ok++; else below = below (below == "" ? " " : ", ") $2 }
        END { if (n > 0) printf "\n%d of %d kernels that bytes bound reach 80 %% of the bandwidth%s.\n", ok, n, below == "" ? "" : "; not:" below }' "$work/kernels" >>"$report"
    [ "$code" != 124 ] || { failed=1; echo '**Not finished in time.**' >>"$report"; }
    [ "$code" = 0 ] || [ "$code" = 124 ] || { failed=1; echo "FAILED: bench_ops: $(tail -1 "$work/log")" | tee -a "$report"; }
    save
done

{
    echo
    echo '## compute-sanitizer'
    echo '| what | result | seconds |'
    echo '|---|---|---:|'
} >>"$report"
if command -v compute-sanitizer >/dev/null; then
    export EVENHAND_CUDA_SLAB_MIB=0 # each buffer of its own, so that memcheck knows its end
    for tool in memcheck racecheck synccheck; do
        for test in "${sanitized[@]}"; do
            check "$tool: $test" $((60 * slow)) compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests/backend_test_ops_$test"
        done
    done
else
    echo '| compute-sanitizer | not run: it is not installed | |' >>"$report"
fi
save finished
if [ "$rehearse" = 1 ]; then
    cmp -s "$results/gpu-$short_name.md" "$OUT/gpu-$short_name.md" || { echo 'FAILED: $OUT has another report'; failed=1; }
    tell_rehearsal
    exit "$failed"
fi
echo "results/gpu-$short_name.md"
exit "$failed"
