"""Helper of test_oracle_large.c: `large_models.py NAME FOLDER` makes a model of random weights in the published shape of
NAME and what transformers computes from it on one batch, in the layout that `evenhand conform` reads."""

import sys
from pathlib import Path

import transformers as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
import make_golden  # noqa: E402

SHAPES = {
    "bloomz-560m": (tf.BloomForCausalLM, tf.BloomConfig(vocab_size=250880, hidden_size=1024, n_layer=24, n_head=16)),
    "flan-t5-small": (tf.T5ForConditionalGeneration,
                      tf.T5Config(vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6,
                                  feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0)),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config()),
    "bert-base": (tf.BertForMaskedLM, tf.BertConfig()),
}

# The golden models' larger spread would saturate a model of this width: the classes' own initialisation is kept.
make_golden.SPREAD = 0.0
make_golden.make(Path(sys.argv[2]), sys.argv[1], *SHAPES[sys.argv[1]])
