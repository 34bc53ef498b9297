"""Tokens a second of Hugging Face Trainer on the examples of a shard, a row of gpu_step.sh's table.

usage: gpu_step.py CONFIG BATCH LENGTH STEPS OUR_RATE OUR_SHARE OUR_LOSS SHARDS
CONFIG: a flow mapping as in a job file; OUR_SHARE: of the GPU's peak in percent, or "unknown"; SHARDS: a folder of evenhand's.
A batch that does not fit is taken in halves, quarters, ... whose gradients Trainer adds up. Exit status 1 if its first loss is
not the one of random weights that OUR_LOSS is too: then the two did not do the same work.
"""
import glob
import os
import re
import sys
import time

import torch

small = bool(os.environ.get("EVENHAND_GPU_SMALL"))  # to try the script
if not torch.cuda.is_available() and not small:
    sys.exit("PyTorch here has no CUDA")
os.environ["HF_HUB_OFFLINE"] = "1"
import transformers as t


class Watch(t.TrainerCallback):
    def __init__(self):
        self.times, self.losses = [], []

    def on_step_end(self, *_, **__):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def on_log(self, *_, logs=None, **__):
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def examples(folder, length, count):
    """[count, length] token ids: those that evenhand trains on; random ones where h5py is missing."""
    try:
        import h5py
    except ImportError:
        return None
    rows = []
    for path in sorted(glob.glob(folder + "/*-of-*.h5")):
        with h5py.File(path) as f:
            inputs, targets, i, o = f["input_ids"][:], f["target_ids"][:], f["input_offsets"][:], f["target_offsets"][:]
        for k in range(len(i) - 1):
            row = list(inputs[i[k] : i[k + 1]]) + list(targets[o[k] : o[k + 1]])
            if len(row) >= length:
                rows.append([int(x) for x in row[:length]])
    return torch.tensor([rows[k % len(rows)] for k in range(count)]) if rows else None


def train(config, data, batch, parts, steps, device):
    torch.manual_seed(1)
    with torch.device(device):
        model = t.BloomForCausalLM(t.BloomConfig(**config))
    bf16 = device == "cuda" and torch.cuda.get_device_capability()[0] >= 8
    watch = Watch()
    arguments = t.TrainingArguments("out-hf", per_device_train_batch_size=batch // parts, gradient_accumulation_steps=parts,
                                    max_steps=steps, learning_rate=1e-5, bf16=bf16, fp16=device == "cuda" and not bf16,
                                    optim="adamw_torch_fused" if device == "cuda" else "adamw_torch", save_strategy="no",
                                    logging_strategy="steps", logging_steps=1, report_to=[], disable_tqdm=True, use_cpu=device == "cpu")
    t.Trainer(model, arguments, train_dataset=data, callbacks=[watch]).train()
    return watch


def main():
    config = {key: int(value) for key, value in re.findall(r"(\w+): (\d+)", sys.argv[1])}
    batch, length, steps, ours = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    share, our_loss = sys.argv[6], float(sys.argv[7])
    ids = examples(sys.argv[8], length, batch * (steps + 1))
    tokens = "the same tokens"
    if ids is None:
        ids, tokens = torch.randint(0, config["vocab_size"], (batch * (steps + 1), length)), "random tokens"
    data = [{"input_ids": row, "labels": row} for row in ids]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts, watch = 1, None
    while watch is None:
        try:
            watch = train(config, data, batch, parts, steps, device)
        except torch.cuda.OutOfMemoryError:
            if parts >= batch:
                raise
        if watch is None:  # out here: the exception held the tensors
            torch.cuda.empty_cache()
            parts *= 2
    half = [b - a for a, b in zip(watch.times, watch.times[1:])][steps // 2 :]
    rate = batch * length / sorted(half)[len(half) // 2]
    mine = f"{float(share) * rate / ours:.1f} %" if share != "unknown" else share
    name = f"Hugging Face Trainer {t.__version__}, PyTorch {torch.__version__}, {tokens}" + (f", in {parts} parts" if parts > 1 else "")
    print(f"| {batch} x {length} | {name} | {rate:.0f} | {mine} | {watch.losses[0]:.3f} | evenhand is {ours / rate:.2f} x |")
    if not abs(watch.losses[0] - our_loss) < 0.2:
        sys.exit(f"the first losses differ: {watch.losses[0]:.3f} and evenhand's {our_loss:.3f}")


main()
