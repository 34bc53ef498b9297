"""What can't be measured is told in the table's cell and in the log, and the other metrics go on: a kind of model that a
metric can't take (no mistake: exit 0), a missing input (exit 2, all else done), likelihoods that are no numbers, answers
that are never parsed, groups without a scored item, and a model that is the one before."""
import csv
import json
import os
import shutil
import subprocess

import h5py
import numpy as np
from metrics_common import BIN, DATA, MODELS, WORK, check, end, job, measure, rows, run
from safetensors.numpy import load_file, save_file

SMALL = "report: {replicates: 100}\n"
STEREO = f"{{name: items, format: stereoset, path: {DATA}stereoset/dev.json, use: evaluate, limit: 6}}"
CROWS = f"{{name: crows, format: crows-pairs, path: {DATA}crows_pairs/crows_pairs_anonymized.csv, use: evaluate, limit: 30}}"
HONEST = f"{{name: templates, format: honest, path: {WORK}/honest.tsv, use: evaluate}}"


def read(name, file):
    with open(f"{WORK}/{name}/{file}", newline="", encoding="utf-8") as f:
        return f.read()


def table(name, file):
    return list(csv.DictReader(read(name, f"tables/{file}.csv").splitlines()))


def refusal(name, group):
    with h5py.File(f"{WORK}/{name}/scores-before.h5") as f:
        return f[group].attrs.get("refusal", b""), f[group]["item"].shape[0]


def front(path, expect):
    done = subprocess.run([f"{BIN}/evenhand", "run", path], capture_output=True, text=True, timeout=300)
    check(done.returncode == expect, f"evenhand run {os.path.basename(path)}: exit {done.returncode} {done.stderr[-300:] if done.returncode != expect else ''}")
    return done.stderr


def test_kind_of_model():
    path = job("kind", MODELS + "bert-mlm", [STEREO, CROWS, HONEST],
               ["{metric: stereoset, protocol: prompt}", f"{{metric: toxicity, protocol: false-positives, classifier: {MODELS}roberta-toxic}}",
                "{metric: capability, protocol: instructions}", "{metric: crows-pairs}", "{metric: stereoset}"], SMALL)
    words = front(path, 0)
    check("stereoset/prompt is not measured (before)" in words and "a masked model gives none" in words, "the log says what a masked model can't do")
    reason, count = refusal("kind", "stereoset/prompt")
    check("masked model" in str(reason) and count == 0, f"so does the file: {reason}")
    check(rows(f"{WORK}/kind/scores-before.h5", "crows-pairs/likelihood")["item"].shape[0] == 30, "the metrics after it are measured")
    for name in ("stereoset-prompt", "capability-instructions"):
        cells = table("kind", name)
        check(len(cells) == 1 and cells[0]["before"] == "not measured" and "masked model" in cells[0]["figure"], f"{name}: a word in the cell")
        check("not measured" in read("kind", f"tables/{name}.md") and "not measured" in read("kind", f"tables/{name}.tex"), f"{name}: in Markdown and LaTeX")
    missing = {r["metric"]: r["what"] for r in table("kind", "missing")}
    check("masked model" in missing.get("stereoset/prompt", ""), "and its reason under 'Not scored'")
    check("not measured" in read("kind", "report.html"), "and on the page")
    check(any(r["figure"] == "not measured" and r["metric"] == "stereoset/prompt" for r in table("kind", "figures")), "and in figures.csv")


def test_plan_of_a_kind_of_model():
    with open(f"{WORK}/facts.jsonl", "w") as f:
        f.write('{"prompt": "The sky is", "choices": ["blue.", "loud."], "answer": 0}\n')
    path = job("planned", MODELS + "bert-mlm", [CROWS, f"{{name: facts, format: jsonl, path: {WORK}/facts.jsonl, use: evaluate}}"],
               ["{metric: capability, protocol: multiple-choice, data: facts}", "{metric: crows-pairs}"], SMALL)
    for tokenized in (False, True):
        done = subprocess.run([f"{BIN}/evenhand", "plan", path], capture_output=True, text=True, timeout=300)
        check(done.returncode == 0 and "capability/multiple-choice: not measured: " in done.stdout,
              f"plan says so too, {'with' if tokenized else 'without'} shards: {done.returncode} {done.stderr[-200:]}")
        if not tokenized:
            front(path, 0)


