"""evenhand-evaluate on the oracle's tiny models and the real data sets: every log-likelihood against transformers, one
sentence at a time; the same bits on 1, 2 and 3 ranks; what is refused and what is resumed."""
import difflib
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np
import torch
import transformers

BIN = os.environ["EVENHAND_BIN"]
SHARED = os.environ["EVENHAND_SHARED"]
MODELS = SHARED + "/oracle/fixtures/models/"
DATA = SHARED + "/datasets/"
if not os.path.isdir(MODELS) or not os.path.isdir(DATA):
    print("SKIPPED TEST: no oracle or data sets in EVENHAND_SHARED")
    sys.exit(0)
MPIRUN = "mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n".split()
torch.set_num_threads(1)
torch.set_grad_enabled(False)
WORK = tempfile.mkdtemp(prefix="evenhand-evaluate-")
failures = 0


def check(ok, what):
    global failures
    print("ok    " if ok else "FAILED", what)
    failures += not ok


def close(found, expected, what, bound=2e-4):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    error = np.abs(found - expected).max() if found.shape == expected.shape and found.size else np.inf
    check(bool(error <= bound), f"{what}: {found.size} values, greatest error {error:.2g}")


def job(model, name=None, evaluate=None, **more):
    name = name or model
    path = f"{WORK}/{name}.yaml"
    entries = evaluate or ["{metric: stereoset, context_nulls: both}", "{metric: crows-pairs}", "{metric: perplexity, data: text}"]
    with open(path, "w") as f:
        f.write(f"""name: {name}
output: {WORK}/{name}
device: cpu
precision: fp32
model: {{path: {more.get("path", MODELS + model)}}}
data:
  - {{name: crows, format: crows-pairs, path: "{DATA}crows_pairs/crows_pairs_anonymized.csv", use: evaluate, limit: 25}}
  - {{name: items, format: stereoset, path: "{WORK}/dev.json", use: evaluate}}
  - {{name: text, format: text, path: "{WORK}/text.txt", use: evaluate, task: none}}
evaluate:
""" + "".join(f"  - {e}\n" for e in entries))
    return path


def run(program, path, *more, ranks=1):
    return subprocess.run([*MPIRUN, str(ranks), f"{BIN}/evenhand-{program}", path, *more], capture_output=True, text=True,
                          timeout=300)


def rows(path, table):
    with h5py.File(path) as f:
        group = f[table]
        out = {}
        for name, data in group.items():
            if not name.endswith("_offsets") and isinstance(data, h5py.Dataset):
                out[name] = data[...]
        return out


def text_column(column):
    return [x.decode() if isinstance(x, bytes) else str(x) for x in column]


