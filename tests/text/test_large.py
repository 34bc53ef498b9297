"""A vocabulary of BLOOM's size (250,680 tokens, made up) opens in under 300 ms, holds under 60 MB, and gives the reference's
ids; 300,000 letters without a space are cut as the reference does, in time that grows with the length."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if not Path(os.environ["EVENHAND_SHARED"]).exists():
    print("SKIPPED TEST: the data sets are not here")
    sys.exit(0)
sys.path.insert(0, str(Path(__file__).parent))
import numpy as np
import real_tokenizers

TOOL = Path(os.environ["EVENHAND_TESTS"]) / "text_tool_tokenizer"


def ours(path: str, text: str) -> tuple[list[int], float, float, int]:
    """Ids; seconds to open and to encode, bytes that the open tokenizer holds."""
    encoded = text.encode()
    answer = subprocess.run(
        [TOOL, path], input=len(encoded).to_bytes(4, sys.byteorder) + encoded, capture_output=True, check=True
    )
    count = int.from_bytes(answer.stdout[:4], sys.byteorder, signed=True)
    open_seconds, held, encode_seconds = answer.stderr.split()
    return np.frombuffer(answer.stdout, np.int32, count, 4).tolist(), float(open_seconds), float(encode_seconds), int(held)


def main() -> None:
    sanitized = os.environ.get("EVENHAND_SANITIZED") is not None
    prose = (real_tokenizers.shared() / "datasets/corpus/tinyshakespeare/input.txt").read_text(encoding="utf-8")[:300_000]
    failures = 0

    def check(holds: bool, what: str) -> None:
        nonlocal failures
        failures += not holds
        print(("ok: " if holds else "FAILED: ") + what)

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/large.json"
        large = real_tokenizers.large()
        large.save(path, pretty=False)
        runs = [ours(path, prose)]
        while min(run[1] for run in runs) >= 0.25 and len(runs) < 12:  # the machine may be busy
            runs.append(ours(path, prose[:100]))
        check(runs[0][0] == large.encode(prose).ids, f"{len(runs[0][0])} ids of 0.3 MB are the reference's")
        seconds, held = min(run[1] for run in runs), max(run[3] for run in runs)
        check(sanitized or seconds < 0.3, f"opened in {seconds:.3f} s (limit 0.3; {os.path.getsize(path) / 1e6:.1f} MB)")
        check(sanitized or held < 60e6, f"holds {held / 1e6:.1f} MB (limit 60)")
        for name in ("gpt2", "bert-uncased", "t5"):
            tokenizer = real_tokenizers.ALL[name]()
            tokenizer.save(path)
            word = "".join(c for c in 2 * prose if c.isalpha())[:300_000]  # one word for every pattern
            quarter, whole = (
                min((ours(path, part) for _ in range(3)), key=lambda run: run[2]) for part in (word[: len(word) // 4], word)
            )
            check(whole[0] == tokenizer.encode(word).ids, f"{name}: a word of {len(word)} letters has the reference's {len(whole[0])} ids")
            growth = whole[2] / quarter[2]  # 4 if the time is linear, 16 if it is quadratic
            check(sanitized or (growth < 8 and whole[2] < 1), f"{name}: {whole[2]:.3f} s for it, {growth:.1f} times the quarter's")
    sys.exit(1 if failures else 0)


main()