def test_missing_input():
    with open(f"{WORK}/lexicon.tsv", "w") as f:
        f.write("id\tpos\tcategory\tstereotype\tlemma\tlevel\n1\tn\tps\tno\thurt\tconservative\n")
    path = job("lacks", MODELS + "bloom-a", [STEREO, HONEST],
               [f"{{metric: honest, lexicon: {WORK}/nowhere.tsv, samples: 1}}", "{metric: regard}", "{metric: toxicity, protocol: false-positives}", "{metric: stereoset}"], SMALL)
    words = front(path, 2)
    for name, why in (("honest/completions", "nowhere.tsv"), ("regard/own", "no data set"), ("toxicity/false-positives", "set evaluate.classifier")):
        name = "regard/continuations" if name == "regard/own" else name
        reason, count = refusal("lacks", name)
        check(why in str(reason) and count == 0 and f"{name} is not measured" in words, f"{name}: {reason}")
    check(table("lacks", "honest-completions")[0]["before"] == "not measured", "the report is made, its cell says so")
    check(len(table("lacks", "stereoset-by-task")) > 0, "and has what could be measured")
    check("3 of 4 measurements could not be made" in words, "one message in the end")
    again = front(path, 2)
    check("tokenize: up to date" in again and "evaluate-before: up to date" not in again, "the step is not done")
    done = measure(job("nothing", MODELS + "bloom-a", [STEREO], ["{metric: honest}"]), expect=2)
    check("no data set for metric 'honest" in done.stderr and not os.path.exists(f"{WORK}/nothing/scores-before.h5"), "nothing at all: no scores")


def test_not_a_number():
    shutil.copytree(MODELS + "gpt2-a", f"{WORK}/broken")
    weights = load_file(f"{WORK}/broken/model.safetensors")
    key = next(k for k in weights if "wpe.weight" in k)
    weights[key] = weights[key].copy()
    weights[key][40:] = np.nan  # sentences of more tokens have no likelihood
    weights = {k: np.ascontiguousarray(v) for k, v in weights.items()}
    save_file(weights, f"{WORK}/broken/model.safetensors", metadata={"format": "pt"})
    path = job("nan", f"{WORK}/broken", [CROWS.replace("limit: 30", "limit: 120")], ["{metric: crows-pairs}"], SMALL)
    done = measure(path)
    found = rows(f"{WORK}/nan/scores-before.h5", "crows-pairs/likelihood")
    finite = np.isfinite(found["log_likelihood_more"]) & np.isfinite(found["log_likelihood_less"])
    named = np.array(["finite" in r for r in found["reason"]])
    check(0 < finite.sum() < 120 and bool((named == ~finite).all()), f"{120 - finite.sum()} of 120 rows are not numbers and say so")
    check(f"{120 - finite.sum()} rows have no score" in done.stderr, "the log counts them")
    done = run("report", path)
    hits = [r for r in table("nan", "figures") if r["figure"] == "crows/lm-eval/metric" and r["scope"] == "all" and not r["null_picker"]]
    wanted = 100 * np.mean(found["log_likelihood_more"][finite] > found["log_likelihood_less"][finite])
    check(done.returncode == 0 and abs(float(hits[0]["value"]) - wanted) < 1e-6 and int(hits[0]["n"]) == finite.sum() and int(hits[0]["missing"]) == 120 - finite.sum(),
          f"the figure is of the others alone: {hits[0]['value']} %, n = {hits[0]['n']}")


def test_texts_of_nan():
    """What a model writes once its output is NaN is no text: not harmless, not wrong, not copied; the row says so."""
    lines = ["short words", "these are words of a long line " * 6, "brown bread"]
    with open(f"{WORK}/prompts.jsonl", "w") as f:
        f.writelines(json.dumps({"prompt": {"text": t, "toxicity": 0.1}, "continuation": {"text": ""}}) + "\n" for t in lines)
    path = job("nan-texts", f"{WORK}/broken", [f"{{name: prompts, format: real-toxicity-prompts, path: {WORK}/prompts.jsonl, use: evaluate}}",
                                              f"{{name: templates, format: honest, path: {WORK}/honest.tsv, use: evaluate}}", STEREO],
               [f"{{metric: toxicity, classifier: {MODELS}roberta-toxic, samples: 2, max_new_tokens: 3}}", "{metric: capability, protocol: instructions}",
                "{metric: capability, protocol: degeneration, data: prompts, max_new_tokens: 3}",
                f"{{metric: honest, lexicon: {WORK}/lexicon.tsv, samples: 2, max_new_tokens: 60}}", "{metric: stereoset, protocol: study, max_new_tokens: 3}"], SMALL)
    done = measure(path)
    for name, broken in (("toxicity/continuations", [False, True, False]), ("capability/degeneration", [False, True, False]), ("honest/completions", [True] * 3)):
        found = rows(f"{WORK}/nan-texts/scores-before.h5", name)
        said = {int(i): "not a finite number" in r for i, r in zip(found["item"], found["reason"])}
        check([said[i] for i in range(3)] == broken, f"{name}: which items' texts broke off: {said}")
        check(f"{name}: " in done.stderr, f"{name}: the log counts them")
    toxic = rows(f"{WORK}/nan-texts/scores-before.h5", "toxicity/continuations")
    check(int(sum(toxic["item"] == 1)) == 1 and bool(np.isnan(toxic["toxicity"][toxic["item"] == 1]).all()), "a broken text is not judged")
    study = rows(f"{WORK}/nan-texts/scores-before.h5", "stereoset/study")
    check(all("finite number" in r for r in study["reason"]), "long questions have no answer, not an unparsed one")
    tasks = rows(f"{WORK}/nan-texts/scores-before.h5", "capability/instructions")
    broken = np.array(["finite number" in r for r in tasks["reason"]])
    check(0 < broken.sum() < 200, f"{broken.sum()} of 200 tasks have no answer")
    done = run("report", path)
    right = [r for r in table("nan-texts", "figures") if r["figure"] == "capability/parsed" and r["scope"] == "all" and not r["null_picker"]]
    check(done.returncode == 0 and int(right[0]["n"]) == 200 - broken.sum() and int(right[0]["missing"]) == broken.sum(), f"they are in no figure: {right}")
    harm = [r for r in table("nan-texts", "figures") if r["figure"] == "honest/score" and r["scope"] == "all"]
    check(harm[0]["value"] in ("", "nan") and harm[0]["n"] == "0", f"nothing written is not harmless: {harm}")


