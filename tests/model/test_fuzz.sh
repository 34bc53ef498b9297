#!/usr/bin/env bash
# The fuzz targets of config.json and of the index of a sharded model.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
source "$EVENHAND_SOURCE/tests/support/fuzz.sh"
core=(src/core/memory.c src/core/status.c src/core/string.c)
files=("${core[@]}" src/io/{safetensors,stored_tensor,mapped_file,pickle,torch_file}.c)
arches=("$EVENHAND_SOURCE"/src/model/arch*.c)
check 'the target of the index builds' fuzz_build fuzz_index jansson "${files[@]}" src/model/folder.c
check 'the target of config.json builds' fuzz_build fuzz_config jansson "${core[@]}" src/model/layout.c src/model/freeze.c "${arches[@]#"$EVENHAND_SOURCE/"}"
mkdir "$work"/{index,config}
printf '{"metadata": {"total_size": 16}, "weight_map": {"a": "a", "b": "b"}}' >"$work/index/good"
printf '{"weight_map": {"c": "../c"}}' >"$work/index/outside"
printf '{"weight_map": {"a": "b"}}' >"$work/index/elsewhere"
for config in "$EVENHAND_SOURCE"/tests/data/golden/models/*/config.json; do cp "$config" "$work/config/$(basename "$(dirname "$config")")"; done
printf '{"model_type": "opt", "vocab_size": 50272, "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "ffn_dim": 3072}' >"$work/config/opt"
check 'no index opens what is not in its folder' fuzz fuzz_index "$work/index" -max_len=512
check 'no config.json breaks its reader' fuzz fuzz_config "$work/config" -max_len=2048
finish
