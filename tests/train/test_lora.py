"""Low-rank adapters against PEFT: its loader reads what evenhand saved, gives the logits of the merged model, and training
on from the same first values it gets the same losses and factors; the same bits on 1, 2 and 4 ranks, and after a stop."""
import json
import os
import subprocess

import safetensors.torch
import torch

from reference import *

try:
    import peft
except ImportError:
    print("SKIPPED TEST: no peft: tests/setup_python.sh installs it")
    sys.exit(0)
STEPS, RATE = 4, 5e-3
TRAIN = (f"epochs: {STEPS}, batch: 64, micro_batches: 4, lr: {RATE}, schedule: constant, weight_decay: 0.01, clip: 1, dropout: 0, "
         "method: lora, lora_rank: 3, lora_alpha: 7")
# Model, targets, and how many modules that makes (all-linear: of PEFT's own counting).
CASES = [("bloom-a", None, 2), ("bloom-a", "all-linear", 8), ("gpt2-a", "c_attn,mlp.c_proj", 4), ("t5-a", None, None),
         ("t5-a", "q+k+wi_0+wo", None), ("bert-mlm", None, 4), ("bert-mlm", "key,*.1.output.dense", 3), ("roberta-mlm", "all-linear", None)]


def adapted(folder, base, trainable):
    return peft.PeftModel.from_pretrained(open_model(MODELS + base), folder, is_trainable=trainable)


def factors(model):
    return {name.replace(".default", ""): p for name, p in model.named_parameters() if "lora_" in name}


