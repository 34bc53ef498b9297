"""The aligner against Python's difflib on all 1,508 rows of CrowS-Pairs, in both orders (it is not symmetric): words,
and characters, which are long enough for the rule of popular elements."""
import csv
import difflib
import os
import subprocess
import sys

PATH = os.environ["EVENHAND_SHARED"] + "/datasets/crows_pairs/crows_pairs_anonymized.csv"
if not os.path.exists(PATH):
    print("SKIPPED TEST: no CrowS-Pairs in EVENHAND_SHARED")
    sys.exit(0)
with open(PATH, encoding="utf-8", newline="") as f:
    pairs = [(r["sent_more"], r["sent_less"]) for r in csv.DictReader(f)]
cases = []
for more, less in pairs:
    for a, b in ((more, less), (less, more)):
        cases.append((a.split(), b.split()))
    cases.append((list(more), list(less)))
numbers = {}
lines = []
for case in cases:
    for side in case:
        lines.append(" ".join(str(numbers.setdefault(x, len(numbers))) for x in side))
done = subprocess.run([os.environ["EVENHAND_TESTS"] + "/core_tool_matcher"], input="\n".join(lines) + "\n", capture_output=True,
                      text=True, timeout=120)
found = [list(map(int, l.split())) for l in done.stdout.split("\n")[:-1]]
wrong = asymmetric = long = 0
for (a, b), mine in zip(cases, found):
    blocks = [x for x in difflib.SequenceMatcher(None, a, b).get_matching_blocks() if x.size]
    wrong += mine != [n for x in blocks for n in x]
    long += len(b) >= 200
print(f"{len(pairs)} rows, {len(cases)} alignments, {long} of 200 elements and more, {wrong} differ from difflib's")
sys.exit(done.returncode != 0 or len(pairs) != 1508 or len(found) != len(cases) or wrong > 0 or long == 0)
