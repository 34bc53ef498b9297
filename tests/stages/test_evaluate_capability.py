"""Capability on the oracle's models: the divergence from the base model and multiple choice against transformers; the
same bits whatever the batch and the ranks; what is longer than the model's context."""
import json
import os
import shutil

import numpy as np
import torch
import transformers
from metrics_common import DATA, MODELS, WORK, check, end, job, measure, rows, run

torch.set_num_threads(1)
torch.set_grad_enabled(False)
AUTO = {"bloom-a": transformers.AutoModelForCausalLM, "gpt2-a": transformers.AutoModelForCausalLM,
        "t5-a": transformers.AutoModelForSeq2SeqLM, "bert-mlm": transformers.AutoModelForMaskedLM}


def load(path, name):
    return AUTO[name].from_pretrained(path, dtype=torch.float32).eval()


def disturbed(name):
    """A copy of an oracle model with noise on its weights: the tuned model."""
    from safetensors.torch import load_file, save_file
    folder = f"{WORK}/{name}-tuned"
    shutil.copytree(MODELS + name, folder)
    torch.manual_seed(1)
    weights = load_file(folder + "/model.safetensors")
    for key, w in weights.items():
        if w.dtype.is_floating_point:
            w += 0.05 * w.std(unbiased=False).nan_to_num() * torch.randn_like(w)
    save_file(weights, folder + "/model.safetensors", metadata={"format": "pt"})
    return folder


def kl(p, q):
    p, q = torch.log_softmax(p.double(), -1), torch.log_softmax(q.double(), -1)
    return (p.exp() * (p - q)).sum(-1)


def test_kl(name):
    texts = open(f"{WORK}/text.txt", encoding="utf-8").read().split("\n")[:-1]
    path = job("kl-" + name, MODELS + name, [f"{{name: text, format: text, path: {WORK}/text.txt, use: evaluate, task: none}}"],
               ["{metric: capability, protocol: kl}"])
    measure(path)
    before = rows(f"{WORK}/kl-{name}/scores-before.h5", "capability/kl")
    check(bool((before["kl"] == 0).all() and (before["tokens"] > 0).all()), f"{name}: the base model is 0 from itself")
    shutil.copytree(disturbed(name), f"{WORK}/kl-{name}/model")
    measure(path, "after", tokenize=False)
    after = rows(f"{WORK}/kl-{name}/scores-after.h5", "capability/kl")
    if name == "t5-a":  # which spans are corrupted is ours; the perplexity test checks them
        check(bool((after["kl"] > 0).all()), f"{name}: the tuned model is away from the base")
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS + name)
    base, tuned = load(MODELS + name, name), load(f"{WORK}/{name}-tuned", name)
    wanted, most = [], []
    for text in texts:
        if name == "bert-mlm":
            ids = tokenizer(text)["input_ids"]
            values = []
            for i in range(1, len(ids) - 1):
                hidden = torch.tensor([ids[:i] + [tokenizer.mask_token_id] + ids[i + 1:]])
                values.append(kl(base(hidden).logits[0, i], tuned(hidden).logits[0, i]))
            values = torch.stack(values)
        else:
            start = base.config.bos_token_id
            ids = torch.tensor([[start] + tokenizer(text, add_special_tokens=False)["input_ids"]])[:, :-1]
            values = kl(base(ids).logits[0], tuned(ids).logits[0])
        wanted.append(values.sum().item())
        most.append(values.max().item())
    error = np.abs(after["kl"] - wanted).max() / max(wanted)
    check(bool(error < 1e-4 and min(wanted) > 1e-3), f"{name}: KL of {len(texts)} texts, greatest relative error {error:.2g}")
    check(bool(np.allclose(after["kl_maximum"], most, rtol=1e-3)), f"{name}: and of their worst tokens")


QUESTIONS = [
    {"id": "a", "group": "short", "prompt": "Question: What colour is the sky?\nAnswer:", "choices": ["green", "blue", "a very long red"], "answer": 1},
    {"id": "b", "group": "short", "prompt": "One and one is", "choices": ["two", "three"], "answer": "two"},
    {"id": "c", "group": "short", "prompt": "Which is an animal?", "choices": ["stone", "river", "dog", "house"], "answer": "C"},
    {"id": "d", "group": "long", "prompt": "word " * 300 + "Which?", "choices": ["this", "that one"], "answer": 0},
]