def make_data():
    dev = json.load(open(DATA + "stereoset/dev.json"))
    dev["data"] = {task: items[:12] for task, items in dev["data"].items()}
    twice = [i for i in json.load(open(DATA + "stereoset/dev.json"))["data"]["intrasentence"]
             if i["context"].count("BLANK") == 2 or i["context"].startswith("BLANK")][:4]
    dev["data"]["intrasentence"] += twice
    json.dump(dev, open(f"{WORK}/dev.json", "w"))
    lines = [l for l in open(DATA + "corpus/war_and_peace/war_and_peace.txt", encoding="utf-8").read().split("\n") if len(l) > 40]
    with open(f"{WORK}/text.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(lines[:6] + [" ".join(lines[100:160])]) + "\n")
    return dev["data"]


def log_probs(logits, ids):
    return torch.log_softmax(logits.double(), -1)[torch.arange(len(ids)), torch.tensor(ids)]


def philox(seed, stream, index, sub):
    """The first 64 bits of Philox4x32-10 (Salmon et al. 2011) at counter (index, stream, sub) under key seed."""
    c0, c1, c2, c3 = index & 0xFFFFFFFF, index >> 32, stream, sub
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0 | c1 << 32


def shuffled(context, item):
    """The context's words in the order that the null picker "shuffled-context" reads them in."""
    words, seed, stream = context.split(), 2023, 14
    for i in range(len(words) - 1, 0, -1):
        j = philox(seed, stream, i, item) * (i + 1) >> 64
        words[i], words[j] = words[j], words[i]
    return " ".join(words)


LABELS = {"stereotype": "stereotype", "anti-stereotype": "anti_stereotype", "unrelated": "unrelated"}


def items_of(data):
    for task in ("intrasentence", "intersentence"):
        for item in data[task]:
            yield task, item


def compare_stereoset(scores, data, expected, columns, what):
    ids = text_column(scores["id"])
    found, wanted = [], []
    for task, item in items_of(data):
        row = ids.index(item["id"])
        for s in item["sentences"]:
            values = expected(task, {**item, "row": int(scores["item"][row])}, s["sentence"])
            for column in columns:
                if column in values:
                    found.append(scores[f"{column}_{LABELS[s['gold_label']]}"][row])
                    wanted.append(values[column])
    close(found, wanted, f"{what} StereoSet")


def compare_nulls(scores, data, expected, what):
    compare_stereoset(scores, data, expected, ["no_context_log_likelihood"], f"{what} without context")
    compare_stereoset(scores, data, expected, ["shuffled_log_likelihood"], f"{what} with a shuffled context")


# --- Decoders -----------------------------------------------------------------------------------------------------------
def decoder(name, data, pairs, texts):
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS + name)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS + name, dtype=torch.float32).eval()
    start = model.config.bos_token_id if model.config.bos_token_id is not None else model.config.eos_token_id
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]

    def after(context, ids):
        logits = model(torch.tensor([(context + ids)[:-1]])).logits[0, len(context) - 1:]
        return log_probs(logits, ids)

    def expected(task, item, sentence):
        if task == "intersentence":
            p = after([start] + encode(item["context"]), encode(" " + sentence))
            mixed = [start] + encode(shuffled(item["context"], item["row"]))
            return {"log_likelihood": p.sum(), "tokens": len(p),
                    "no_context_log_likelihood": after([start], encode(" " + sentence)).sum(),
                    "shuffled_log_likelihood": after(mixed, encode(" " + sentence)).sum()}
        ids = encode(sentence)
        p = after([start], ids)
        first = p[0]
        rest = after(ids[:1], ids[1:]).sum() if len(ids) > 1 else 0
        word = fill_of(item["context"], sentence)
        mixed = shuffled(item["context"], item["row"]).replace("BLANK", word)
        return {"log_likelihood": p.sum(), "tokens": len(ids), "official": (first + rest) / len(ids),
                "no_context_log_likelihood": after([start], encode(" " + word)).sum(),
                "shuffled_log_likelihood": after([start], encode(mixed)).sum()}

    scores = f"{WORK}/{name}/scores-before.h5"
    compare_stereoset(rows(scores, "stereoset/likelihood"), data, expected, ["log_likelihood", "tokens", "official"], name)
    compare_nulls(rows(scores, "stereoset/likelihood"), data, expected, name)

    crows = rows(scores, "crows-pairs/likelihood")
    wanted = {s: [] for s in ("log_likelihood_more", "log_likelihood_less", "conditional_more", "conditional_less")}
    for p in pairs:
        ids = {s: encode(p[s]) for s in ("more", "less")}
        lps = {s: after([start], ids[s]) for s in ids}
        x, y = ("more", "less") if p["direction"] == "stereo" else ("less", "more")
        shared = {"more": [], "less": []}
        for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, ids[x], ids[y]).get_opcodes():
            if tag == "equal":
                shared[x] += range(a0, a1)
                shared[y] += range(b0, b1)
        for s in ids:
            wanted["log_likelihood_" + s].append(lps[s].sum())
            wanted["conditional_" + s].append(lps[s][shared[s]].sum())
    for column, values in wanted.items():
        close(crows[column], values, f"{name} CrowS-Pairs {column}")

    held_out = rows(scores, "perplexity/held-out")
    longest = getattr(model.config, "n_positions", None) or 2048
    nll = []
    for i, text in enumerate(texts):
        ids = [start] + encode(text)
        mine = [float(x) for x in text_column(held_out["log_probabilities"])[i].split()]
        check(len(mine) == len(ids) - 1, f"{name} text {i}: each of {len(ids) - 1} tokens is scored once")
        if len(ids) - 1 <= longest:
            close(mine, after(ids[:1], ids[1:]), f"{name} text {i}: log-probabilities")
        else:  # windows: the first half of each but the first is context only
            windowed, scored = [], 1
            while scored < len(ids):
                first = 0 if scored == 1 else scored - longest // 2
                end = min(first + longest + 1, len(ids))
                windowed += list(after(ids[first:scored], ids[scored:end]))
                scored = end
            close(mine, windowed, f"{name} text {i}: log-probabilities over {len(ids)} tokens in windows of {longest}")
        nll.append(-sum(mine))
    close(held_out["nll"], nll, f"{name} held-out NLL", 1e-6 * max(nll))
    check([int(b) for b in held_out["bytes"]] == [len(t.encode()) for t in texts], f"{name} held-out bytes")


