"""What the tests of the capability metrics share: jobs on the oracle's models, programs, and rows of score files."""
import os
import subprocess
import sys
import tempfile

import h5py

BIN, SHARED = os.environ["EVENHAND_BIN"], os.environ["EVENHAND_SHARED"]
MODELS = SHARED + "/oracle/fixtures/models/"
DATA = SHARED + "/datasets/"
if not os.path.isdir(MODELS) or not os.path.isdir(DATA):
    print("SKIPPED TEST: no oracle or data sets in EVENHAND_SHARED")
    sys.exit(0)
WORK = tempfile.mkdtemp(prefix="evenhand-metrics-")
failures = 0


def check(ok, what):
    global failures
    print("ok    " if ok else "FAILED", what)
    failures += not ok
    return ok


def run(program, path, *more, ranks=1):
    return subprocess.run(["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-q", "-n", str(ranks),
                           f"{BIN}/evenhand-{program}", path, *more], capture_output=True, text=True, timeout=300)


def job(name, model, data, evaluate, extra=""):
    """Writes a job and returns its path. `data` and `evaluate` are lists of YAML flow mappings."""
    path = f"{WORK}/{name}.yaml"
    with open(path, "w") as f:
        f.write(f"name: {name}\noutput: {WORK}/{name}\ndevice: cpu\nprecision: fp32\nmodel: {{path: {model}}}\n{extra}" +
                ("data:\n" + "".join(f"  - {d}\n" for d in data) if data else "") +
                "evaluate:\n" + "".join(f"  - {e}\n" for e in evaluate))
    return path


def measure(path, phase="before", ranks=1, tokenize=True, expect=0):
    programs = [("tokenize", [])] if tokenize else []
    for program, more in programs + [("evaluate", ["--phase", phase])]:
        done = run(program, path, *more, ranks=ranks)
        if not check(done.returncode == (expect if program == "evaluate" else 0),
                     f"{program} {os.path.basename(path)} {phase} on {ranks}: {done.returncode} {done.stderr.strip()[-300:]}"):
            sys.exit(1)
    return done


def rows(path, table):
    """Columns of a score table; texts as str."""
    with h5py.File(path) as f:
        out = {}
        for name, data in f[table].items():
            if isinstance(data, h5py.Dataset):
                values = data[...]
                out[name] = [x.decode() if isinstance(x, bytes) else x for x in values] if values.dtype.kind == "O" else values
        return out


def end():
    print(f"{failures} failed")
    if failures == 0:
        import shutil
        shutil.rmtree(WORK)
    sys.exit(failures > 0)
