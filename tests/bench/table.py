"""Tables of what tests/bench/run.sh measured:  table.py [--into FILE] LINES.jsonl...

With --into, they go between the two marks in the file. Rows of cases that are not among them stay as they are, and so
does what is written by hand around the marks.
"""
import json
import os
import sys

BEGIN, END = "<!-- measured: written by tests/bench/run.sh -->", "<!-- end of measured -->"


def machine():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split()
    isa = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    return f"{os.cpu_count()} cores of {names[0]} ({isa}), shared with other programs"


def row(name, line):
    ratio = line.get("ratio", {})
    cell = lambda value, form="{:.3g}": form.format(value) if value is not None else ""
    work = line["mode"] + " " + line["shape"] + " " + line["precision"]
    for word, usual in ("micro", 1), ("ranks", 1):
        if line[word] != usual:
            work += f", {line[word]} {word}"
    return [name, work, str(line["threads"]), line["program"], cell(line["seconds"]["median"]),
            f"{line['seconds']['best']:.3g}-{line['seconds']['worst']:.3g}", cell(line["processor"]["median"]),
            cell(line["processor"]["best"]), cell(ratio.get("median")), cell(ratio.get("processor_median")),
            cell(ratio.get("processor_best")), cell(line["peak_gib"]), cell(ratio.get("start")), line.get("checked", ""),
            cell(line["load"])]


def table(paths, kept=""):
    """kept: text with an earlier table, whose other cases stay in this one."""
    lines = [["case", "work", "threads", "program", "s, median", "s, range", "processor s, median", "quickest", "ratio of s",
              "of processor s", "of quickest", "peak GiB", "ratio of start-up", "the same work", "load"]]
    now = {os.path.basename(path).removesuffix(".jsonl"): path for path in paths}
    rows = [row(name, json.loads(line)) for name, path in now.items() for line in open(path)]
    earlier = [[cell.strip() for cell in line.strip("|").split(" |")] for line in kept.splitlines() if line.startswith("| ")]
    rows += [cells for cells in earlier if cells[0] not in now and cells[0] != "case"]
    lines += sorted(rows, key=lambda cells: cells[0])
    text = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:]])


def main():
    arguments = sys.argv[1:]
    if arguments[:1] != ["--into"]:
        return print(table(arguments))
    path = arguments[1]
    text = open(path).read() if os.path.exists(path) else f"# Speed on the CPU\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    before, _, behind = rest.partition(END)
    with open(path, "w") as f:
        f.write(f"{head}{BEGIN}\n\n{machine()}.\n\n{table(arguments[2:], before)}\n\n{END}{behind}")


if __name__ == "__main__":
    main()