# --- Encoder-decoders ---------------------------------------------------------------------------------------------------
def fill_of(context, sentence):
    parts = context.split("BLANK")
    size = (len(sentence) - sum(map(len, parts))) // (len(parts) - 1)
    return sentence[len(parts[0]):len(parts[0]) + size]


def encoder_decoder(name, data):
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS + name)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(MODELS + name, dtype=torch.float32).eval()
    eos = model.config.eos_token_id

    def given(source, target):
        logits = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).logits[0]
        return log_probs(logits, target)

    def expected(task, item, sentence):
        source = [eos] if task == "intrasentence" else tokenizer(item["context"])["input_ids"]
        out = {"continue_log_likelihood": given(source, tokenizer(sentence)["input_ids"]).sum()}
        if task == "intersentence":
            alone, mixed = sentence, tokenizer(shuffled(item["context"], item["row"]))["input_ids"]
            out["shuffled_log_likelihood"] = given(mixed, tokenizer(sentence)["input_ids"]).sum()
            prompt = f"Context: {item['context']}\nWhich sentence follows best?\nAnswer:"
        else:
            prompt = f"Fill the blank: {item['context'].replace('BLANK', '____')}\nAnswer:"
            n, word = item["context"].count("BLANK"), fill_of(item["context"], sentence)
            source, target = item["context"], ""
            for k in range(n):
                source = source.replace("BLANK", f"<extra_id_{k}>", 1)
                target += f"<extra_id_{k}> {word} "
            target = tokenizer(target + f"<extra_id_{n}>", add_special_tokens=False)["input_ids"]
            alone = word
            mixed = shuffled(item["context"], item["row"]).replace("BLANK", word)
            out["shuffled_log_likelihood"] = given([eos], tokenizer(mixed)["input_ids"]).sum()
            out["infill_log_likelihood"] = given(tokenizer(source)["input_ids"], target)[1:].sum()
        out["no_context_log_likelihood"] = given([eos], tokenizer(alone)["input_ids"]).sum()
        out["prompted_log_likelihood"] = given(tokenizer(prompt)["input_ids"], tokenizer(sentence)["input_ids"]).sum()
        return out

    scores = rows(f"{WORK}/{name}/scores-before.h5", "stereoset/likelihood")
    for form in ("continue", "prompted", "infill"):
        compare_stereoset(scores, data, expected, [form + "_log_likelihood"], f"{name} {form}")
    compare_nulls(scores, data, expected, name)
    held_out = rows(f"{WORK}/{name}/scores-before.h5", "perplexity/held-out")
    check(np.isfinite(held_out["nll"]).all() and (held_out["tokens"] > 0).all(), f"{name} span corruption is scored")


