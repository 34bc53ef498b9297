"""The penalties against forgetting (train.kl, train.l2, train.fisher) against PyTorch: the same losses, divergences and
weights after a few steps in which every example takes part; what they are for; the same bits on 1, 2 and 4 ranks."""
import copy

import safetensors.torch
import torch

from reference import *

STEPS, RATE = 5, 2e-3
TRAIN = f"epochs: {STEPS}, batch: 64, micro_batches: 4, lr: {RATE}, schedule: constant, weight_decay: 0.01, clip: 1, dropout: 0"
TEXT = ["The workers in the north of the city were tired.", "She reads a letter every morning.", "A river runs through it.",
        "They had never seen the sea before.", "The doctor and the nurse talked about the weather.", "Bread is made of flour."]


def divergence(model, start, rows):
    """Sum of KL(start || model) over all labels, and their number."""
    total, count = 0, 0
    for row in rows:
        log_p = torch.log_softmax(label_logits(model, row)[0], -1)
        with torch.no_grad():
            log_q = torch.log_softmax(label_logits(start, row)[0], -1)
        total = total + (log_q.exp() * (log_q - log_p)).sum()
        count += len(log_p)
    return total / count


def fisher_of(model, rows):
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for row in rows:
        model.zero_grad()
        logits, ids = label_logits(model, row)
        torch.nn.functional.cross_entropy(logits, ids, reduction="sum").backward()
        for name, p in model.named_parameters():
            sums[name] += p.grad ** 2 / len(rows)
    model.zero_grad()
    return sums


def reference_training(base, rows, kl=0.0, l2=0.0, importance=None):
    model = open_model(MODELS + base)
    start = copy.deepcopy(model)
    first = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(decay_groups(model, 0.01), lr=RATE)
    losses, divergences = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = mean_loss(model, rows)
        away = divergence(model, start, rows) if kl else torch.tensor(0.0)
        pull = sum(((1 if importance is None else importance[name]) * (p - first[name]) ** 2).sum()
                   for name, p in model.named_parameters()) if l2 else 0
        (loss + kl * away + l2 / 2 * pull).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        divergences.append(away.item())
    return model, losses, divergences


def compare_weights(output, model, what):
    saved = safetensors.torch.load_file(output + "/model/model.safetensors")
    # The keys' biases have a gradient of rounding alone, which Adam turns into steps of any size (oracle/README.md).
    errors = torch.cat([(saved[name] - p.detach()).abs().flatten() for name, p in model.named_parameters()
                        if name in saved and "query_key_value.bias" not in name and "key.bias" not in name and "c_attn.bias" not in name])
    share = (errors < 3e-4).float().mean().item()
    check(len(errors) > 50000 and share > 0.995, f"{what}: weights after {STEPS} steps, {share:.5f} within 3e-4")


def distance(output, base):
    first = dict(open_model(MODELS + base).named_parameters())
    saved = safetensors.torch.load_file(output + "/model/model.safetensors")
    return sum(((saved[n] - p.detach()) ** 2).sum().item() for n, p in first.items() if n in saved) ** 0.5


def near(base):
    path = job(f"{base}-kl", base, TRAIN + ", kl: 0.7")
    output = f"{WORK}/{base}-kl"
    finetune(path)
    model, losses, divergences = reference_training(base, examples(output, "pairs"), kl=0.7)
    close(column(output, "loss"), losses, 3e-4, f"{base}, kl: losses")
    close(column(output, "kl"), divergences, 3e-4, f"{base}, kl: divergences")
    check(column(output, "kl")[0] < 1e-6, f"{base}, kl: 0 before the first step")
    compare_weights(output, model, f"{base}, kl")
    held = column(output, "kl")[-1]
    finetune(path, "--force", "--set", "train.kl=1e-9")
    free = column(output, "kl")[-1]
    check(held < 0.8 * free, f"{base}, kl: it keeps the model near ({held:.4f} of {free:.4f} nats without)")


