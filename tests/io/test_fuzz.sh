#!/usr/bin/env bash
# The fuzz targets of CSV and of all data formats, and of the two formats of weight files.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
source "$EVENHAND_SOURCE/tests/support/fuzz.sh"
core=(src/core/memory.c src/core/status.c src/core/string.c)
tables=("${core[@]}" src/io/lines.c src/io/csv.c src/io/json.c)
formats=(src/dataset/{dataset,records,templates_tsv,crows_pairs,stereoset,honest,bold,real_toxicity_prompts,regard_prompts,pairs,jsonl,text}.c)
weights=("${core[@]}" src/io/{safetensors,stored_tensor,mapped_file,pickle,torch_file}.c)
check 'the target of CSV builds' fuzz_build fuzz_csv jansson "${tables[@]}"
check 'the target of data formats builds' fuzz_build fuzz_records 'jansson libutf8proc' "${tables[@]}" "${formats[@]}"
check 'the target of safetensors builds' fuzz_build fuzz_safetensors jansson "${weights[@]}"
check 'the target of pytorch_model.bin builds' fuzz_build fuzz_torch_file jansson "${weights[@]}"
mkdir "$work"/{csv,records,safetensors,torch_file}
head -c 800 "$EVENHAND_SOURCE/tests/data/pairs-20.csv" >"$work/csv/pairs"
cp "$work/csv/pairs" "$work/records/pairs"
printf '{"data": {"intersentence": [{"id": "a", "target": "t", "bias_type": "b", "context": "c", "sentences": [{"sentence": "s", "id": "1", "gold_label": "unrelated"}, {"sentence": "s", "id": "1", "gold_label": "related"}, {"sentence": "s", "id": "1", "gold_label": "stereotype"}]}]}}' >"$work/records/items"
printf '{"prompt": "a", "completion": "b", "id": 3}\n{"prompt": {"text": "x", "toxicity": 0.7}}\n' >"$work/records/lines"
printf '{"g": {"e": ["p ", ""]}}' >"$work/records/bold"

# safetensors NAME HEADER BYTES: a file with that many bytes of data.
safetensors() {
    { printf "\\x$(printf %02x $((${#2} % 256)))\\x$(printf %02x $((${#2} / 256)))\\0\\0\\0\\0\\0\\0%s" "$2" && head -c "$3" /dev/zero; } >"$work/safetensors/$1"
}
safetensors one '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}' 24
safetensors two '{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[4],"data_offsets":[4,12]},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' 12
safetensors none '{"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}' 8
python=${EVENHAND_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/evenhand/venv/bin/python}
if [ -x "$python" ]; then
    "$python" - "$work/torch_file" <<'PY'
import collections, sys, torch
a = torch.arange(6.).reshape(2, 3)
tensors = collections.OrderedDict(a=a, same=a[1], b=torch.ones(4, dtype=torch.bfloat16), c=torch.zeros(2, dtype=torch.float16), n=torch.tensor([5]))
for name, zipped in ("zip", True), ("older", False):
    torch.save(tensors, f"{sys.argv[1]}/{name}", _use_new_zipfile_serialization=zipped)
PY
else # no torch to write whole files
    printf 'PK\3\4' >"$work/torch_file/zip"
    printf '\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}.\x80\2}q\0.\x80\2].' >"$work/torch_file/older"
fi
for target in csv records safetensors torch_file; do
    [ "$target" != safetensors ] || times=10
    check "no input breaks the reader of $target" fuzz "fuzz_$target" "$work/$target" -max_len=4096
done
finish
