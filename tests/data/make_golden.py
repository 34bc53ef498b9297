"""Makes tests/data/golden: tiny random models and what transformers computes from them, in the layout that `evenhand
conform` reads (models/NAME, expected/NAME.h5), so that a checkout by itself has tests that are not hollow. Their shapes
are awkward on purpose: 5 heads, 3 layers, a prime vocabulary. Run with the reference libraries' Python:
    python tests/data/make_golden.py tests/data/golden
"""

import sys
from pathlib import Path

import h5py
import numpy as np
import torch
import transformers as tf

VOCABULARY = 53
SPREAD = 0.2  # of the noise that is added to every weight, norms and biases too
COMMON = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = COMMON | {"hidden_size": 20, "num_hidden_layers": 3, "num_attention_heads": 5, "intermediate_size": 27,
                 "max_position_embeddings": 40}
MODELS = {
    "bloom": (tf.BloomForCausalLM, tf.BloomConfig(hidden_size=20, n_head=5, n_layer=3, **COMMON)),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config(n_embd=20, n_head=5, n_layer=3, n_inner=31, n_positions=40, **COMMON)),
    "t5-tied": (tf.T5ForConditionalGeneration,
                tf.T5Config(d_model=20, d_kv=6, d_ff=27, num_heads=5, num_layers=3, num_decoder_layers=2,
                            feed_forward_proj="relu", decoder_start_token_id=0, **COMMON)),
    "bert-three-labels": (tf.BertForSequenceClassification, tf.BertConfig(num_labels=3, **BERT)),
    "bert-masked": (tf.BertForMaskedLM, tf.BertConfig(**BERT)),
    "roberta-masked": (tf.RobertaForMaskedLM, tf.RobertaConfig(type_vocab_size=1, **BERT)),
}


def put_floats(group, name, value, exact):
    """With the attributes by which the bounds are set: the distance to the same in float64."""
    error = (value.double() - exact).abs().numpy()
    group[name] = value.numpy()
    group[name].attrs["noise"] = error.max()
    group[name].attrs["noise99"] = np.quantile(error, 0.99)


def put_ints(group, name, value):
    group[name] = value.numpy().astype(np.int32)


def inputs_of(config, lengths):
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, VOCABULARY, (length,))
        mask[row, :length] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    if config.is_encoder_decoder:
        batch |= {"decoder_input_ids": ids.roll(1, 1), "decoder_attention_mask": mask}
    return batch


def put_forward(file, name, model, exact, lengths):
    batch = inputs_of(model.config, lengths)
    group = file.create_group(f"forward/{name}")
    for key, value in batch.items():
        put_ints(group, key, value)
    with torch.no_grad():
        logits, wanted = model(**batch).logits, exact(**batch).logits
    if logits.ndim == 3:
        real = batch["attention_mask"][..., None].bool()
        logits, wanted = logits * real, wanted * real
    else:
        put_floats(group, "probabilities", logits.softmax(-1), wanted.softmax(-1))
    put_floats(group, "logits", logits, wanted)


def make(folder, name, cls, config):
    torch.manual_seed(20 + len(name))
    model = cls(config).eval()
    for parameter in model.parameters():
        parameter.data += SPREAD * torch.randn(parameter.shape)
    model.save_pretrained(folder / "models" / name)
    exact = cls.from_pretrained(folder / "models" / name, dtype=torch.float64).eval()
    (folder / "expected").mkdir(exist_ok=True)
    with h5py.File(folder / "expected" / f"{name}.h5", "w") as file:
        put_forward(file, "single", model, exact, [9])
        put_forward(file, "batch", model, exact, [7, 3, 12])


if __name__ == "__main__":
    for model_name, (model_class, model_config) in MODELS.items():
        make(Path(sys.argv[1]), model_name, model_class, model_config)