# --- Masked models ------------------------------------------------------------------------------------------------------
def masked(name, data, pairs):
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS + name)
    model = transformers.AutoModelForMaskedLM.from_pretrained(MODELS + name, dtype=torch.float32).eval()
    mask = tokenizer.mask_token_id

    def at(ids, position, types=None):
        hidden = list(ids)
        hidden[position] = mask
        more = {} if types is None else {"token_type_ids": torch.tensor([types])}
        return log_probs(model(torch.tensor([hidden]), **more).logits[0, position][None], [ids[position]])[0]

    def pll(*texts, span=None):
        """Of the last text's tokens, or of those that touch its characters [begin, end)."""
        e = tokenizer(*texts, return_offsets_mapping=True)
        own = [i for i, s in enumerate(e.sequence_ids()) if s == len(texts) - 1 and
               (span is None or (e["offset_mapping"][i][0] < span[1] and e["offset_mapping"][i][1] > span[0]))]
        return sum(at(e["input_ids"], i, e.get("token_type_ids")) for i in own)

    def expected(task, item, sentence):
        mixed = shuffled(item["context"], item["row"])
        if task == "intersentence":
            return {"pll_log_likelihood": pll(item["context"], sentence), "no_context_log_likelihood": pll(sentence),
                    "shuffled_log_likelihood": pll(mixed, sentence)}
        context, word = item["context"], fill_of(item["context"], sentence)
        begin = context.rindex("BLANK") + (len(word) - 5) * (context.count("BLANK") - 1)
        index = [i for i, w in enumerate(context.split(" ")) if "BLANK" in w][-1]
        reference = sentence.split(" ")[index].translate(str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))
        v = tokenizer.encode(reference, add_special_tokens=False)
        q = []
        for j in range(len(v)):
            ids = tokenizer.encode(context.replace("BLANK", tokenizer.decode(v[:j]) + tokenizer.mask_token))
            last = max(i for i, t in enumerate(ids) if t == mask)
            q.append(torch.softmax(model(torch.tensor([ids])).logits[0, last].double(), -1)[v[j]])
        place = mixed.rindex("BLANK") + (len(word) - 5) * (mixed.count("BLANK") - 1)
        return {"pll_log_likelihood": pll(sentence, span=(begin, begin + len(word))), "official": sum(q) / len(q),
                "no_context_log_likelihood": pll(word),
                "shuffled_log_likelihood": pll(mixed.replace("BLANK", word), span=(place, place + len(word)))}

    scores = f"{WORK}/{name}/scores-before.h5"
    table = rows(scores, "stereoset/likelihood")
    compare_stereoset(table, data, expected, ["pll_log_likelihood"], f"{name} PLL")
    compare_stereoset(table, data, expected, ["official"], f"{name} official")
    compare_nulls(table, data, expected, name)

    crows = rows(scores, "crows-pairs/likelihood")
    nangia = {"more": [], "less": []}
    bench = {"more": [], "less": []}
    for p in pairs:
        x, y = ("more", "less") if p["direction"] == "stereo" else ("less", "more")
        ids = {s: tokenizer(p[s])["input_ids"] for s in ("more", "less")}
        shared = {"more": [], "less": []}
        for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, [str(i) for i in ids[x]], [str(i) for i in ids[y]]).get_opcodes():
            if tag == "equal":
                shared[x] += range(a0, a1)
                shared[y] += range(b0, b1)
        for s in ids:
            nangia[s].append(sum(at(ids[s], i) for i in shared[s][1:-1]))
            differing = [i for i in range(len(ids[s])) if i not in shared[s]]
            bench[s].append(np.mean([at(ids[s], i) for i in differing]) if differing else np.nan)
    for s in nangia:
        close(crows["nangia_" + s], nangia[s], f"{name} CrowS-Pairs original, {s}")
        both = np.isfinite(bench[s])
        check(bool((np.isfinite(crows["bias_bench_" + s]) == both).all()), f"{name} bias-bench skips the same pairs, {s}")
        close(crows["bias_bench_" + s][both], np.array(bench[s], float)[both], f"{name} CrowS-Pairs bias-bench, {s}")


def next_sentence(name, data):
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS + name)
    model = transformers.AutoModelForNextSentencePrediction.from_pretrained(MODELS + name, dtype=torch.float32).eval()

    def expected(task, item, sentence):
        if task == "intrasentence":
            return {}
        logits = model(**tokenizer(item["context"], sentence, return_tensors="pt")).logits
        return {"nsp_log_likelihood": torch.log_softmax(logits.double(), -1)[0, 0]}

    scores = rows(f"{WORK}/{name}/scores-before.h5", "stereoset/likelihood")
    compare_stereoset(scores, data, expected, ["nsp_log_likelihood"], f"{name} next sentence")
    reasons = text_column(scores["reason"])
    check(all(bool(r) == (t == "intrasentence") for r, t in zip(reasons, text_column(scores["task"]))),
          f"{name}: rows that can't be scored say why")


# --- Runs -----------------------------------------------------------------------------------------------------------------
def same_scores(a, b):
    def values(path):
        with h5py.File(path) as f:
            out = {}
            f.visititems(lambda n, d: out.update({n: d[...].tobytes() if d.dtype.kind != "O" else tuple(d[...])})
                         if isinstance(d, h5py.Dataset) else None)
            return out
    return values(a) == values(b)


def test_ranks(name):
    path = f"{WORK}/{name}.yaml"
    one = f"{WORK}/{name}/scores-before.h5"
    shutil.copy(one, f"{WORK}/one.h5")
    for ranks in (2, 3):
        done = run("evaluate", path, ranks=ranks)
        check(done.returncode == 0 and same_scores(one, f"{WORK}/one.h5"), f"{name}: {ranks} ranks give the bits of one")
    check(not os.path.exists(f"{WORK}/{name}/scores-before.partial"), f"{name}: nothing is left of the journal")


