"""The tables of results/README.md, made from the CSV files beside it, and the numbers of its text held against them.

  results_tables.py README           exit 1, with what is wrong, unless every table is what its CSV files give and every
                                     decimal number of the text stands in one of the tables
  results_tables.py README --write   makes the tables anew

A table stands between `<!-- table {...} -->` and `<!-- end -->`. The JSON object names the file (relative to README), the
columns with their decimals (null: text as it is; "LABEL=COLUMN" renames) and the rows: each a label and what the CSV row
must have in which column, beside what `where` asks of all; `in` is a folder of its own. In place of decimals a column may have an object with `decimals`,
and `file` and `where` of its own. An estimate's interval is printed after it.
"""
import csv
import json
import os
import re
import sys

BLOCK = re.compile(r"(<!-- table (\{.*?\}) -->\n)(.*?)(<!-- end -->)", re.S)
NUMBER = re.compile(r"(?<![\w./-])[-+]?\d+\.\d+(?![\w.]*\w)")


def read(path, cache={}):
    if path not in cache:
        with open(path, newline="", encoding="utf-8") as file:
            cache[path] = list(csv.DictReader(file))
    return cache[path]


def cell(row, column, decimals):
    value = row[column]
    if decimals is None or value in ("", "-"):
        return value or "-"
    sign = "+" if column.lower().startswith(("change", "effect", "excess")) else ""

    def number(text):
        return f"{float(text):{sign}.{decimals}f}"

    low, high = (row.get(f"{column} {end}" if column != "value" else end) for end in ("low", "high"))
    return number(value) + (f" [{number(low)}, {number(high)}]" if low else "")


def find(path, keys):
    found = [row for row in read(path) if all(row[k] == v for k, v in keys.items())]
    if len(found) != 1:
        raise SystemExit(f"{path}: {len(found)} rows with {keys}")
    return found[0]


def table(spec, folder):
    columns = []
    for name, how in spec["columns"].items():
        how = how if isinstance(how, dict) else {"decimals": how}
        columns.append((name.split("=", 1)[0], name.split("=", 1)[-1], how))
    lines = ["| " + " | ".join([spec.get("title", "")] + [label for label, _, _ in columns]) + " |",
             "|---|" + "".join("---|" if how["decimals"] is None else "---:|" for _, _, how in columns)]
    for row in spec["rows"]:
        keys = {k: v for k, v in row.items() if k not in ("label", "in")}
        cells = []
        for _, column, how in columns:
            path = os.path.join(folder, row.get("in", ""), how.get("file", spec.get("file", "")))
            cells.append(cell(find(path, {**spec.get("where", {}), **how.get("where", {}), **keys}), column, how["decimals"]))
        lines.append("| " + " | ".join([row["label"]] + cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    path = sys.argv[1]
    folder = os.path.dirname(os.path.abspath(path))
    text = open(path, encoding="utf-8").read()
    fresh = BLOCK.sub(lambda m: m[1] + table(json.loads(m[2]), folder) + m[4], text)
    if "--write" in sys.argv:
        with open(path, "w", encoding="utf-8") as file:
            file.write(fresh)
        return 0
    wrong = [f"{old.strip()}\n  but the CSV files give\n{new.strip()}"
             for old, new in zip(text.split("\n"), fresh.split("\n")) if old != new]
    known = {n.lstrip("+-") for m in BLOCK.finditer(fresh) for n in NUMBER.findall(m[3])}
    prose = re.sub(r"```.*?```|`[^`]*`|^    [^\n]*$", "", BLOCK.sub("", fresh), flags=re.S | re.M)
    numbers = NUMBER.findall(prose)
    wrong += [f"{n}: in no table" for n in numbers if n.lstrip("+-") not in known]
    if not BLOCK.search(fresh) or not numbers:
        wrong.append("no table or no number: nothing was checked")
    print("\n".join(wrong) or f"{len(BLOCK.findall(fresh))} tables, {len(numbers)} numbers in the text: all as measured")
    return 1 if wrong else 0


sys.exit(main())
