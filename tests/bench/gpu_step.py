"""Tokens a second of Hugging Face Trainer on random tokens, a row of gpu_step.sh's table.

usage: gpu_step.py CONFIG BATCH LENGTH STEPS OUR_RATE      CONFIG: a flow mapping as in a job file
"""
import re
import sys
import time

import torch

if not torch.cuda.is_available():
    sys.exit("PyTorch here has no CUDA")
import transformers as t


class Clock(t.TrainerCallback):
    def __init__(self):
        self.times = []

    def on_step_end(self, *_, **__):
        torch.cuda.synchronize()
        self.times.append(time.perf_counter())


def main():
    config = {key: int(value) for key, value in re.findall(r"(\w+): (\d+)", sys.argv[1])}
    batch, length, steps, ours = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    torch.manual_seed(1)
    model = t.BloomForCausalLM(t.BloomConfig(**config))
    ids = torch.randint(0, config["vocab_size"], (batch * (steps + 1), length))
    data = [{"input_ids": row, "labels": row} for row in ids]
    bf16 = torch.cuda.get_device_capability()[0] >= 8
    clock = Clock()
    arguments = t.TrainingArguments("out-hf", per_device_train_batch_size=batch, max_steps=steps, bf16=bf16, fp16=not bf16,
                                    optim="adamw_torch_fused", save_strategy="no", logging_strategy="no", report_to=[])
    t.Trainer(model, arguments, train_dataset=data, callbacks=[clock]).train()
    half = [b - a for a, b in zip(clock.times, clock.times[1:])][steps // 2:]
    rate = batch * length / sorted(half)[len(half) // 2]
    print(f"| {batch} x {length} | Hugging Face Trainer {t.__version__}, PyTorch {torch.__version__} | {rate:.0f} | evenhand is {ours / rate:.2f} x |")


main()