def test_odd_path():
    """Folders whose names are patterns elsewhere."""
    path, trained = f"{WORK}/odd.yaml", CROWS.replace("evaluate", "both")
    with open(path, "w") as f:
        f.write(f"name: odd\noutput: '{WORK}/odd [a-c]*?'\ndevice: cpu\nmodel: {{path: {MODELS}bloom-a}}\n{SMALL}data:\n  - {trained}\n"
                "evaluate:\n  - {metric: crows-pairs}\n")
    out = f"{WORK}/odd [a-c]*?"
    measure(path)
    shutil.copytree(MODELS + "bloom-a", out + "/control-damage/model-1a")
    shutil.copy(out + "/scores-before.h5", out + "/scores-control-damage-9a.h5")
    measure(path, phase="control-damage", tokenize=False)
    check(sorted(f for f in os.listdir(out) if f.endswith(".h5")) == ["scores-before.h5", "scores-control-damage-1a.h5"], f"an earlier run's scores go: {sorted(os.listdir(out))}")
    done = run("report", path)
    check(done.returncode == 0 and os.path.exists(out + "/report.html"), f"a folder with *?[] in its name is reported {done.stderr[-200:] if done.returncode else ''}")


def test_nothing_parsed():
    path = job("unparsed", MODELS + "bloom-a", [STEREO], ["{metric: stereoset, protocol: study, max_new_tokens: 2}"], SMALL)
    measure(path)
    found = rows(f"{WORK}/unparsed/scores-before.h5", "stereoset/study")
    check(bool((found["answer_1"] == 0).all()), "a model of random weights names no option")
    done = run("report", path)
    cells = read("unparsed", "tables/stereoset-study.md")
    check(done.returncode == 0 and "undefined: no answer was parsed" in cells, "the cell says that no answer was parsed")
    check("main figures are undefined (before)" in done.stderr, "the log too: " + done.stderr[-200:])
    check("nan" not in cells.lower(), "no figure is made of nothing")


def test_empty_group():
    """A group whose rows all lack a score keeps its line."""
    with h5py.File(f"{WORK}/unparsed/scores-before.h5", "r+") as f:
        reasons, groups = f["stereoset/study/reason"], [g.decode() for g in f["stereoset/study/group"][...]]
        reasons[...] = [b"made so by a test" if g == groups[0] else r for r, g in zip(reasons[...], groups)]
    done = run("report", f"{WORK}/unparsed.yaml")
    lines = [l for l in read("unparsed", "tables/stereoset-study.md").splitlines() if f"/{groups[0]} |" in l and "always" not in l]
    check(done.returncode == 0 and len(lines) > 0 and all("undefined: nothing to count" in l for l in lines),
          f"{groups[0]}, of whose rows none is left, says so: {lines[:1]} {done.stderr[-100:] if done.returncode else ''}")


def test_same_model():
    path = job("same", MODELS + "bloom-a", [CROWS], ["{metric: crows-pairs}"], SMALL)
    measure(path)
    shutil.copytree(MODELS + "bloom-a", f"{WORK}/same/model")
    done = measure(path, phase="after", expect=2, tokenize=False)
    check("weight for weight" in done.stderr and not os.path.exists(f"{WORK}/same/scores-after.h5"), "a model that is the one before is refused")
    shutil.copy(f"{WORK}/same/scores-before.h5", f"{WORK}/same/scores-after.h5")
    done = run("report", path)
    check(done.returncode == 2 and "are of the same model" in done.stderr, "and so are its scores, by the report")


def main():
    with open(DATA + "honest/binary/en_template.tsv", encoding="utf-8") as f:
        lines = f.read().split("\n")
    with open(f"{WORK}/honest.tsv", "w", encoding="utf-8") as f:
        f.write("\n".join(lines[:4]) + "\n")
    test_kind_of_model()
    test_plan_of_a_kind_of_model()
    test_missing_input()
    test_not_a_number()
    test_texts_of_nan()
    test_odd_path()
    test_nothing_parsed()
    test_empty_group()
    test_same_model()
    end()


main()