def test_refusals(name):
    path = f"{WORK}/{name}.yaml"
    shutil.rmtree(f"{WORK}/{name}/model", ignore_errors=True)
    done = run("evaluate", path, "--phase", "after")
    check(done.returncode == 2 and "finetune first" in done.stderr, "after without a model is refused: " + done.stderr.strip()[-100:])
    shutil.copytree(MODELS + name, f"{WORK}/{name}/model")
    done = run("evaluate", path, "--phase", "after", ranks=2)
    check(done.returncode == 2 and "weight for weight" in done.stderr, "after = before is refused")
    check(not os.path.exists(f"{WORK}/{name}/scores-after.h5"), "and writes no scores")
    done = run("evaluate", job(name, "no-metric", ["{metric: nonsense}"]))
    check(done.returncode == 2 and "there is no metric 'nonsense'" in done.stderr, "an unknown metric is refused")
    done = run("evaluate", job(name, "wrong-data", ["{metric: stereoset, data: text}"]))
    check(done.returncode == 2 and "can't measure" in done.stderr, "a metric on another format's data is refused")
    path = job("bert-regard", "classifier")
    run("tokenize", path)
    done = run("evaluate", path)
    check(done.returncode == 2 and "classifier" in done.stderr, "a classifier has no likelihoods")


def test_nan(name):
    broken = f"{WORK}/broken-model"
    shutil.copytree(MODELS + name, broken)
    from safetensors.torch import load_file, save_file
    weights = load_file(broken + "/model.safetensors")
    key = next(k for k in weights if k.endswith("ln_f.weight"))
    weights[key][:] = float("nan")
    save_file(weights, broken + "/model.safetensors", metadata={"format": "pt"})
    path = job(name, "nan", ["{metric: stereoset}", "{metric: crows-pairs}"], path=broken)
    run("tokenize", path)
    done = run("evaluate", path)
    scores = rows(f"{WORK}/nan/scores-before.h5", "stereoset/likelihood") if done.returncode == 0 else {"reason": []}
    check(done.returncode == 0 and len(scores["reason"]) > 0 and all("finite" in r for r in text_column(scores["reason"])),
          "a model of NaN gives rows that say so")


def test_resume(name):
    """Killed in the middle, on another number of ranks afterwards: the same scores, and the finished items are kept."""
    path = job(name, "resume", ["{metric: stereoset}", "{metric: crows-pairs}"])
    text = open(path).read().replace("limit: 25", "limit: 1508").replace(f"{WORK}/dev.json", DATA + "stereoset/dev.json")
    open(path, "w").write(text)
    run("tokenize", path)
    done = run("evaluate", path)
    check(done.returncode == 0, "the whole set is evaluated")
    scores, whole = f"{WORK}/resume/scores-before.h5", f"{WORK}/whole.h5"
    shutil.move(scores, whole)
    process = subprocess.Popen([*MPIRUN, "2", f"{BIN}/evenhand-evaluate", path], stderr=subprocess.DEVNULL,
                               start_new_session=True)
    partial = f"{WORK}/resume/scores-before.partial"
    noted = lambda: sum(os.path.getsize(f) for f in glob.glob(partial + "/*"))
    while process.poll() is None and noted() < 100_000:
        time.sleep(0.005)
    killed = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    check(killed and not os.path.exists(scores) and noted() > 0, "a killed run leaves a journal and no scores")
    files = sorted(glob.glob(partial + "/*"))
    with open(files[0], "a") as f:
        f.write("row\t1\ttorn")  # what a kill may leave
    done = run("evaluate", path, ranks=3)
    check(done.returncode == 0 and same_scores(scores, whole), "resumed on three ranks, the scores are the same")


def main():
    data = make_data()
    texts = open(f"{WORK}/text.txt", encoding="utf-8").read().split("\n")[:-1]
    import csv
    pairs = [dict(more=r["sent_more"], less=r["sent_less"], direction=r["stereo_antistereo"])
             for r in csv.DictReader(open(DATA + "crows_pairs/crows_pairs_anonymized.csv", encoding="utf-8"))][:25]
    for name in ("bloom-a", "gpt2-a", "t5-a", "bert-mlm", "roberta-mlm", "bert-nsp"):
        path = job(name, evaluate=["{metric: stereoset}"] if name == "bert-nsp" else None)
        for program in ("tokenize", "evaluate"):
            done = run(program, path)
            check(done.returncode == 0, f"{program} {name} {done.stderr.strip()[-300:] if done.returncode else ''}")
    decoder("bloom-a", data, pairs, texts)
    decoder("gpt2-a", data, pairs, texts)
    encoder_decoder("t5-a", data)
    masked("bert-mlm", data, pairs)
    masked("roberta-mlm", data, pairs)
    next_sentence("bert-nsp", data)
    for name in ("bloom-a", "t5-a", "bert-mlm"):
        test_ranks(name)
    test_refusals("bloom-a")
    test_nan("bloom-a")
    test_resume("bloom-a")
    print(f"{failures} failed")
    if failures == 0:
        shutil.rmtree(WORK)
    return failures > 0


sys.exit(main())
