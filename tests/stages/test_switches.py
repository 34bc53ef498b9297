"""Each of the study's twelve defects (PROTOCOL 3.1 to 3.12) by itself, all else as in preset evenhand: what it changes,
and that it changes it. One sweep of these switches is the table of which mistake did what."""
import csv
import glob
import hashlib
import os

import h5py
import numpy as np
from metrics_common import DATA, MODELS, WORK, check, end, job, measure, rows, run

CROWS = f"{{name: crows, format: crows-pairs, path: {DATA}crows_pairs/crows_pairs_anonymized.csv, use: %s, task: gap-fill, holdout: 0.2, limit: 120}}"
STEREO = f"{{name: items, format: stereoset, path: {DATA}stereoset/dev.json, use: evaluate, limit: 12}}"
TOXIC = f"{{name: prompts, format: real-toxicity-prompts, path: {DATA}realtoxicityprompts/val.jsonl, use: evaluate, limit: 12}}"
SMALL = "report: {replicates: 100}\n"


def switch(name, value, data, evaluate, more=""):
    """A job with one switch at the study's value, and the same with evenhand's."""
    base = name.replace("_", "-")
    return [job(f"{base}-{'study' if v else 'own'}", MODELS + "bloom-a", data, evaluate,
                SMALL + more + (f"switches: {{{name}: {v}}}\n" if v else "")) for v in (None, value)]


def shards(path):
    name = os.path.basename(path)[:-5]
    done = run("tokenize", path)
    check(done.returncode == 0, f"tokenize {name} {done.stderr[-200:] if done.returncode else ''}")
    inputs, targets, splits, attributes = [], [], [], {}
    for file in sorted(glob.glob(f"{WORK}/{name}/shards/crows-*.h5")):
        with h5py.File(file) as f:
            i, t = f["input_offsets"][...], f["target_offsets"][...]
            inputs += [tuple(f["input_ids"][a:b]) for a, b in zip(i, i[1:])]
            targets += [tuple(f["target_ids"][a:b]) for a, b in zip(t, t[1:])]
            splits += list(zip(f["source_row"][...], f["split"][...])) if "split" in f else []
            attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in f.attrs.items()}
    return inputs, targets, splits, attributes


def test_training():
    antistereo = [r["stereo_antistereo"] == "antistereo" for r in
                  csv.DictReader(open(DATA + "crows_pairs/crows_pairs_anonymized.csv", encoding="utf-8"))][:120]
    metric = ["{metric: crows-pairs}"]
    own, study = (shards(p) for p in switch("pair_order", "group", [CROWS % "train"], metric))
    different = sum(a != b for a, b in zip(own[1], study[1]))
    check(len(own[1]) == len(study[1]) and 0.5 * sum(antistereo) <= different <= 1.5 * sum(antistereo),
          f"3.1 pair_order: {different} targets of {len(own[1])} are the other sentence's, {sum(antistereo)} rows are antistereo")
    own, study = (shards(p) for p in switch("label_layout", "overlay", [CROWS % "train"], metric))
    check(own[3]["layout"] == "append" and study[3]["layout"] == "overlay" and own[1] != study[1],
          "3.2 label_layout: labels lie over the input's end, without an end token")
    own, study = (shards(p) for p in switch("blank", "first", [CROWS % "train"], metric))
    check(own[0] != study[0] and sum(map(len, own[0])) > sum(map(len, study[0])), "3.3 blank: only the first change leaves a blank")
    own, study = (shards(p) for p in switch("split", "row", [CROWS % "train"], metric))
    held = [[i for i, t in enumerate(s[2]) if t[1] == 1] for s in (own, study)]
    check(held[0] and held[1] and held[0] != held[1], f"3.12 split: {len(held[0])} and {len(held[1])} other rows are held out")


