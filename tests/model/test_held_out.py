"""Shapes and switches that no fixture has, made by transformers when the test runs: logits, gradients, ten AdamW steps and
greedy texts by `evenhand conform`; what evenhand saves, whole and in shards, read back by transformers with the same
logits; and what evenhand can't do, refused in words. OPT, the architecture added as an exercise, is checked here alone."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import torch
import transformers as tf

SOURCE, BIN, TESTS = (Path(os.environ[k]) for k in ("EVENHAND_SOURCE", "EVENHAND_BIN", "EVENHAND_TESTS"))
sys.path[:0] = [str(SOURCE / "tests/data"), str(SOURCE / "tests/model")]
import folders  # noqa: E402
import make_golden  # noqa: E402

torch.set_num_threads(1)
V = make_golden.COMMON
BERT, DECODER = make_golden.BERT, {"n_head": 5, "n_layer": 2, **V}
T5 = {"d_model": 20, "d_kv": 6, "d_ff": 27, "num_heads": 5, "num_layers": 2, "decoder_start_token_id": 0, **V}
OPT = {"hidden_size": 20, "num_attention_heads": 5, "num_hidden_layers": 3, "ffn_dim": 31, "max_position_embeddings": 40,
       "word_embed_proj_dim": 20, **V}
MODELS = {
    "opt": (tf.OPTForCausalLM, tf.OPTConfig(**OPT)),
    "opt-no-bias-untied": (tf.OPTForCausalLM, tf.OPTConfig(**OPT, enable_bias=False, tie_word_embeddings=False)),
    "bloom-5-heads-of-12": (tf.BloomForCausalLM, tf.BloomConfig(hidden_size=60, **DECODER)),
    "bloom-untied": (tf.BloomForCausalLM, tf.BloomConfig(hidden_size=20, tie_word_embeddings=False, **DECODER)),
    "gpt2-inner-100": (tf.GPT2LMHeadModel, tf.GPT2Config(n_embd=20, n_inner=100, n_positions=40, **DECODER)),
    "gpt2-plain": (tf.GPT2LMHeadModel, tf.GPT2Config(n_embd=20, n_positions=40, scale_attn_weights=False, tie_word_embeddings=False,
                                                     activation_function="relu", layer_norm_epsilon=1e-3, **DECODER)),
    "t5-relu-1-decoder": (tf.T5ForConditionalGeneration, tf.T5Config(feed_forward_proj="relu", num_decoder_layers=1, **T5)),
    "t5-silu-3-decoders": (tf.T5ForConditionalGeneration, tf.T5Config(
        feed_forward_proj="gated-silu", tie_word_embeddings=False, num_decoder_layers=3, relative_attention_num_buckets=8,
        relative_attention_max_distance=9, **T5)),
    "bert-relu-1-type": (tf.BertForMaskedLM, tf.BertConfig(hidden_act="relu", type_vocab_size=1, **BERT)),
    "bert-gelu-tanh": (tf.BertForMaskedLM, tf.BertConfig(hidden_act="gelu_new", layer_norm_eps=1e-5, **BERT)),
    "bert-7-labels": (tf.BertForSequenceClassification, tf.BertConfig(num_labels=7, classifier_dropout=0.3, **BERT)),
    "roberta-3-labels": (tf.RobertaForSequenceClassification, tf.RobertaConfig(num_labels=3, type_vocab_size=1, **BERT)),
    "roberta-2-types": (tf.RobertaForMaskedLM, tf.RobertaConfig(**(BERT | {"pad_token_id": 3, "type_vocab_size": 2}))),
}
REFUSED = {
    "layers scale attention": (tf.GPT2LMHeadModel, tf.GPT2Config(n_embd=20, scale_attn_by_inverse_layer_idx=True, **DECODER),
                               "scale_attn_by_inverse_layer_idx"),
    "another gelu": (tf.GPT2LMHeadModel, tf.GPT2Config(n_embd=20, activation_function="quick_gelu", **DECODER), "quick_gelu"),
    "residual of the norm": (tf.BloomForCausalLM, tf.BloomConfig(
        hidden_size=20, apply_residual_connection_post_layernorm=True, **DECODER), "apply_residual_connection_post_layernorm"),
    "an untied masked head": (tf.BertForMaskedLM, tf.BertConfig(tie_word_embeddings=False, **BERT), "tie_word_embeddings"),
    "another untied one": (tf.RobertaForMaskedLM, tf.RobertaConfig(tie_word_embeddings=False, **BERT), "tie_word_embeddings"),
    "a BERT that decodes": (tf.BertLMHeadModel, tf.BertConfig(is_decoder=True, **BERT), "BertLMHeadModel"),
    "OPT with norms behind": (tf.OPTForCausalLM, tf.OPTConfig(**OPT, do_layer_norm_before=False), "do_layer_norm_before"),
    "OPT with narrow embeddings": (tf.OPTForCausalLM, tf.OPTConfig(**(OPT | {"word_embed_proj_dim": 10})), "word_embed_proj_dim"),
    "a classifier on GPT-2": (tf.GPT2ForSequenceClassification, tf.GPT2Config(n_embd=20, **DECODER), "GPT2ForSequenceClassification"),
}
failures = 0


def check(ok, what):
    global failures
    print("ok    " if ok else "FAILED", what)
    failures += not ok


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)


def make(work, name):
    for seed in range(20, 30):  # another one where a greedy text hangs on a near-tie
        try:
            return make_golden.make(work, name, *MODELS[name], whole=True, seed=seed)
        except AssertionError:
            continue
    raise AssertionError(f"{name}: no seed without near-ties")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for name in MODELS:
            make(work, name)
        done = run(BIN / "evenhand", "conform", work)
        print(done.stdout + done.stderr)
        check(done.returncode == 0, "all checks of all models")
        for name in MODELS:
            check(done.stdout.count(f" {name} ") >= 3, f"{name}: has checks")
            for bytes_ in (5000000000, 20000):
                saved = work / f"{name}-{bytes_}"
                check(run(TESTS / "model_tool_save", work / "models" / name, saved, bytes_).returncode == 0, f"{name} saved")
                check((saved / "model.safetensors.index.json").exists() == (bytes_ == 20000), f"{name}: in shards of 20 kB or whole")
                folders.same(work / "models" / name, saved)
        # A wrong expected value is found.
        with h5py.File(work / "expected/opt.h5", "r+") as file:
            logits = file["forward/single/logits"]
            logits[0, 3, 11] += 0.01
        wrong = run(BIN / "evenhand", "conform", work, "--only", "opt")
        check(wrong.returncode == 1 and "forward/single/logits" in wrong.stdout, "an expected logit that is 0.01 off fails")
        for what, (cls, config, word) in REFUSED.items():
            folder = work / what.replace(" ", "-")
            cls(config).save_pretrained(folder)
            done = run(TESTS / "model_tool_save", folder, work / "refused")
            check(done.returncode == 1 and word in done.stderr and "config.json" in done.stderr, f"{what}: {done.stderr.strip()}")


main()
sys.exit(failures > 0)
