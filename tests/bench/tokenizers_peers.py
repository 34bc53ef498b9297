"""MB/s of evenhand's tokenizers beside the Hugging Face and sentencepiece libraries: one thread each, the same lines, in
turn in one run. usage: tokenizers_peers.py BENCH_TOKENIZERS [MEGABYTES [ROUNDS]]; needs $EVENHAND_SHARED. Prints Markdown.

Each round, evenhand passes over the text in a fresh process (so with an empty cache of words), then each peer encodes the
same lines (encode_batch_fast without special tokens, which skips offsets: its quickest; sentencepiece's encode). The median of the
rounds counts. Seconds are the processor's for all of them, so other work on the machine disturbs less. The numbers of tokens must be the same, or nothing is printed."""

import os

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sentencepiece

sys.path.insert(0, str(Path(__file__).parent.parent / "text"))
import real_tokenizers


def texts(size: int) -> dict[str, list[str]]:
    data = real_tokenizers.shared() / "datasets"
    prose = (data / "corpus/war_and_peace/war_and_peace.txt").read_text(encoding="utf-8").split("\n")
    prose = [line for line in prose if line.strip()]
    import csv

    with open(data / "crows_pairs/crows_pairs_anonymized.csv", newline="", encoding="utf-8") as file:
        short = [" ".join(row[key].split()) for row in csv.DictReader(file) for key in ("sent_more", "sent_less")]
    found = {}
    for name, lines in (("prose", prose), ("sentences", short)):
        bytes_once = sum(len(line.encode()) + 1 for line in lines)
        found[name] = lines * max(1, size // bytes_once)
    return found


def ours(program: str, tokenizer: str, text: str) -> tuple[int, float]:
    output = subprocess.run([program, tokenizer, text, "1"], stdout=subprocess.PIPE, text=True, check=True).stdout
    _, _, tokens, seconds = output.split("\n")[1].split()
    return int(tokens), float(seconds)


def measure(encode, lines: list[str]) -> tuple[int, float]:
    tokens, begin = 0, time.process_time()
    for first in range(0, len(lines), 4096):
        tokens += sum(map(len, encode(lines[first : first + 4096])))
    return tokens, time.process_time() - begin


def main() -> None:
    program = sys.argv[1]
    megabytes = float(sys.argv[2]) if len(sys.argv) > 2 else 3.3
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    kinds = {
        "byte-level BPE, GPT-2": ("gpt2", real_tokenizers.gpt2),
        "byte-level BPE, BLOOM's pattern": ("bloom", real_tokenizers.bloom),
        "WordPiece, BERT uncased": ("bert", real_tokenizers.bert),
        "Unigram, T5": ("t5", real_tokenizers.t5),
    }
    spm = sentencepiece.SentencePieceProcessor(
        model_file=str(real_tokenizers.shared() / "datasets/tokenizers/t5/spiece.model")
    )
    print("| tokenizer | text | evenhand MB/s | Hugging Face | ratio | sentencepiece | ratio |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, make) in kinds.items():
            tokenizer, path = make(), f"{folder}/{name}.json"
            tokenizer.save(path)
            for what, lines in texts(int(megabytes * 1e6)).items():
                text = Path(f"{folder}/{what}.txt")
                text.write_text("\n".join(lines), encoding="utf-8")
                size = text.stat().st_size / 1e6
                encoders = {"hf": lambda batch: tokenizer.encode_batch_fast(batch, add_special_tokens=False)}
                if name == "t5":
                    encoders["spm"] = lambda batch: spm.encode(batch, num_threads=1)
                seconds = {"ours": []} | {peer: [] for peer in encoders}
                for _ in range(rounds):
                    tokens, taken = ours(program, path, str(text))
                    seconds["ours"].append(taken)
                    for peer, encode in encoders.items():
                        count, taken = measure(encode, lines)
                        seconds[peer].append(taken)
                        if peer == "hf" and count != tokens:
                            sys.exit(f"{kind}, {what}: {tokens} tokens, the reference makes {count}")
                rate = {who: size / statistics.median(times) for who, times in seconds.items()}
                cells = [kind, what, f"{rate['ours']:.1f}", f"{rate['hf']:.2f}", f"**{rate['ours'] / rate['hf']:.1f}**"]
                cells += [f"{rate['spm']:.1f}", f"**{rate['ours'] / rate['spm']:.2f}**"] if "spm" in rate else ["", ""]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
