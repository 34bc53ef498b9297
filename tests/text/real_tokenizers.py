"""tokenizer.json files of the real vocabularies in $EVENHAND_SHARED/datasets, built with the reference library."""

import json
import os
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def shared() -> Path:
    return Path(os.environ["EVENHAND_SHARED"])


def gpt2_merges() -> list[tuple[str, str]]:
    lines = (shared() / "datasets/tokenizers/gpt2/vocab.bpe").read_text(encoding="utf-8").split("\n")
    return [tuple(line.split(" ")) for line in lines[1:] if line]


def gpt2() -> Tokenizer:
    vocab = json.loads((shared() / "datasets/tokenizers/gpt2/encoder.json").read_text(encoding="utf-8"))
    t = Tokenizer(models.BPE(vocab, gpt2_merges(), continuing_subword_prefix="", end_of_word_suffix=""))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
    return t


def roberta() -> Tokenizer:
    vocab = json.loads((shared() / "datasets/tokenizers/roberta/vocab_derived.json").read_text(encoding="utf-8"))
    merges = [(a, b) for a, b in gpt2_merges() if a in vocab and b in vocab and a + b in vocab]
    t = Tokenizer(models.BPE(vocab, merges, continuing_subword_prefix="", end_of_word_suffix=""))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, normalized=True) for x in ("<s>", "<pad>", "</s>", "<unk>")])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return t


def bloom(model: models.Model | None = None) -> Tokenizer:
    """BLOOM's pipeline around GPT-2's vocabulary (BLOOM's own is not here) or another one."""
    if model is None:
        vocab = json.loads((shared() / "datasets/tokenizers/gpt2/encoder.json").read_text(encoding="utf-8"))
        model = models.BPE(vocab, gpt2_merges())
    t = Tokenizer(model)
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(BLOOM), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, normalized=False) for x in ("<unk>", "<s>", "</s>", "<pad>")])
    return t


def bert(lowercase: bool = True) -> Tokenizer:
    """Uncased, or the cased pipeline around the uncased vocabulary: the cased one is not here."""
    lines = (shared() / "datasets/tokenizers/bert-base-uncased/vocab.txt").read_text(encoding="utf-8").split("\n")
    vocab = {token: i for i, token in enumerate(lines) if token}
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    t.decoder = decoders.WordPiece()
    t.add_special_tokens([AddedToken(x) for x in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    return t


def t5() -> Tokenizer:
    return Tokenizer.from_file(str(shared() / "datasets/tokenizers/t5/tokenizer.json"))


def t5_hub() -> Tokenizer:
    """The pre-tokenizer of the published T5 files: WhitespaceSplit, then Metaspace; the map alone as normalizer."""
    data = json.loads(t5().to_str())
    data["normalizer"] = next(n for n in data["normalizer"]["normalizers"] if n["type"] == "Precompiled")
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, meta]}
    return Tokenizer.from_str(json.dumps(data))


def t5_bytes() -> Tokenizer:
    """T5 with byte tokens and byte fall-back, as newer sentencepiece models have them."""
    data = json.loads(t5().to_str())
    model = data["model"]
    model["byte_fallback"] = True
    model["vocab"] += [[f"<0x{byte:02X}>", 0.0] for byte in range(256)]
    meta = data["decoder"]
    data["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, meta, {"type": "Fuse"}]}
    return Tokenizer.from_str(json.dumps(data))


ALL = {
    "gpt2": gpt2,
    "roberta": roberta,
    "bloom": bloom,
    "bert-uncased": bert,
    "bert-cased": lambda: bert(False),
    "t5": t5,
    "t5-hub": t5_hub,
    "t5-bytes": t5_bytes,
}


def large() -> Tokenizer:
    """BLOOM's size: 250,680 tokens and as many merges, made up; its letters are those of the byte alphabet."""
    random = Random(2023)
    vocab = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    short, merges = list(vocab), []
    while len(vocab) < 250_680:
        left, right = random.choice(short), random.choice(short)
        if left + right not in vocab:
            vocab[left + right] = len(vocab)
            merges.append((left, right))
            if len(left + right) <= 8:
                short.append(left + right)
    return bloom(models.BPE(vocab, merges))