def test_select():
    more = "train: {epochs: 6, lr: 3.0e-2, batch: 16}\n"
    digests, steps = [], []
    for path in switch("select", "held-out", [CROWS % "train"], ["{metric: crows-pairs}"], more):
        name = os.path.basename(path)[:-5]
        for program in ("tokenize", "finetune"):
            done = run(program, path)
            check(done.returncode == 0, f"{program} {name} {done.stderr[-200:] if done.returncode else ''}")
        digests.append(hashlib.sha256(b"".join(open(f, "rb").read() for f in sorted(glob.glob(f"{WORK}/{name}/model/*.safetensors")))).hexdigest())
        found = glob.glob(f"{WORK}/{name}/**/metrics.csv", recursive=True)
        held = [float(r["holdout_loss"]) for r in csv.DictReader(open(found[0])) if r["holdout_loss"]]
        steps.append((int(np.argmin(held)), len(held)))
    check(steps[0][0] + 1 < steps[0][1], f"3.11 select: the best of {steps[0][1]} held-out losses is number {steps[0][0] + 1}")
    check(digests[0] != digests[1], "3.11 select: other weights are kept")


def figures(name):
    done = run("report", f"{WORK}/{name}.yaml")
    check(done.returncode == 0, f"report {name} {done.stderr[-200:] if done.returncode else ''}")
    with open(f"{WORK}/{name}/tables/figures.csv", newline="") as f:
        return {r["figure"]: r["value"] for r in csv.DictReader(f) if r["scope"] == "all" and not r["null_picker"] and not r["compared_with"]}


def test_choices():
    entry = ["{metric: stereoset, protocol: prompt, max_new_tokens: 4}"]
    own, study = switch("answer_parser", "unrelated", [STEREO], entry)
    for path in (own, study):
        measure(path)
    a, b = figures("answer-parser-own"), figures("answer-parser-study")
    check(a["stereoset/generated/parsed"] == b["stereoset/generated/parsed"] and float(a["stereoset/generated/parsed"]) < 100,
          f"parsed is {a['stereoset/generated/parsed']} % both times")
    check(a["stereoset/generated/LMS"] != b["stereoset/generated/LMS"] and b["stereoset/generated/LMS"] == a["stereoset/generated/LMS-worst"],
          f"3.4 answer_parser: LMS {a['stereoset/generated/LMS'] or 'undefined'} becomes {b['stereoset/generated/LMS']}, its worst case")
    own, study = switch("option_order", "file", [STEREO], entry)
    for path in (own, study):
        measure(path)
    columns = [rows(f"{WORK}/option-order-{v}/scores-before.h5", "stereoset/prompt") for v in ("own", "study")]
    check("answer_6" in columns[0] and "answer_2" not in columns[1], "3.10 option_order: six orders become the file's one")


def test_texts():
    entry = [f"{{metric: toxicity, classifier: {MODELS}roberta-toxic, samples: 2}}"]
    tables = {}
    for name, value in (("prompt_iteration", "characters"), ("max_length", "total"), ("score_text", "all")):
        own, study = switch(name, value, [TOXIC], entry)
        if not tables:
            measure(own)
            tables["own"] = rows(f"{WORK}/{os.path.basename(own)[:-5]}/scores-before.h5", "toxicity/continuations")
        measure(study)
        tables[name] = rows(f"{WORK}/{os.path.basename(study)[:-5]}/scores-before.h5", "toxicity/continuations")
    own = tables["own"]
    check(tables["prompt_iteration"]["text"] != own["text"], "3.5 prompt_iteration: the model reads a template and one character")
    check(bool((tables["max_length"]["tokens"] <= 1).all() and (own["tokens"] > 1).any()), "3.6 max_length: one new token")
    judged = tables["score_text"]
    check(judged["text"] == own["text"] and not np.allclose(judged["toxicity"], own["toxicity"], equal_nan=True),
          "3.7 score_text: the same texts, judged with their prompts")


def main():
    test_training()
    test_select()
    test_choices()
    test_texts()
    # 3.8 honest_mode and 3.9 regard_groups: test_evaluate_texts.py
    end()


main()
