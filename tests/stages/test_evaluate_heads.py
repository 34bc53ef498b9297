"""BERT's two heads from one folder: StereoSet within sentences by the masked head, between sentences by the next-sentence
head, before and after fine-tuning the former; the log-likelihoods are transformers', and so is the saved folder."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import transformers

BIN, SHARED, SOURCE = os.environ["EVENHAND_BIN"], os.environ["EVENHAND_SHARED"], os.environ["EVENHAND_SOURCE"]
MODELS, DEV = SHARED + "/oracle/fixtures/models/", SHARED + "/datasets/stereoset/dev.json"
if not os.path.isdir(MODELS) or not os.path.exists(DEV):
    print("SKIPPED TEST: no oracle or data sets in EVENHAND_SHARED")
    sys.exit(0)
torch.set_num_threads(1)
torch.set_grad_enabled(False)
WORK = tempfile.mkdtemp(prefix="evenhand-heads-")
LABELS = ("stereotype", "anti-stereotype", "unrelated")
failures = 0


def check(ok, what):
    global failures
    print("ok    " if ok else "FAILED", what)
    failures += not ok


def run(program, path, *more):
    return subprocess.run(["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-q", "-n", "2",
                           f"{BIN}/evenhand-{program}", path, *more], capture_output=True, text=True, timeout=300)


def write_job(name, model, entries):
    path = f"{WORK}/{name}.yaml"
    with open(path, "w") as f:
        f.write(f"name: {name}\noutput: {WORK}/{name}\nmodel: {{path: {model}}}\ndevice: cpu\nprecision: fp32\ndata:\n"
                f"  - {{name: pairs, format: crows-pairs, path: {SOURCE}/tests/data/pairs-20.csv, use: train, task: gap-fill}}\n"
                f"  - {{name: items, format: stereoset, path: {WORK}/dev.json, use: evaluate}}\n"
                f"train: {{epochs: 1, batch: 10, lr: 1.0e-3}}\nevaluate:\n{entries}")
    return path


def compare(phase, folder, items):
    model, info = transformers.BertForPreTraining.from_pretrained(folder, dtype=torch.float64, output_loading_info=True)
    check(not info["missing_keys"] and not info["unexpected_keys"], f"{phase}: {folder} holds both heads")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    file = h5py.File(f"{WORK}/both/scores-{phase}.h5")["stereoset"]
    masked, pairs = file["likelihood"], file["likelihood@items"]
    errors, at = [], {x.decode(): i for i, x in enumerate(pairs["id"])}
    columns = [c for c in pairs if c.startswith("nsp_log_likelihood")]
    check(len(columns) == 3 and "pll_tokens_stereotype" in masked, f"{phase}: each head has its columns: {columns}")
    for task, item in items:
        row = at[item["id"]]
        if task == "intrasentence":
            check(b"within a sentence" in pairs["reason"][row], f"{phase}: no next sentence in a sentence")
            continue
        for sentence in item["sentences"]:
            logits = model(**tokenizer(item["context"], sentence["sentence"], return_tensors="pt")).seq_relationship_logits
            label = sentence["gold_label"]
            column = "nsp_log_likelihood_" + label.replace("-", "_")
            errors.append(abs(float(torch.log_softmax(logits, -1)[0, 0]) - pairs[column][row]))
    check(len(errors) == 12 and np.max(errors) < 1e-4, f"{phase}: {len(errors)} next-sentence log-probabilities, greatest error {np.max(errors):.2g}")
    return pairs[columns[0]][...]


def main():
    dev = json.load(open(DEV))
    dev["data"] = {task: dev["data"][task][:4] for task in ("intersentence", "intrasentence")}
    items = [(task, item) for task in dev["data"] for item in dev["data"][task]]
    json.dump(dev, open(f"{WORK}/dev.json", "w"))
    torch.manual_seed(4)
    config = transformers.BertConfig.from_pretrained(MODELS + "bert-mlm")
    model = transformers.BertForPreTraining(config)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    model.save_pretrained(f"{WORK}/model")
    for name in os.listdir(MODELS + "bert-mlm"):
        if name not in ("config.json", "model.safetensors"):
            shutil.copy(MODELS + "bert-mlm/" + name, f"{WORK}/model")
    both = write_job("both", f"{WORK}/model", "  - {metric: stereoset, protocol: likelihood}\n"
                     "  - {metric: stereoset, protocol: likelihood, head: next-sentence}\n")
    for program, more in (("tokenize", []), ("evaluate", []), ("finetune", []), ("evaluate", ["--phase", "after"])):
        done = run(program, both, *more)
        check(done.returncode == 0, f"{program} {' '.join(more)} {done.stderr.strip()[-300:] if done.returncode else ''}")
    before, after = compare("before", f"{WORK}/model", items), compare("after", f"{WORK}/both/model", items)
    check(not np.array_equal(before, after, equal_nan=True), "the encoder below the next-sentence head was trained")
    entry = "  - {metric: stereoset, protocol: likelihood, head: next-sentence}\n"
    for name, words in (("bert-mlm", "is missing"), ("gpt2-a", "a gpt2 model has no head 'next-sentence'")):
        job = write_job(name, MODELS + name, entry)
        run("tokenize", job)
        done = run("evaluate", job)
        check(done.returncode == 2 and words in done.stderr, f"{name} has no such head: {done.stderr.strip()[-160:]}")
    print(f"{failures} failed")
    if failures == 0:
        shutil.rmtree(WORK)
    return failures > 0


sys.exit(main())
