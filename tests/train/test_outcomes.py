"""How a training ends: the weights that are chosen from a trajectory, early or late; fp16 with its skipped steps; a NaN that
one rank alone meets; jumps of the loss."""
import re

import safetensors.torch
import torch

from reference import *

TEXT = ["The workers in the north of the city were tired.", "She reads a letter every morning.", "A river runs through it.",
        "They had never seen the sea before.", "The doctor and the nurse talked about the weather.", "Bread is made of flour.",
        "Every bridge was closed by snow.", "He found the key under a stone.", "It rained for a week.", "The train was late."]


def rows_of(output):
    with open(f"{output}/metrics.csv") as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


def weights(output):
    with open(f"{output}/model/model.safetensors", "rb") as file:
        return file.read()


def held_out_loss(output, name):
    with torch.no_grad():
        return mean_loss(open_model(output + "/model", "bloom-a"),
                         [[[], a + b] if name == "text" else [a, b] for a, b in examples(output, name, split=1)]).item()


def selection():
    with open(f"{WORK}/text.txt", "w") as file:
        file.write("\n".join(TEXT) + "\n")
    data = [f'{{name: pairs, format: crows-pairs, path: "{PAIRS}", use: train, task: gap-fill, limit: 40, holdout: 0.3}}',
            f'{{name: text, format: text, path: "{WORK}/text.txt", use: train, task: lm, replay: 1.0e-9, holdout: 0.4}}']
    train = "epochs: 12, batch: 10, micro_batches: 4, lr: 3.0e-3, schedule: constant, dropout: 0, evaluate_every: 3"
    path = job("select", "bloom-a", train, data, "switches: {select: held-out}\n")
    output = f"{WORK}/select"
    finetune(path, ranks=2)
    measured = [r for r in rows_of(output) if r["holdout_loss"] is not None]
    check(measured[0]["step"] == 0 and measured[0]["loss"] is None, "the starting weights are measured")
    best = min(measured, key=lambda r: r["holdout_loss"])
    check(0 < best["step"] < measured[-1]["step"], f"the best of {len(measured)} is neither first nor last (step {best['step']:.0f})")
    close(held_out_loss(output, "pairs"), best["holdout_loss"], 1e-4, "held-out: the weights of the best step are kept")

    message = finetune(path, "--force", "--set", "train.patience=2", ranks=3)
    ended = rows_of(output)[-1]["step"]
    after = [r["step"] for r in measured if r["step"] > best["step"]]
    check(ended == after[1] and "ended after step" in message, f"patience 2: ends at the second measurement after the best, step {ended:.0f}")
    close(held_out_loss(output, "pairs"), best["holdout_loss"], 1e-4, "patience: the same weights are kept")

    start = measured[0]["general_loss"]
    allowed = [r for r in measured if r["general_loss"] <= 1.02 * start]
    wanted = min(allowed, key=lambda r: r["holdout_loss"])
    message = finetune(path, "--force", "--set", "switches.select=task-and-capability")
    check(wanted["step"] != best["step"] or len(allowed) < len(measured), f"{len(allowed)} of {len(measured)} keep the floor")
    close(held_out_loss(output, "pairs"), wanted["holdout_loss"], 1e-4, f"floor: the weights of step {wanted['step']:.0f} are kept")
    close(held_out_loss(output, "text"), wanted["general_loss"], 1e-4, "floor: with their loss on general text")
    check([r["step"] for r in rows_of(output)] == [0] + list(range(1, int(measured[-1]["step"]) + 1)), "floor: the whole trajectory is there")
    check(f"the weights of step {wanted['step']:.0f} are kept" in message, "floor: it says which")

    code, error = program("finetune", job("floorless", "bloom-a", train, data[:1], "switches: {select: task-and-capability}\n"), ranks=2)
    check(code == 2 and error.count("needs held-out examples of the task and of general text") == 1, "no general text: exit 2, told once")


