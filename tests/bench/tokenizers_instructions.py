"""Instructions that evenhand's tokenizers need, counted by valgrind's callgrind: the same on any day, whatever else the
machine does. usage: tokenizers_instructions.py BENCH_TOKENIZERS [KILOBYTES]; needs $EVENHAND_SHARED. Prints Markdown.

One pass over the text in a fresh process, so with an empty cache of words; opening the tokenizer is not counted."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "text")]
import real_tokenizers
from tokenizers_peers import texts


def count(program: str, tokenizer: str, text: str, out: str) -> tuple[int, int, list[str]]:
    """Instructions, tokens and the functions that need most, with their share."""
    words = ["valgrind", "--tool=callgrind", "--toggle-collect=eh_tokenizer_encode", f"--callgrind-out-file={out}"]
    output = subprocess.run([*words, program, tokenizer, text], capture_output=True, text=True, check=True).stdout
    instructions = int(re.search(r"^(?:totals|summary): (\d+)", Path(out).read_text(), re.M)[1])
    told = subprocess.run(["callgrind_annotate", out], capture_output=True, text=True, check=True).stdout
    dearest = re.findall(r"^\s*[\d,]+ \( ?([\d.]+)%\)\s+\S*?:(\w+)", told, re.M)[:3]
    return instructions, int(output.split("\n")[1].split()[2]), [f"{name} {share} %" for share, name in dearest]


def main() -> None:
    program, size = sys.argv[1], int(sys.argv[2]) * 1000 if len(sys.argv) > 2 else 300_000
    kinds = {
        "byte-level BPE, GPT-2": real_tokenizers.gpt2,
        "byte-level BPE, BLOOM's pattern": real_tokenizers.bloom,
        "WordPiece, BERT uncased": real_tokenizers.bert,
        "Unigram, T5": real_tokenizers.t5,
    }
    print("| tokenizer | text | instructions a byte | a token | most of them in |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, make in kinds.items():
            path, text = f"{folder}/tokenizer.json", Path(f"{folder}/text.txt")
            make().save(path)
            for what, lines in texts(size).items():
                text.write_text("\n".join(lines)[:size], encoding="utf-8")
                bytes_read = text.stat().st_size
                instructions, tokens, dearest = count(program, path, str(text), f"{folder}/out")
                cells = [kind, what, f"{instructions / bytes_read:.0f}", f"{instructions / tokens:.0f}", ", ".join(dearest)]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
