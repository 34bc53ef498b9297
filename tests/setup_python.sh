#!/usr/bin/env bash
# The Python that tests compare with: transformers, tokenizers, torch, h5py, at fixed versions, in
# ${XDG_CACHE_HOME:-~/.cache}/evenhand/venv. evenhand itself needs no Python.
#
# PyPI's torch for Linux is a CUDA build; it is installed without the gigabytes of CUDA libraries that it names, which a
# CPU never uses: where the loader misses one, an empty library of that name is put beside torch's own.
set -euo pipefail
venv=${XDG_CACHE_HOME:-$HOME/.cache}/evenhand/venv
stamp=$venv/.evenhand-1
peft() { "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-deps peft==0.21.2; }
if [ -e "$stamp" ]; then
    [ -d "$(echo "$venv"/lib/python3*/site-packages/peft)" ] || peft
    exit 0
fi

rm -rf "$venv"
python3 -m venv "$venv"
pip=("$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir)
"${pip[@]}" transformers==5.24.0 tokenizers==0.23.3 safetensors==0.8.0 sentencepiece==0.2.3 protobuf==7.36.2 \
    h5py==3.16.0 numpy==2.4.6 filelock fsspec jinja2 networkx setuptools sympy typing_extensions scipy==1.17.1 statsmodels==0.15.0
"${pip[@]}" --no-deps torch==2.11.0 accelerate==1.15.0 psutil==7.2.2
peft

libraries=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/torch/lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ldd -r "$libraries/libtorch_python.so" >"$work/ldd" 2>&1 || true
grep -oP 'undefined symbol: \K(cu|nccl|nv|cublas|cudnn)\w+' "$work/ldd" | sort -u | sed 's/.*/char &[8];/' >"$work/empty.c" || true
{ grep -oP '^\s*\K\S+(?= => not found)' "$work/ldd" || true; } | sort -u | while read -r name; do
    gcc -shared -Wl,-soname,"$name" -o "$libraries/$name" "$work/empty.c"
done
"$venv/bin/python" -c 'import torch, transformers, h5py, scipy'
touch "$stamp"
