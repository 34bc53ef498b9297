"""Repetition penalty, n-grams that don't repeat, and a least length, token by token as transformers' generate on the
oracle's models: many prompts together here, each alone there."""
import os
import random
import subprocess
import sys

import torch
import transformers

TOOL = os.environ["EVENHAND_TESTS"] + "/model_tool_generate"
MODELS = os.environ["EVENHAND_SHARED"] + "/oracle/fixtures/models/"
if not os.path.isdir(MODELS):
    print("SKIPPED TEST: no oracle in EVENHAND_SHARED")
    sys.exit(0)
torch.set_num_threads(1)
torch.set_grad_enabled(False)
MOST = 24
failures = 0


def ours(name, prompts, penalty, ngram, least, eos):
    lines = "".join(" ".join(map(str, p)) + "\n" for p in prompts)
    done = subprocess.run([TOOL, MODELS + name, str(penalty), str(ngram), str(least), str(MOST), str(eos)], input=lines,
                          capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def theirs(model, prompt, penalty, ngram, least, eos):
    out = model.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                         do_sample=False, max_new_tokens=MOST, min_new_tokens=least, repetition_penalty=penalty,
                         no_repeat_ngram_size=ngram, eos_token_id=eos, pad_token_id=0)[0].tolist()
    out = out[1:] if model.config.is_encoder_decoder else out[len(prompt):]
    return [str(i) for i in (out[:-1] if out[-1] == eos else out)] + (["eos"] if out[-1] == eos else [])


for name in ("bloom-a", "bloom-b", "gpt2-a", "t5-a"):
    auto = transformers.AutoModelForSeq2SeqLM if name.startswith("t5") else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(MODELS + name, dtype=torch.float32).eval()
    chance = random.Random(name)
    prompts = [[chance.randrange(10, 400) for _ in range(length)] for length in (1, 2, 5, 9, 17, 40)]
    eos = int(ours(name, prompts[2:3], 1, 0, 0, -1)[0][3])  # a token that the third text has early
    ended = 0
    for penalty, ngram, least in ((1, 0, 0), (1.3, 0, 0), (0.7, 0, 0), (1, 2, 0), (1, 3, 0), (1, 0, 11), (1.2, 2, 11)):
        found = ours(name, prompts, penalty, ngram, least, eos)
        wanted = [theirs(model, p, penalty, ngram, least, eos) for p in prompts]
        ended += sum(text[-1] == "eos" for text in wanted)
        same = sum(a == b for a, b in zip(found, wanted, strict=True))
        failures += same != len(prompts)
        print("ok    " if same == len(prompts) else "FAILED",
              f"{name} penalty {penalty} n-gram {ngram} least {least}: {same} of {len(prompts)} texts are transformers'")
    failures += ended == 0
    print("ok    " if ended else "FAILED", f"{name}: {ended} texts ended by token {eos}")
sys.exit(failures > 0)
