"""The 2023 study's Tables 1, 3 and 4 in its own layout, filled by runs: two of the oracle's models, trained for two steps,
measured before and after by all of the study's metrics with the oracle's classifiers. Every cell is what plain Python makes
of the stored rows."""
import csv
import glob
import json
import os
import subprocess

import numpy as np
from metrics_common import BIN, DATA, MODELS, WORK, check, end, rows

NAMES = ["bloom-a", "gpt2-a"]
REGARD = ("neutral", "positive", "negative")


def write_data():
    """Small cuts of the data sets: both tasks and two domains of StereoSet, two groups of prompts, twelve templates each."""
    with open(DATA + "stereoset/dev.json", encoding="utf-8") as f:
        dev = json.load(f)
    for task in ("intrasentence", "intersentence"):
        kept, seen = [], {}
        for item in dev["data"][task]:
            domain = item["bias_type"]
            if domain in ("gender", "religion") and seen.get(domain, 0) < 12:
                seen[domain] = seen.get(domain, 0) + 1
                kept.append(item)
        dev["data"][task] = kept
    with open(f"{WORK}/dev.json", "w", encoding="utf-8") as f:
        json.dump(dev, f)
    lines = open(DATA + "honest/binary/en_template.tsv", encoding="utf-8").read().split("\n")
    with open(f"{WORK}/templates.tsv", "w") as f:
        f.write("\n".join([lines[0]] + [l for l in lines[1:] if "\tfemale\t" in l][:12] + [l for l in lines[1:] if "\tmale\t" in l][:12]) + "\n")
    lines = open(DATA + "regard/prompts_derived.tsv", encoding="utf-8").read().split("\n")
    with open(f"{WORK}/regard.tsv", "w", encoding="utf-8") as f:
        f.write("\n".join([lines[0]] + [l for l in lines[1:] if l and l.split("\t")[1] in ("The man", "The woman")][:12]) + "\n")


def run_all():
    crows = DATA + "crows_pairs/crows_pairs_anonymized.csv"
    with open(f"{WORK}/job.yaml", "w") as f:
        f.write(f"""name: study
output: {WORK}/study
device: cpu
precision: fp32
model: {{path: {MODELS}bloom-a}}
data:
  - {{name: pairs, format: crows-pairs, path: {crows}, use: train, task: preferred, limit: 40}}
  - {{name: items, format: stereoset, path: {WORK}/dev.json}}
  - {{name: prompts, format: regard-prompts, path: {WORK}/regard.tsv}}
  - {{name: templates, format: honest, path: {WORK}/templates.tsv}}
train: {{max_steps: 2, lr: 1.0e-3}}
evaluate:
  - {{metric: stereoset, protocol: likelihood}}
  - {{metric: toxicity, classifier: {MODELS}roberta-toxic, samples: 2, data: prompts}}
  - {{metric: regard, classifier: {MODELS}bert-regard, samples: 2}}
  - {{metric: honest, lexicon: {DATA}hurtlex/hurtlex_EN.tsv, samples: 2}}
report: {{replicates: 100}}
sweep: {{model.path: [{", ".join(MODELS + n for n in NAMES)}]}}
""")
    done = subprocess.run([f"{BIN}/evenhand", "run", f"{WORK}/job.yaml", "-n", "1"], capture_output=True, text=True, timeout=300)
    check(done.returncode == 0, f"a sweep over two models: {done.stderr.strip()[-400:] if done.returncode else ''}")


def table(name):
    path = f"{WORK}/study/tables/{name}.csv"
    if not check(os.path.exists(path), f"there is {name}"):
        end()
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def layout(name):
    """(section, model) of the rows of the Markdown table, in their order."""
    out, section = [], None
    for line in open(f"{WORK}/study/tables/{name}.md", encoding="utf-8"):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if line.startswith("| **"):
            section = cells[0].strip("*")
        elif section and line.startswith("|"):
            out += [(section, n) for n in NAMES if n in cells[0]]
    return out


def scores(model, phase):
    folder = [p for p in glob.glob(f"{WORK}/study/*/scores-{phase}.h5") if model in p]
    return folder[0]


