"""The real vocabularies against the reference library: ids, offsets and decoded text of every sentence of the data sets
and of 100,000 fuzzed strings each; other pipelines on 5,000 or 2,000 of both. EVENHAND_FUZZ_STRINGS changes the number,
EVENHAND_FUZZ_SEED the strings."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path

import numpy as np

if not Path(os.environ["EVENHAND_SHARED"]).exists():
    print("SKIPPED TEST: the data sets are not here")
    sys.exit(0)
sys.path.insert(0, str(Path(__file__).parent))
import real_tokenizers

TOOL = Path(os.environ["EVENHAND_TESTS"]) / "text_tool_tokenizer"
STRINGS = int(os.environ.get("EVENHAND_FUZZ_STRINGS", 100_000))
SEED = int(os.environ.get("EVENHAND_FUZZ_SEED", 1))


def span(*ranges) -> np.ndarray:
    return np.concatenate([np.arange(a, b + 1) for a, b in ranges])


PLANES = np.setdiff1d(span((0, 0x10FFFF)), span((0xD800, 0xDFFF)))
ASCII = span((0x20, 0x7E))
LETTERS = span((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x5D0, 0x5EA), (0x620, 0x64A))
MARKS = span((0x300, 0x36F), (0x591, 0x5BD), (0x64B, 0x65F), (0x93A, 0x94D), (0x1AB0, 0x1ACE), (0x20D0, 0x20F0), (0x3099, 0x309A))
CONTROLS = span((0, 0x1F), (0x7F, 0xA0), (0xAD, 0xAD), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFD))
SPACES = span((9, 13), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000))
INDIC = span((0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xD00, 0xD7F), (0xE00, 0xE7F), (0x1000, 0x109F))
EAST = span((0x1100, 0x11FF), (0x3041, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xB000), (0x20000, 0x20010), (0xFF01, 0xFFEF))
COMPATIBLE = span((0x2100, 0x218B), (0x2460, 0x24FF), (0x3200, 0x33FF), (0xFB00, 0xFB4F), (0xFE30, 0xFE6F), (0x1D400, 0x1D4FF), (0xF900, 0xFA60))
EMOJI = span((0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF), (0x1F468, 0x1F469), (0x200D, 0x200D), (0xFE0F, 0xFE0F), (0x1F600, 0x1F64F), (0x2764, 0x2764))
PUNCTUATION = span((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0x2010, 0x2027), (0x3001, 0x3003), (0x61D, 0x61D), (0x2E40, 0x2E5D), (0x964, 0x965), (0x60C, 0x60C), (0x6D4, 0x6D4))
KINDS = [
    [(PLANES, 1.0)],
    [(LETTERS, 0.8), (SPACES, 0.2)],
    [(LETTERS, 0.45), (MARKS, 0.45), (ASCII, 0.1)],
    [(CONTROLS, 0.4), (ASCII, 0.4), (SPACES, 0.2)],
    [(ASCII, 1.0)],
    [(SPACES, 0.6), (ASCII, 0.3), (CONTROLS, 0.1)],
    [(INDIC, 0.8), (MARKS, 0.1), (ASCII, 0.1)],
    [(EAST, 0.8), (MARKS, 0.1), (ASCII, 0.1)],
    [(COMPATIBLE, 0.5), (ASCII, 0.3), (MARKS, 0.2)],
    [(EMOJI, 0.8), (ASCII, 0.2)],
    [(PUNCTUATION, 0.5), (ASCII, 0.4), (SPACES, 0.1)],
    [(span((0x61, 0x7A)), 1.0)],
]
PIECES = (
    "'s|'t|'re|'ve|'m|'ll|'d|'S|'LL|can't|<mask>| <mask>|  <mask> |<s>|</s>|<pad>|<unk>|<|endoftext|>|[CLS]|[SEP]|[MASK]"
    "|[UNK]|[mask]|<extra_id_0>|<extra_id_99>|<extra_id_1|▁|▁▁|##ing|\r\n|\n\n|\t|  |   | |…|a(b)|c|İ|ﬁ|ﬁ́|Ω|²½Ⅷ|"
    "don't|the|The|nurse|woman's|3.14|1,000|http://a.b/c?d=e|日本語|안녕|é|ệ|\u0301|\u0000|\ufffd|\u200d|👨‍👩‍👧|naïve|ÅNGSTRÖM"
)


def fuzzed(count: int) -> list[str]:
    random = np.random.default_rng(SEED)
    pieces = PIECES.replace("<|endoftext|>", "<\x01>").split("|")
    pieces = [p.replace("<\x01>", "<|endoftext|>") for p in pieces] + ["|"]
    strings = []
    for kind in KINDS:
        many = count // (len(KINDS) + 3)
        lengths = random.integers(1, 40, many)
        total = int(lengths.sum())
        which = random.choice(len(kind), total, p=[share for _, share in kind])
        points = np.zeros(total, np.uint32)
        for i, (alphabet, _) in enumerate(kind):
            points[which == i] = random.choice(alphabet, int((which == i).sum()))
        text = points.astype("<u4").tobytes().decode("utf-32-le")
        ends = list(accumulate(lengths.tolist()))
        strings += [text[begin:end] for begin, end in zip([0, *ends], ends)]
    runs = count // (len(KINDS) + 3)
    for _ in range(runs):  # runs of one character or a few, with and without spaces
        some = "".join(map(chr, random.choice(np.concatenate([ASCII, LETTERS, EAST[:600], MARKS]), random.integers(1, 4))))
        strings.append((some * int(random.integers(2, 60))) + " " * int(random.integers(0, 3)))
    while len(strings) < count:  # words, contractions and special tokens glued together
        strings.append("".join(random.choice(pieces, int(random.integers(1, 9)))))
    return strings


def sentences() -> list[str]:
    data = real_tokenizers.shared() / "datasets"
    texts = []
    with open(data / "crows_pairs/crows_pairs_anonymized.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            texts += [row["sent_more"], row["sent_less"]]
    dev = json.loads((data / "stereoset/dev.json").read_text(encoding="utf-8"))["data"]
    for part in dev.values():
        for item in part:
            texts += [item["context"]] + [s["sentence"] for s in item["sentences"]]
    with open(data / "realtoxicityprompts/val.jsonl", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            texts += [record["prompt"]["text"], record["continuation"]["text"]]
    for name in ("gender", "race", "profession", "religious_ideology", "political_ideology"):
        bold = json.loads((data / f"bold/{name}_prompt.json").read_text(encoding="utf-8"))
        texts += [p for group in bold.values() for prompts in group.values() for p in prompts]
    texts += (data / "corpus/war_and_peace/war_and_peace.txt").read_text(encoding="utf-8").split("\n")[:4000]
    return texts


def ours(path: str, texts: list[str]) -> list[tuple]:
    parts = []
    for text in texts:
        encoded = text.encode("utf-8")
        parts += [len(encoded).to_bytes(4, sys.byteorder), encoded]
    output = subprocess.run([TOOL, path], input=b"".join(parts), capture_output=True, check=True).stdout
    results, at = [], 0
    for _ in texts:
        count = int.from_bytes(output[at : at + 4], sys.byteorder, signed=True)
        assert count >= 0, output[at + 8 : at + 200]
        at += 4
        ids = np.frombuffer(output, np.int32, count, at)
        offsets = np.frombuffer(output, np.uint32, 2 * count, at + 4 * count).reshape(-1, 2)
        at += 12 * count
        size = int.from_bytes(output[at : at + 4], sys.byteorder)
        results.append((ids, offsets, output[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(output)
    return results


def in_characters(text: str, offsets: np.ndarray) -> list[tuple[int, int]]:
    """The reference counts characters; a place within one belongs to it."""
    if text.isascii():
        return [tuple(pair) for pair in offsets.tolist()]
    starts = np.cumsum([0] + [len(c.encode("utf-8")) for c in text])
    return [tuple(pair) for pair in np.searchsorted(starts, offsets).tolist()]


def check(name: str, tokenizer, path: str, texts: list[str], what: str) -> int:
    wrong = {"ids": 0, "offsets": 0, "decoded text": 0}
    shown = 0
    found = ours(path, texts)
    for first in range(0, len(texts), 5000):
        batch = texts[first : first + 5000]
        expected = tokenizer.encode_batch(batch)
        decoded = tokenizer.decode_batch([e.ids for e in expected])
        for text, want, plain, (ids, offsets, back) in zip(batch, expected, decoded, found[first : first + 5000]):
            for kind, got, wanted in (
                ("ids", ids.tolist(), want.ids),
                ("offsets", in_characters(text, offsets), want.offsets),
                ("decoded text", back.decode("utf-8"), plain),
            ):
                if got != wanted:
                    wrong[kind] += 1
                    shown += 1
                    if shown <= 5:
                        print(f"{name}: {kind} of {text!r} ({[hex(ord(c)) for c in text][:40]}):\n  found    {got}\n  expected {wanted}\n  {want.tokens}")
                    break
    print(f"{name}: {len(texts)} {what}: " + ", ".join(f"{n} wrong {kind}" for kind, n in wrong.items()))
    return sum(wrong.values())


INPUTS: dict[str, list[str]] = {}  # made once, before the processes part


def check_tokenizer(name: str) -> int:
    texts, strings = INPUTS["sentences"], INPUTS["strings"]
    if name not in real_tokenizers.MODELS:
        most = 5000 if name in real_tokenizers.VARIANTS else 2000
        texts, strings = texts[:: len(texts) // most], strings[:: max(1, STRINGS // most)]
    tokenizer = real_tokenizers.ALL[name]()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{name}.json"
        tokenizer.save(path)
        wrong = check(name, tokenizer, path, texts, "sentences")
        return wrong + check(name, tokenizer, path, strings, "fuzzed strings")


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # two processes of one thread each are quicker than two threads
    INPUTS["sentences"], INPUTS["strings"] = sentences(), fuzzed(STRINGS)
    assert len(INPUTS["sentences"]) > 35_000 and len(INPUTS["strings"]) == STRINGS
    with multiprocessing.get_context("fork").Pool(2) as pool:
        wrong = pool.map(check_tokenizer, sys.argv[1:] or list(real_tokenizers.ALL), chunksize=1)
    sys.exit(1 if sum(wrong) else 0)


main()