def put(base):
    path = job(f"{base}-l2", base, TRAIN + ", l2: 20")
    output = f"{WORK}/{base}-l2"
    finetune(path)
    model, losses, _ = reference_training(base, examples(output, "pairs"), l2=20)
    close(column(output, "loss"), losses, 3e-4, f"{base}, l2: losses")
    compare_weights(output, model, f"{base}, l2")
    check(column(output, "kl") == [], f"{base}, l2: no divergence is measured")
    held = distance(output, base)
    finetune(path, "--force", "--set", "train.l2=0")
    check(held < 0.8 * distance(output, base), f"{base}, l2: it keeps the weights near")


def elastic():
    with open(f"{WORK}/text.txt", "w") as file:
        file.write("\n".join(TEXT) + "\n")
    data = [f'{{name: pairs, format: crows-pairs, path: "{PAIRS}", use: train, task: gap-fill, limit: 12}}',
            f'{{name: text, format: text, path: "{WORK}/text.txt", use: train, task: lm, replay: 0.3333}}']
    train = TRAIN.replace("batch: 64", "batch: 18") + ", l2: 2, fisher: 100"
    path = job("ewc", "bloom-a", train, data)
    output = f"{WORK}/ewc"
    finetune(path)
    text = [[[], ids + target] for ids, target in examples(output, "text")]
    check(len(text) == len(TEXT), "ewc: all texts are there")
    importance = fisher_of(open_model(MODELS + "bloom-a"), text)
    model, losses, _ = reference_training("bloom-a", examples(output, "pairs") + text, l2=2, importance=importance)
    close(column(output, "loss"), losses, 5e-4, "ewc: losses")
    compare_weights(output, model, "ewc")
    plain, _, _ = reference_training("bloom-a", examples(output, "pairs") + text)
    moved = sum(((p - q) ** 2).sum().item() for p, q in zip(model.parameters(), plain.parameters())) ** 0.5
    check(moved > 1e-2, "ewc: the pull is felt")

    digests = set()
    for ranks in (1, 2, 4):
        finetune(path, "--force", "--set", "train.kl=0.3", "--set", "train.fisher=5", "--set", "train.batch=6", ranks=ranks)
        digests.add(open(output + "/model/model.safetensors", "rb").read())
        shutil.rmtree(output + "/checkpoints")
    check(len(digests) == 1, "kl, l2 and fisher on 1, 2 and 4 ranks: the same bits")
    finetune(path, "--force", "--set", "train.kl=0.3", "--set", "train.fisher=5", "--set", "train.batch=6", "--set",
             "checkpoint.minutes=0.00001", ranks=2)
    os.remove(sorted(glob.glob(output + "/checkpoints/*"))[-1])
    shutil.rmtree(output + "/model")
    message = finetune(path, "--force", "--set", "train.kl=0.3", "--set", "train.fisher=5", "--set", "train.batch=6")
    check("going on from" in message, "a killed training goes on")
    check(open(output + "/model/model.safetensors", "rb").read() in digests, "and ends with the same bits")


def adapters():
    path = job("lora-kl", "t5-a", TRAIN + ", kl: 0.5, method: lora")
    finetune(path, ranks=2)
    away = column(f"{WORK}/lora-kl", "kl")
    check(away[0] < 1e-6 < 1e-4 < away[-1], f"lora, kl: from the starting model itself ({away[-1]:.4f} nats at last)")


def refusals():
    path = job("wrong", "bloom-a", TRAIN)
    code, error = program("finetune", path, "--force", "--set", "train.l2=1", "--set", "train.fisher=10", ranks=2)
    check(code == 2 and error.count("train.fisher needs general text") == 1, "fisher without replayed text: exit 2, told once")
    code, error = program("finetune", path, "--force", "--set", "memory.zero=2", "--set", "train.l2=1", "--set", "train.fisher=10", ranks=2)
    check(code == 2 and "train.fisher takes memory.zero: 1 at most" in error, "fisher with divided gradients: exit 2")


for base in ("bloom-a", "t5-a", "bert-mlm"):
    near(base)
for base in ("gpt2-a", "t5-a"):
    put(base)
elastic()
adapters()
refusals()
finish()