def test_choice(name):
    with open(f"{WORK}/questions.jsonl", "w") as f:
        f.write("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    path = job("choice-" + name, MODELS + name, [f"{{name: q, format: jsonl, path: {WORK}/questions.jsonl, use: evaluate, task: none}}"],
               ["{metric: capability}"])
    done = measure(path)
    scores = f"{WORK}/choice-{name}/scores-before.h5"
    found = rows(scores, "capability/multiple-choice")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS + name)
    model = load(MODELS + name, name)
    longest = {"gpt2-a": model.config.max_position_embeddings if name == "gpt2-a" else 0}.get(name, 0)
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]

    def score(prompt, choice):
        if name == "t5-a":
            source = tokenizer(prompt)["input_ids"] if prompt is not None else [model.config.eos_token_id]
            target = tokenizer(choice)["input_ids"]
            logits = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).logits[0]
            return torch.log_softmax(logits.double(), -1)[range(len(target)), target].sum().item()
        context = [model.config.bos_token_id] + (encode(prompt) if prompt is not None else [])
        target = encode(" " + choice)
        if longest and len(context) + len(target) - 1 > longest:  # the rule: the oldest tokens go, the start stays
            context = context[:1] + context[1 + len(context) + len(target) - 1 - longest:]
        logits = model(torch.tensor([(context + target)[:-1]])).logits[0, len(context) - 1:]
        return torch.log_softmax(logits.double(), -1)[range(len(target)), target].sum().item()

    for i, q in enumerate(QUESTIONS):
        for column, prompt in (("log_likelihoods", q["prompt"]), ("log_likelihoods_no_context", None)):
            wanted = [score(prompt, c) for c in q["choices"]]
            mine = [float(x) for x in found[column][i].split()]
            check(np.allclose(mine, wanted, atol=2e-4), f"{name} question {q['id']} {column}: {mine} {wanted}")
            norm = [w / len(c.encode()) for w, c in zip(wanted, q["choices"])]
            more = "_no_context" if prompt is None else ""
            check(found["chosen" + more][i] == int(np.argmax(wanted)) and found["chosen_norm" + more][i] == int(np.argmax(norm)),
                  f"{name} question {q['id']}: the greatest is chosen")
    check(list(found["answer"]) == [1, 0, 2, 0], "answers by index, text and letter")
    if longest:
        cut = found["cut"]
        check(bool((cut[:3] == 0).all() and cut[3] > 0) and "lost the oldest tokens" in done.stderr, f"{name}: {cut[3]} tokens cut, and told")
    else:
        check(not found["cut"].any(), f"{name}: nothing is cut without a bound")
    return scores, path


def same_bits(a, b, table):
    x, y = rows(a, table), rows(b, table)
    return all(np.array_equal(x[k], y[k], equal_nan=getattr(x[k], "dtype", np.dtype(int)).kind == "f") for k in x)


def test_batches(name):
    """One sequence at a time, or everything at once, on one rank or three: the same bits."""
    path = job("batch-" + name, MODELS + name,
               [f"{{name: text, format: text, path: {WORK}/text.txt, use: evaluate, task: none}}",
                f"{{name: items, format: stereoset, path: {DATA}stereoset/dev.json, use: evaluate, limit: 32}}",
                f"{{name: crows, format: crows-pairs, path: {DATA}crows_pairs/crows_pairs_anonymized.csv, use: evaluate, limit: 32}}"],
               ["{metric: stereoset}", "{metric: crows-pairs}", "{metric: perplexity}"])
    measure(path)
    scores, kept = f"{WORK}/batch-{name}/scores-before.h5", f"{WORK}/batch-{name}.h5"
    shutil.copy(scores, kept)
    for tokens, ranks in ((1, 1), (100000, 1), (64, 3)):
        done = run("evaluate", path, "--set", f"batch_tokens={tokens}", ranks=ranks)
        check(done.returncode == 0 and all(same_bits(kept, scores, t) for t in ("stereoset/likelihood", "crows-pairs/likelihood", "perplexity/held-out")),
              f"{name}: batches of {tokens} tokens on {ranks} ranks give the same bits {done.stderr[-200:] if done.returncode else ''}")


def test_refusals():
    path = job("masked", MODELS + "bert-mlm", [f"{{name: q, format: jsonl, path: {WORK}/questions.jsonl, use: evaluate, task: none}}"], ["{metric: capability}"])
    done = measure(path, expect=2)
    check("a masked model has none" in done.stderr, "multiple choice of a masked model is refused")
    with open(f"{WORK}/bad.jsonl", "w") as f:
        f.write('{"prompt": "x", "choices": ["a", "b"], "answer": 2}\n{"prompt": "x", "choices": ["a"], "answer": 0}\n{"prompt": "x", "choices": ["a", "b"], "answer": 1}\n')
    path = job("bad", MODELS + "bloom-a", [f"{{name: q, format: jsonl, path: {WORK}/bad.jsonl, use: evaluate, task: none}}"], ["{metric: capability}"])
    run("tokenize", path)
    rejected = open(f"{WORK}/bad/shards/q-rejected.csv").read()
    check(rejected.count("'choices' must be a list") == 2, "questions without a right answer are rejected: " + rejected)


def main():
    lines = [l for l in open(DATA + "corpus/war_and_peace/war_and_peace.txt", encoding="utf-8").read().split("\n") if len(l) > 40]
    with open(f"{WORK}/text.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(lines[:6]) + "\n")
    for name in AUTO:
        test_kl(name)
    for name in ("bloom-a", "gpt2-a", "t5-a"):
        test_choice(name)
    for name in ("bloom-a", "t5-a", "bert-mlm"):
        test_batches(name)
    test_refusals()
    end()


main()