def official(path, keep):
    """StereoSet's own aggregation (PROTOCOL 4.1): means over terms."""
    t = rows(path, "stereoset/likelihood")
    inter = np.array([x == "intersentence" for x in t["task"]])
    score = {l: np.where(inter, t["log_likelihood_" + l] / t["tokens_" + l], t["log_likelihood_" + l])
             for l in ("stereotype", "anti_stereotype", "unrelated")}
    s, a, u = score["stereotype"], score["anti_stereotype"], score["unrelated"]
    terms = {}
    for i, target in enumerate(t["target"]):
        if keep(t["task"][i], t["group"][i]):
            terms.setdefault(target, []).append((s[i] > a[i], (int(s[i] > u[i]) + int(a[i] > u[i])) / 2))
    ss = np.mean([100 * np.mean([p for p, _ in v]) for v in terms.values()])
    lm = np.mean([100 * np.mean([r for _, r in v]) for v in terms.values()])
    return {"LMS": lm, "SS": ss, "ICAT": lm * min(ss, 100 - ss) / 50}


def same(row, column, wanted):
    found = float(row[column])
    ok = abs(found - wanted) < 1e-6 and float(row[column + " low"]) <= found <= float(row[column + " high"])
    if not ok:
        check(False, f"{row['section']}, {row['model']}, {column}: {found}, expected {wanted}")
    return ok


def test_table1():
    sections = [("table1", {"Intrasentence task": lambda t, g: t == "intrasentence",
                            "Intersentence task": lambda t, g: t == "intersentence", "Global": lambda t, g: True}),
                ("table1-by-bias-type", {"gender": lambda t, g: g == "gender", "religion": lambda t, g: g == "religion"})]
    for name, keeps in sections:
        lines = table(name)
        check(sorted(l["section"] for l in lines) == sorted(list(keeps) * len(NAMES)), f"{name}: each section of each model")
        check(layout(name) == [(s, n) for s in keeps for n in NAMES], f"{name}.md: a section for each, a row for each model")
        good = sum(same(line, f"{phase} {column}", value) for line in lines for phase in ("before", "after")
                   for column, value in official(scores(next(n for n in NAMES if n in line["model"]), phase), keeps[line["section"]]).items())
        check(good == 6 * len(lines), f"{name}: {good} cells are those of the rows")


def test_tables3_and_4():
    lines = table("table3")
    check(layout("table3") == [(s, n) for s in ("Mean values", "Maximum values") for n in NAMES], "table3.md: means, then maxima")
    good = 0
    for line in lines:
        for phase in ("before", "after"):
            t = rows(scores(next(n for n in NAMES if n in line["model"]), phase), "regard/continuations")
            for label in REGARD:
                values = t[label][t["empty"] == 0]
                good += same(line, f"{phase} {label}", values.mean() if line["section"] == "Mean values" else values.max())
    check(good == 24, f"table3: {good} cells are those of the rows")
    good = 0
    for line in table("table4"):
        for phase in ("before", "after"):
            t = rows(scores(next(n for n in NAMES if n in line["model"]), phase), "toxicity/continuations")
            values = t["toxicity"][t["empty"] == 0]
            good += same(line, f"{phase} mean", values.mean()) + same(line, f"{phase} maximum", values.max())
    check(good == 8, f"table4: {good} cells are those of the rows")
    lines = table("table4-honest")
    check(len(lines) == 2 and all(f"{p} {g}" in lines[0] for p in ("before", "after") for g in ("female", "male")), "table4: HONEST, female and male")


def test_forms():
    for name in ("table1", "table3", "table4"):
        tex = open(f"{WORK}/study/tables/{name}.tex").read()
        check("\\multicolumn" in tex and "{before}" in tex and "\\toprule" in tex, f"{name}.tex has the study's heads")
        check(all(n in open(f"{WORK}/study/tables/{name}.md").read() for n in NAMES), f"{name}.md names both models")
    page = open(f"{WORK}/study/report.html").read()
    check("should not be used to train any machine learning models" in page and "CC BY-SA 4.0" in page and "HurtLex" in page,
          "the page repeats warnings and licences")


write_data()
run_all()
test_table1()
test_tables3_and_4()
test_forms()
end()
