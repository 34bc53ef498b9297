"""Trainings of evenhand-finetune beside the same ones in PyTorch: jobs on the oracle's tiny models, the examples of their
shards, and a plain loop with torch's optimizers. Used by the tests of this folder."""
import csv
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import h5py
import numpy as np
import torch
import transformers

BIN = os.environ["EVENHAND_BIN"]
SHARED = os.environ["EVENHAND_SHARED"]
MODELS = SHARED + "/oracle/fixtures/models/"
PAIRS = SHARED + "/datasets/crows_pairs/crows_pairs_anonymized.csv"
MPIRUN = "mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n".split()
CLASSES = {"bloom-a": transformers.AutoModelForCausalLM, "gpt2-a": transformers.AutoModelForCausalLM,
           "t5-a": transformers.AutoModelForSeq2SeqLM, "bert-mlm": transformers.AutoModelForMaskedLM,
           "roberta-mlm": transformers.AutoModelForMaskedLM}
MASKS = {"bert": 8, "roberta": 699}
if not os.path.isdir(MODELS):
    print("SKIPPED TEST: no oracle in EVENHAND_SHARED")
    sys.exit(0)
torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore")
WORK = tempfile.mkdtemp(prefix="evenhand-train-")
failures = 0


def check(ok, what):
    global failures
    print("ok    " if ok else "FAILED", what, flush=True)
    failures += not ok
    return ok


def close(found, expected, bound, what):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    error = np.abs(found - expected).max() if found.shape == expected.shape and found.size else np.inf
    check(bool(error <= bound), f"{what}: {found.size} values, greatest error {error:.2g} of {bound:.2g}")


def finish():
    shutil.rmtree(WORK)
    print(f"{failures} failed")
    sys.exit(failures > 0)


def program(name, *arguments, ranks=1):
    done = subprocess.run([*MPIRUN, str(ranks), f"{BIN}/evenhand-{name}", *arguments], capture_output=True, text=True,
                          timeout=240)
    return done.returncode, done.stderr


def job(name, model, train, data=None, top=""):
    """Writes a job and tokenizes its data; gives the job's path."""
    path = f"{WORK}/{name}.yaml"
    data = data or f'{{name: pairs, format: crows-pairs, path: "{PAIRS}", use: train, task: gap-fill, limit: 12}}'
    with open(path, "w") as file:
        file.write(f"name: {name}\noutput: {WORK}/{name}\ndevice: cpu\nprecision: fp32\n{top}model: {{path: {MODELS}{model}}}\n"
                   "data:\n" + "".join(f"  - {entry}\n" for entry in ([data] if isinstance(data, str) else data)) +
                   f"train: {{{train}}}\n")
    code, error = program("tokenize", path)
    if code != 0:
        sys.exit(error)
    return path


def finetune(path, *more, ranks=1):
    """Runs the training; ends the test with its message if it fails."""
    code, error = program("finetune", path, *more, ranks=ranks)
    if code != 0:
        sys.exit(f"finetune: exit {code}\n{error}")
    return error


def examples(output, name, split=0):
    """(input ids, target ids) of each training example."""
    rows = []
    for path in sorted(glob.glob(f"{output}/shards/{name}-0*.h5")):
        with h5py.File(path) as file:
            lists = [(file[f"{kind}_ids"][...].astype(int), file[f"{kind}_offsets"][...].astype(int))
                     for kind in ("input", "target")]
            for i, own in enumerate(file["split"][...]):
                if own == split:
                    rows.append([ids[offsets[i]:offsets[i + 1]].tolist() for ids, offsets in lists])
    return rows


def column(output, name):
    with open(f"{output}/metrics.csv") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def open_model(folder, kind=None, **more):
    name = kind or os.path.basename(folder)
    return CLASSES[name].from_pretrained(folder, dtype=torch.float32, **more).eval()


def label_logits(model, example):
    """Logits [labels, vocabulary] and ids [labels] of one example, without padding."""
    inputs, targets = example
    config = model.config
    if config.is_encoder_decoder:
        decoder = [config.decoder_start_token_id, *targets[:-1]]
        logits = model(input_ids=torch.tensor([inputs]), decoder_input_ids=torch.tensor([decoder])).logits[0]
        return logits, torch.tensor(targets)
    if config.model_type in ("bert", "roberta"):
        mask = MASKS[config.model_type]
        logits = model(input_ids=torch.tensor([inputs])).logits[0]
        rows = [i for i, token in enumerate(inputs) if token == mask][:len(targets)]
        return logits[rows], torch.tensor(targets)
    ids = inputs + targets
    first = len(inputs) if inputs else 1
    logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0, first - 1:]
    return logits, torch.tensor(ids[first:])


def mean_loss(model, rows):
    """Mean over the labels of all examples, as a tensor."""
    total, count = 0, 0
    for example in rows:
        logits, ids = label_logits(model, example)
        total = total + torch.nn.functional.cross_entropy(logits.float(), ids, reduction="sum")
        count += len(ids)
    return total / count


def decay_groups(model, weight_decay):
    """transformers.Trainer's: no decay on norms and biases."""
    norms = {f"{name}.{own}" for name, module in model.named_modules() for own, _ in module.named_parameters(recurse=False)
             if "norm" in type(module).__name__.lower()}
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if name in norms or "bias" in name]
    return [{"params": [p for name, p in trained if not (name in norms or "bias" in name)], "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0}]
