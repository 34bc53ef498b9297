#!/usr/bin/env bash
# Installs what evenhand needs, for `tests/run.sh` and `jobs/demo.sh`:  setup.sh build|test
# On Debian and Ubuntu through apt (with sudo if not root); elsewhere it says what is missing and stops.
set -euo pipefail
what=${1:-build}

# package  what shows that it is there: a program, or pkg-config's or the compiler's name for a library
build_packages="
gcc                 program gcc
g++                 program g++
cmake               program cmake
ninja-build         program ninja
pkg-config          program pkg-config
libopenmpi-dev      program mpicc
openmpi-bin         program mpirun
libhdf5-openmpi-dev program h5pcc.openmpi
libjansson-dev      module jansson
libyajl-dev         module yajl
libonig-dev         module oniguruma
libutf8proc-dev     module libutf8proc
libfyaml-dev        module libfyaml
zlib1g-dev          module zlib
gnuplot-nox         program gnuplot
"
test_packages="
libcmocka-dev       module cmocka
ccache              program ccache
git                 program git
hdf5-tools          program h5dump
clang-format-14     program clang-format-14
python3-venv        python ensurepip
slurmctld           program slurmctld
slurmd              program slurmd
slurm-client        program sbatch
munge               program munged
libopenblas-dev     module openblas
chromium            program chromium
texlive-latex-recommended program pdflatex
"
[ "$what" = build ] && packages=$build_packages || packages=$build_packages$test_packages

is_there() { # kind name
    case $1 in
    program) command -v "$2" >/dev/null || [ -x "/usr/sbin/$2" ] ;;
    module) pkg-config --exists "$2" 2>/dev/null ;;
    python) python3 -c "import $2" 2>/dev/null ;;
    esac
}

missing=()
while read -r package kind name; do
    [ -z "$package" ] || is_there "$kind" "$name" || missing+=("$package")
done <<<"$packages"
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing (by the names of Debian's packages): ${missing[*]}" >&2
    echo "Install them with this system's package manager, then start again. Open MPI and a parallel HDF5 built with it" \
        "are needed, the rest may be any recent version." >&2
    exit 3
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Neither root nor sudo. Please install: ${missing[*]}" >&2; exit 3; }
    sudo=sudo
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
$sudo apt-get update -qq
if ! install "${missing[@]}"; then
    # One package that this release lacks must not keep the others away; tests that need it say that they are skipped.
    for package in "${missing[@]}"; do install "$package" 2>/dev/null || echo "not available here: $package" >&2; done
fi
while read -r package kind name; do
    [ -z "$package" ] || is_there "$kind" "$name" || { echo "still missing: $package" >&2; exit 3; }
done <<<"$build_packages"