def reference_training(model, rows):
    model.eval()
    optimizer = torch.optim.AdamW(list(factors(model).values()), lr=RATE, weight_decay=0.01)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = mean_loss(model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(factors(model).values()), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def weights(output, what="adapter/adapter_model"):
    with open(f"{output}/{what}.safetensors", "rb") as file:
        return file.read()


def one_case(number, base, targets, count):
    name = f"{base}-{number}"
    what = f"{base}, {targets or 'default'}"
    path = job(name, base, TRAIN + (f', lora_targets: "{targets}"' if targets else ""))
    output = f"{WORK}/{name}"
    rows = examples(output, "pairs")
    finetune(path, "--set", "train.epochs=0", "--force")
    start = f"{WORK}/{name}-start"
    shutil.copytree(output + "/adapter", start)
    message = finetune(path, "--force")
    config = json.load(open(output + "/adapter/adapter_config.json"))
    check(count is None or len(config["target_modules"]) == count, f"{what}: {len(config['target_modules'])} layers are adapted")

    first = factors(adapted(start, base, True))
    saved = {n: v for n, v in safetensors.torch.load_file(start + "/adapter_model.safetensors").items()}
    check(set(first) == set(saved), f"{what}: PEFT's names")
    check(all(v.abs().max() == 0 for n, v in saved.items() if "lora_B" in n), f"{what}: B begins as 0")
    check(all(0.9 < v.abs().max() * v.shape[1] ** 0.5 <= 1 for n, v in saved.items() if "lora_A" in n),
          f"{what}: A begins uniform within 1/sqrt(inputs)")
    if targets in (None, "all-linear"):
        ours = peft.LoraConfig(r=3, target_modules=targets, task_type=config["task_type"])
        theirs = factors(peft.get_peft_model(open_model(MODELS + base), ours))
        missing = {n for n in set(theirs) ^ set(saved) if "lm_head" not in n}
        check(not missing, f"{what}: the layers that PEFT chooses {sorted(missing)[:2]}")

    with torch.no_grad():
        model = adapted(output + "/adapter", base, False).eval()
        merged = open_model(output + "/model", base)
        plain = open_model(MODELS + base)
        pairs = [(label_logits(model, row)[0], label_logits(merged, row)[0], label_logits(plain, row)[0]) for row in rows[:4]]
    close(torch.cat([a for a, _, _ in pairs]), torch.cat([b for _, b, _ in pairs]), 2e-4, f"{what}: logits of adapter and merged model")
    check(max((b - c).abs().max().item() for _, b, c in pairs) > 1e-3, f"{what}: they are not the starting model's")

    trained = adapted(start, base, True)
    losses = reference_training(trained, rows)
    close(column(output, "loss"), losses, 2e-4, f"{what}: losses of PEFT's training")
    after = safetensors.torch.load_file(output + "/adapter/adapter_model.safetensors")
    # A factor whose gradient is rounding alone (the keys', seen by a softmax) goes anywhere under Adam: most must agree.
    error = torch.cat([(after[n] - p.detach()).abs().flatten() for n, p in factors(trained).items()])
    check((error < 5e-4).float().mean().item() > 0.98, f"{what}: factors after {STEPS} steps, {(error < 5e-4).float().mean():.4f} within 5e-4")
    number = sum(v.numel() for v in after.values())
    check(f" {number} trained weights" in message, f"{what}: trained weights are counted")
    base_tensors = safetensors.torch.load_file(MODELS + base + "/model.safetensors") if os.path.exists(MODELS + base + "/model.safetensors") else {}
    merged = safetensors.torch.load_file(output + "/model/model.safetensors")
    layers = [n.replace("base_model.model.", "").rsplit(".lora_", 1)[0] + ".weight" for n in after]
    # A model's own file may leave its prefix out.
    untouched = [n for n in base_tensors if n in merged and not any(l.endswith(n) or n.endswith(l) for l in layers)]
    check(not base_tensors or (len(untouched) > 5 and all(torch.equal(base_tensors[n].float(), merged[n]) for n in untouched)),
          f"{what}: {len(untouched)} other weights stay bit for bit")


def on_ranks():
    path = job("ranks", "t5-a", TRAIN.replace("batch: 64", "batch: 5").replace("dropout: 0", "dropout: 0.1"))
    outputs = {}
    for ranks in (1, 2, 4):
        finetune(path, "--force", ranks=ranks)
        outputs[ranks] = weights(f"{WORK}/ranks"), weights(f"{WORK}/ranks", "model/model")
        shutil.rmtree(f"{WORK}/ranks/checkpoints")
    check(outputs[1] == outputs[2] == outputs[4], "1, 2 and 4 ranks: the same bits")
    finetune(path, "--force", "--set", "precision=bf16", ranks=2)
    half = column(f"{WORK}/ranks", "loss")
    shutil.rmtree(f"{WORK}/ranks/checkpoints")
    finetune(path, "--force")
    whole = column(f"{WORK}/ranks", "loss")
    check(len(whole) > 8 and max(abs(a / b - 1) for a, b in zip(half, whole)) < 0.02, "bf16: the losses of fp32 within 2 %")
    shutil.rmtree(f"{WORK}/ranks/checkpoints")
    # Stopped after two steps of 12, by a checkpoint that the rest goes on from.
    finetune(path, "--force", "--set", "checkpoint.minutes=0.00001", ranks=2)
    steps = sorted(glob.glob(f"{WORK}/ranks/checkpoints/*.safetensors"))
    check(os.path.getsize(steps[0]) < os.path.getsize(f"{WORK}/ranks/model/model.safetensors") // 2, "a checkpoint holds the factors only")
    os.remove(steps[-1])
    shutil.rmtree(f"{WORK}/ranks/adapter")
    message = finetune(path, "--force", ranks=1)
    check("going on from" in message, "a killed training goes on")
    check((weights(f"{WORK}/ranks"), weights(f"{WORK}/ranks", "model/model")) == outputs[1], "with the same bits")


def scored(path, *more):
    """The model's digest and every column of floats that phase after has for it."""
    code, error = program("evaluate", path, "--phase", "after", "--force", *more, ranks=2)
    if code != 0:
        sys.exit(f"evaluate: exit {code}\n{error}")
    with h5py.File(path.replace(".yaml", "/scores-after.h5")) as file:
        columns = []
        file.visititems(lambda name, item: columns.append((name, item[...])) if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" else None)
        return file.attrs["model_sha256"], columns


def unmerged(base, precision, zero):
    data = f'{{name: pairs, format: crows-pairs, path: "{PAIRS}", use: both, task: gap-fill, limit: 12}}'
    path = job(f"{base}-unmerged", base, TRAIN, data, top="evaluate: [{metric: crows-pairs}]\n")
    model = f"{WORK}/{base}-unmerged/model"
    same = ["--set", f"precision={precision}", "--set", f"memory.zero={zero}"]
    finetune(path, *same, "--force", ranks=2)
    whole, whole_scores = scored(path, *same)
    merged = open_model(model, base)
    apart = [*same, "--set", "train.merge=false"]
    finetune(path, *apart, "--force", ranks=2)
    names = set(os.listdir(model))
    check({"adapter_config.json", "adapter_model.safetensors", "config.json", "tokenizer.json"} <= names and "model.safetensors" not in names,
          f"{base}, merge: false: the factors alone are saved, whole weights of before are gone")
    digest, scores = scored(path, *apart)
    check(digest == whole, f"{base}, {precision}: merged in memory it is the saved model, bit for bit")
    check(len(scores) > 0 and len(scores) == len(whole_scores) and
          all(a == b and np.array_equal(x, y, equal_nan=True) for (a, x), (b, y) in zip(scores, whole_scores)),
          f"{base}, {precision}: {len(scores)} columns of scores bit for bit")
    with torch.no_grad():
        pairs = [(label_logits(adapted(model, base, False).eval(), row)[0], label_logits(merged, row)[0])
                 for row in examples(f"{WORK}/{base}-unmerged", "pairs")[:2]]
    close(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]), 2e-4, f"{base}: PEFT opens the folder")
    finetune(path, *same, "--force", ranks=2)
    check("adapter_config.json" not in os.listdir(model) and scored(path, *same)[0] == whole, f"{base}, merge: true again: whole weights alone")
    return path, model, apart


def unreadable(path, model, apart):
    finetune(path, *apart, "--force")
    with open(model + "/adapter_config.json") as file:
        config = json.load(file)
    with open(model + "/adapter_config.json", "w") as file:
        json.dump(config | {"use_dora": True}, file)
    code, error = program("evaluate", path, "--phase", "after", "--force", *apart)
    check(code == 2 and "use_dora" in error, "an adapter that is more than LoRA: exit 2, named")


def refusals():
    path = job("wrong", "bloom-a", TRAIN + ', lora_targets: "query_key_value,lm_head"')
    code, error = program("finetune", path, ranks=2)
    check(code == 2 and "'lm_head' fits no linear layer" in error, "a target that fits nothing: exit 2, named")
    check(error.count("lm_head") == 1, "told once")


for i, case in enumerate(CASES):
    one_case(i, *case)
on_ranks()
unmerged("bert-mlm", "bf16", 0)
unreadable(*unmerged("gpt2-a", "fp32", 3))
refusals()
finish()
