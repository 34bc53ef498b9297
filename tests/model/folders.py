"""Helper of test_oracle_folders.c. `same A B [A B ...]` holds the logits of folders against each other in transformers;
`zip A B ...` and `older A B ...` write A's weights to B/pytorch_model.bin in torch.save's two formats."""

import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file


def model_of(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    cls = getattr(transformers, config.architectures[0])
    model, info = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    return model.eval(), info


def same(a, b):
    (first, _), (second, info) = model_of(a), model_of(b)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    ids = torch.arange(5, 29).reshape(2, 12)
    inputs = {"input_ids": ids}
    if first.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :7]
    with torch.no_grad():
        assert torch.equal(first(**inputs).logits, second(**inputs).logits)


def write_bin(a, b, form):
    tensors = {}
    for file in sorted(Path(a).glob("*.safetensors")):
        tensors |= load_file(file)
    torch.save(tensors, Path(b) / "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip")


for a, b in zip(sys.argv[2::2], sys.argv[3::2]):
    if sys.argv[1] == "same":
        same(a, b)
    else:
        write_bin(a, b, sys.argv[1])
