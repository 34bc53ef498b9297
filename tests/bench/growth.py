"""How cost grows, from the lines that tests/bench/run.sh's grow-*, data-* and decode-* cases left:
growth.py LINES.jsonl...

With the model: seconds by the clock fitted as c weights^b over all sizes (least squares of the logarithms), and what a
weight and token cost at each size. With the data: a step's seconds and the peak of memory beside the first case's. With a
text's length: the seconds of one more token of one text, and at what speed that reads all weights once.
"""
import json
import math
import os
import sys


def read(paths):
    for path in paths:
        name = os.path.basename(path).removesuffix(".jsonl")
        with open(path) as f:
            yield name, json.loads(f.readline())


def fit(points):
    """Slope and factor of y = factor x^slope, and the largest relative distance of a point from it."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    factor = math.exp(mean_y - slope * mean_x)
    return slope, factor, max(abs(y / (factor * x ** slope) - 1) for x, y in points)


def main():
    lines = list(read(sys.argv[1:]))
    models = sorted((line["weights"], line) for name, line in lines if name.startswith("grow-"))
    texts = {name: line for name, line in lines if name.startswith("decode-")}
    data = [(line["examples"], line) for name, line in lines if name.startswith("data-")]
    if len(models) > 1:
        print("| weights | s a step | of the processor | ns a weight and token | peak, bytes a weight |\n|---|---|---|---|---|")
        for weights, line in models:
            print(f"| {weights / 1e6:.1f} M | {line['seconds']['median']:.3g} | {line['processor']['median']:.3g} | "
                  f"{line['processor']['best'] * line['threads'] / weights / line['tokens'] * 1e9:.3f} | "
                  f"{line['peak_gib'] * 2**30 / weights:.1f} |")
        for what in "seconds", "processor":
            slope, factor, off = fit([(weights, line[what]["median"]) for weights, line in models])
            print(f"\n{what}: {factor * 1e6 ** slope:.3g} s x (weights / 1 M)^{slope:.2f}, no size more than {off:.0%} off")
    if len(data) > 1:
        print("\n| examples | us a token | of the processor | peak GiB |\n|---|---|---|---|")
        for examples, line in sorted(data, key=lambda pair: pair[0]):
            print(f"| {examples} | {line['seconds']['median'] / line['mean_tokens'] * 1e6:.1f} | "
                  f"{line['processor']['median'] / line['mean_tokens'] * 1e6:.1f} | {line['peak_gib']:.4g} |")
    print_decoding(texts)


def print_decoding(texts):
    """Cases come in twos that differ in the number of new tokens alone, with which their names end."""
    pairs = {}
    for name, line in texts.items():
        pairs.setdefault(name.rpartition("-")[0], []).append(line)
    if pairs:
        print("\n| one text, token by token | ms a token | weights read at, GB/s |\n|---|---|---|")
    for name, (few, many) in ((n, sorted(p, key=lambda line: line["new_tokens"])) for n, p in pairs.items() if len(p) == 2):
        seconds = (many["seconds"]["median"] - few["seconds"]["median"]) / (many["new_tokens"] - few["new_tokens"])
        size = many["weights"] * (2 if many["precision"] == "bf16" else 4)
        print(f"| {name.removeprefix('decode-')} | {seconds * 1e3:.3g} | {size / seconds / 1e9:.1f} |")


if __name__ == "__main__":
    main()
