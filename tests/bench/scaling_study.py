"""Reads the JSON lines of exchange.c and scaling.sh and prints the tables of slurm/SCALING.md: what was measured, the
communication model fitted to it, and the step times of up to 1,024 ranks that it gives."""
import json
import sys

WEIGHTS, LAYERS, HIDDEN, WORDS = 559_214_592, 24, 1024, 250_880  # bloomz-560m's shape
TOKENS = 512  # of a micro-batch
BENCH_WEIGHTS = 6 * (12 * 384 * 384)  # matrices of scaling.sh's model, which every token is multiplied with


def fit(points):
    """seconds = latency + bytes / bandwidth, least squares of the relative error."""
    s = [sum(x) for x in zip(*((1 / t**2, n / t**2, n * n / t**2, 1 / t, n / t) for n, t in points))]
    det = s[0] * s[2] - s[1] ** 2
    latency, per_byte = (s[3] * s[2] - s[4] * s[1]) / det, (s[0] * s[4] - s[1] * s[3]) / det
    worst = max(abs((latency + per_byte * n) / t - 1) for n, t in points)
    return max(latency, min(t for _, t in points) / 4), 1 / per_byte, worst


def step(ranks, micro_batches, micro_seconds, latency, bandwidth, level, overlap):
    """One step. Each round, a rank sends every other rank its stretch of each unit's gradient and receives as much
    (src/comm/split_reducer.c); weights come back, once a step at level 2, a layer's twice a round at level 3 in bf16."""
    rounds = -(-micro_batches // ranks)
    compute = rounds * micro_seconds
    if ranks == 1:
        return compute
    units = LAYERS + 2
    share = (ranks - 1) / ranks
    messages = units * (ranks - 1) * latency / 8  # to all others, eight under way at a time
    gradients = rounds * (4 * WEIGHTS * share / bandwidth + messages)
    if level == 2:
        weights = 4 * WEIGHTS * share / bandwidth + messages
    else:
        layers = WEIGHTS - WORDS * HIDDEN
        weights = rounds * 2 * (2 * layers * share / bandwidth + messages) + 2 * WORDS * HIDDEN * share / bandwidth
    behind = min(gradients + weights, compute * 2 / 3) if overlap else 0  # the backward pass is two thirds
    return compute + gradients + weights - behind


def main():
    lines = [json.loads(line) for line in open(sys.argv[1])]
    networks = {}
    for line in lines:
        if line["bench"] == "exchange":
            networks.setdefault(line["network"], []).append((line["bytes"], line["seconds"]))
    runs = {line["run"]: line for line in lines if line["bench"] == "scaling"}

    print("| run | tokens/s | processor seconds |\n|---|---:|---:|")
    for name, run in runs.items():
        print(f"| {name} | {run['tokens_per_second']:.0f} | {run['cpu_seconds']:.1f} |")
    one, two = runs["strong1"], runs["strong2"]
    print(f"\nStrong scaling, equal global batch: {two['tokens_per_second'] / one['tokens_per_second']:.2f}x in tokens/s; "
          f"{2 * one['cpu_seconds'] / two['cpu_seconds']:.2f}x by processor seconds (two ranks' work, waiting included, "
          "against one's).")
    if "beside1" in runs:
        beside = runs["beside1"]["tokens_per_second"] + runs["beside2"]["tokens_per_second"]
        print(f"Two runs of one rank side by side, which is what the machine allows: {beside / one['tokens_per_second']:.2f}x one "
              f"alone; two ranks get {two['tokens_per_second'] / beside:.1%} of that.")
    if "weak2" in runs:
        print(f"Weak scaling: {runs['weak2']['tokens_per_second'] / one['tokens_per_second']:.2f}x the tokens/s with twice "
              "the batch.")
    print()

    print("| network | bytes | measured, us | fitted, us |\n|---|---:|---:|---:|")
    fits = {}
    for name, points in networks.items():
        latency, bandwidth, worst = fits[name] = fit(points)
        for n, t in points:
            print(f"| {name} | {n} | {t * 1e6:.1f} | {(latency + n / bandwidth) * 1e6:.1f} |")
    print()
    for name, (latency, bandwidth, worst) in fits.items():
        print(f"- {name}: {latency * 1e6:.1f} us + bytes / {bandwidth * 1e-9:.2f} GB/s, off by at most {worst * 100:.0f} %")

    flops = 6 * BENCH_WEIGHTS * one["tokens_per_second"]
    products = 6 * (12 * HIDDEN * HIDDEN * LAYERS) * TOKENS
    scenarios = {
        f"measured here: {flops * 1e-9:.1f} GFLOP/s a rank, TCP as fitted": (products / flops, *fits["tcp"][:2]),
        "assumed: 346 TFLOP/s a rank (H100 as `evenhand plan` takes it), 5 us and 50 GB/s": (products / 346e12, 5e-6, 50e9),
    }
    for name, (micro, latency, bandwidth) in scenarios.items():
        for kind in ("strong, 1,024 micro-batches a step", "weak, one micro-batch a rank"):
            print(f"\n**{kind}; {name}**\n")
            print("| ranks | zero 2 | zero 2, behind | zero 3 | zero 3, behind |\n|---:|---:|---:|---:|---:|")
            for ranks in (1, 2, 4, 16, 64, 256, 1024):
                batches, cells = 1024 if kind.startswith("strong") else ranks, []
                for level in (2, 3):
                    for overlap in (False, True):
                        seconds = step(ranks, batches, micro, latency, bandwidth, level, overlap)
                        cells.append(f"{seconds:.3g} s ({batches * micro / ranks / seconds * 100:.0f} %)")
                print(f"| {ranks} | " + " | ".join(cells) + " |")


main()
