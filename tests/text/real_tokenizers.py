"""tokenizer.json files of the real vocabularies in $EVENHAND_SHARED/datasets, built with the reference library."""

import json
import os
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

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


def t5_first() -> Tokenizer:
    data = json.loads(t5().to_str())
    for part in ("pre_tokenizer", "decoder"):
        data[part]["prepend_scheme"] = "first"
    return Tokenizer.from_str(json.dumps(data))


def gpt2_spaced() -> Tokenizer:
    """GPT-2 with a space put before the text, trimmed offsets, and added tokens that are words."""
    data = json.loads(gpt2().to_str())
    data["pre_tokenizer"]["add_prefix_space"] = True
    data["post_processor"] |= {"add_prefix_space": True, "trim_offsets": True}
    word = {"id": 50300, "content": "nurse", "single_word": True, "lstrip": True, "rstrip": True}
    part = {"id": 50301, "content": "the", "single_word": False, "lstrip": False, "rstrip": True}
    data["added_tokens"] += [word | {"normalized": True, "special": False}, part | {"normalized": False, "special": False}]
    return Tokenizer.from_str(json.dumps(data))


def gpt2_split() -> Tokenizer:
    """Another regular expression, that of newer models, and whole words before merges."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    data = json.loads(gpt2().to_str())
    data["model"]["ignore_merges"] = True
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, data["pre_tokenizer"] | {"use_regex": False}]}
    data["post_processor"] = {"type": "Sequence", "processors": [data["post_processor"]]}
    return Tokenizer.from_str(json.dumps(data))


def bpe_letters() -> Tokenizer:
    """A BPE over characters with byte fall-back, the text one word, as sentencepiece's BPE models have it; trained here."""
    lines = (shared() / "datasets/corpus/tinyshakespeare/input.txt").read_text(encoding="utf-8").split("\n")[:4000]
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=special, show_progress=False)
    t.train_from_iterator((word for line in lines for word in line.split()), trainer)
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    data = json.loads(t.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 3]
    return Tokenizer.from_str(json.dumps(data))


MODELS = {
    "gpt2": gpt2,
    "roberta": roberta,
    "bloom": bloom,
    "bert-uncased": bert,
    "bert-cased": lambda: bert(False),
    "t5": t5,
    "t5-hub": t5_hub,
}
def bert_with(normalizer, pre_tokenizer) -> Tokenizer:
    """BERT's vocabulary behind another normalizer and pre-tokenizer."""
    t = bert()
    t.normalizer, t.pre_tokenizer = normalizer, pre_tokenizer
    return t


def t5_with(*steps) -> Tokenizer:
    t = t5()
    t.normalizer = normalizers.Sequence(list(steps))
    return t


def pipelines() -> dict:
    n, p = normalizers, pre_tokenizers
    found = {
        "nfc": lambda: t5_with(n.NFC()),
        "nfd": lambda: t5_with(n.NFD()),
        "nfkc": lambda: t5_with(n.NFKC(), n.Replace(Regex(" {2,}"), " ")),
        "nfkd": lambda: t5_with(n.NFKD()),
        "nmt": lambda: t5_with(n.Nmt(), n.NFKC()),
        "accents": lambda: t5_with(n.NFD(), n.StripAccents(), n.Lowercase()),
        "strips": lambda: t5_with(n.Strip(True, False), n.Prepend("x"), n.NFKC(), n.StripAccents(), n.Replace("e", "é"), n.NFC()),
        "bert-parts": lambda: bert_with(n.BertNormalizer(True, False, False, True), p.Whitespace()),
        "words": lambda: bert_with(n.Sequence([n.NFC(), n.Lowercase()]), p.Whitespace()),
        "digits": lambda: bert_with(n.Lowercase(), p.Sequence([p.WhitespaceSplit(), p.Digits(False), p.Punctuation()])),
        "digit": lambda: bert_with(n.NFKD(), p.Sequence([p.Digits(True), p.CharDelimiterSplit(" ")])),
    }
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        found["punctuation-" + behavior] = lambda b=behavior: bert_with(n.Lowercase(), p.Sequence([p.Punctuation(b), p.Whitespace()]))
        found["split-" + behavior] = lambda b=behavior: bert_with(
            n.Lowercase(), p.Sequence([p.Split(Regex("[aeiou]"), b, invert=b == "contiguous"), p.WhitespaceSplit()])
        )
    return found


VARIANTS = {
    "t5-bytes": t5_bytes,
    "t5-first": t5_first,
    "gpt2-spaced": gpt2_spaced,
    "gpt2-split": gpt2_split,
    "bpe-letters": bpe_letters,
}
PIPELINES = pipelines()
ALL = MODELS | VARIANTS | PIPELINES


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