def half():
    train = "epochs: 4, batch: 4, micro_batches: 4, lr: 1.0e-3, schedule: constant, dropout: 0"
    for model in ("bloom-a", "t5-a", "bert-mlm"):
        path = job(f"{model}-half", model, train)
        output = f"{WORK}/{model}-half"
        finetune(path)
        whole = column(output, "loss")
        check(column(output, "loss_scale") == [], f"{model}, fp32: no loss scale")
        finetune(path, "--force", "--set", "precision=fp16")
        found = column(output, "loss")
        check(len(whole) == len(found) == 12 and max(abs(a / b - 1) for a, b in zip(found, whole)) < 0.02, f"{model}, fp16: the losses of fp32 within 2 %")
        check(set(column(output, "loss_scale")) == {65536.0}, f"{model}, fp16: nothing overflows")
        shutil.rmtree(output + "/checkpoints")

    path, output = f"{WORK}/bloom-a-half.yaml", f"{WORK}/bloom-a-half"
    high = ["--force", "--set", "precision=fp16", "--set", "train.loss_scale=3e8", "--set", "train.epochs=6"]
    message = finetune(path, *high)
    skipped = [r for r in rows_of(output) if r["grad_norm"] is None]
    check(1 <= len(skipped) <= 14 and rows_of(output)[0]["grad_norm"] is None, f"a scale of 2^28: {len(skipped)} steps are skipped")
    check(len(re.findall("is skipped: it overflowed fp16", message)) == len(skipped), "each is told once")
    check(rows_of(output)[len(skipped)]["loss_scale"] == 2.0 ** (28 - len(skipped)), "the scale halves each time")
    alone = weights(output)
    shutil.rmtree(output + "/checkpoints")
    finetune(path, *high, ranks=3)
    check(weights(output) == alone, "three ranks skip alike: the same bits")
    shutil.rmtree(output + "/checkpoints")
    finetune(path, *high, "--set", "checkpoint.minutes=0.00001", ranks=2)
    os.remove(sorted(glob.glob(output + "/checkpoints/*"))[-1])
    shutil.rmtree(output + "/model")
    check("going on from" in finetune(path, *high) and weights(output) == alone, "and so does a killed and resumed run")


def wide_feed_forward():
    """T5's feed-forward passes fp16's range: this one by far, its result being small."""
    folder = f"{WORK}/wide"
    shutil.copytree(MODELS + "t5-a", folder)
    tensors = safetensors.torch.load_file(folder + "/model.safetensors")
    for name in tensors:
        if "wi_" in name:
            tensors[name] = tensors[name] * 2000
        if name.endswith(".wo.weight"):
            tensors[name] = tensors[name] / 4e6
    safetensors.torch.save_file(tensors, folder + "/model.safetensors", {"format": "pt"})
    train = "epochs: 2, batch: 4, micro_batches: 2, lr: 0, schedule: constant, dropout: 0"
    path = job("wide-run", "t5-a", train)
    more = ["--force", "--set", f"model.path={folder}"]
    finetune(path, *more)
    whole = column(f"{WORK}/wide-run", "loss")
    finetune(path, *more, "--set", "precision=fp16", "--set", "train.loss_scale=1")
    close(column(f"{WORK}/wide-run", "loss"), whole, 0.02 * max(whole), "T5, fp16: feed-forwards beyond 65504")


def nan_on_one_rank():
    """T5's embedding is not its output layer: a NaN there is met by those who read the word."""
    folder = f"{WORK}/nan"
    shutil.copytree(MODELS + "t5-a", folder)
    train = "epochs: 3, batch: 12, micro_batches: 4, lr: 1.0e-3, dropout: 0"
    path = job("nan-run", "t5-a", train)
    rows = examples(f"{WORK}/nan-run", "pairs")
    words = [set(inputs) | set(targets) for inputs, targets in rows]
    own = next(w for inputs, _ in rows for w in inputs if sum(w in other for other in words) == 1)
    tensors = safetensors.torch.load_file(folder + "/model.safetensors")
    tensors["shared.weight"][own] = float("nan")
    safetensors.torch.save_file(tensors, folder + "/model.safetensors", {"format": "pt"})
    for ranks in (1, 4):
        code, error = program("finetune", path, "--force", "--set", f"model.path={folder}", ranks=ranks)
        check(code == 2 and error.count("training diverged") == 1, f"a NaN of one micro-batch, {ranks} ranks: exit 2, told once")
        check(not os.path.exists(f"{WORK}/nan-run/model"), "no model is left")


def spikes():
    path = job("spikes", "bloom-a", "epochs: 6, batch: 3, lr: 0.3, schedule: constant, dropout: 0, clip: 0")
    message = finetune(path, ranks=2)
    average, wanted = 0, 0
    for loss in column(f"{WORK}/spikes", "loss"):
        wanted += average > 0 and loss > 2 * average
        average = 0.9 * average + 0.1 * loss if average > 0 else loss
    check(wanted > 0 and message.count("the loss jumped to") == wanted, f"{wanted} jumps of the loss are told")


selection()
half()
wide_feed_forward()
nan_on_one_rank()
spikes()
finish()
