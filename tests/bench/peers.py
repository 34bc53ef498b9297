"""Runs evenhand and its peers on the same work, in turn, and prints what each needs: tests/bench/run.sh starts it.

Peers are PyTorch and transformers. Each program is a child that answers one line for every line it gets, so that their
rounds alternate (or, where memory does not hold all of them, their runs do); a child that waits uses no processor.
Results are compared before any ratio is printed. Times: by the clock, and the processor's own divided by the threads,
which other programs on the machine disturb less; of each the median and the quickest.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

SHARED = os.environ["EVENHAND_SHARED"]
sys.path.insert(0, os.path.join(SHARED, "peers"))

# Shapes: the baseline's, and BLOOM's 560m with few layers (its vocabulary whole) where memory is short.
SHAPES = {
    "bloom-560m": dict(kind="bloom", vocab_size=250880, hidden_size=1024, n_layer=24, n_head=16),
    "bloom-560m-6": dict(kind="bloom", vocab_size=250880, hidden_size=1024, n_layer=6, n_head=16),
    "bloom-small": dict(kind="bloom", vocab_size=50257, hidden_size=512, n_layer=8, n_head=8),
    "gpt2": dict(kind="gpt2"),
    "flan-t5-small": dict(kind="t5", d_model=512, d_ff=1024, num_layers=8, num_decoder_layers=8, num_heads=6),
    "flan-t5-base": dict(kind="t5", d_model=768, d_ff=2048, num_layers=12, num_decoder_layers=12, num_heads=12),
    "bert-base": dict(kind="bert"),
    "tiny": dict(kind="bloom", vocab_size=50257, hidden_size=64, n_layer=2, n_head=4),
}
# Sizes for the growth of the cost: BLOOM's shape from 1 to 560 million weights in blocks and vocabulary.
for _name, _hidden, _layers, _heads, _words in [("1m", 64, 4, 4, 12000), ("5m", 128, 6, 4, 30000), ("20m", 256, 8, 8, 50257),
                                                ("50m", 512, 8, 8, 50257), ("130m", 768, 12, 12, 50257),
                                                ("350m", 1024, 22, 16, 70000), ("560m", 1024, 24, 16, 250880)]:
    SHAPES["grow-" + _name] = dict(kind="bloom", vocab_size=_words, hidden_size=_hidden, n_layer=_layers, n_head=_heads)


def gpt2_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    folder = os.path.join(SHARED, "datasets/tokenizers/gpt2")
    tokenizer = Tokenizer(models.BPE.from_file(f"{folder}/encoder.json", f"{folder}/vocab.bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


# ---- The work, written for both sides ----------------------------------------------------------------------------------

def make_model(shape, folder):
    import torch
    import transformers as t
    torch.manual_seed(1)
    fields = {k: v for k, v in SHAPES[shape].items() if k != "kind"}
    kind = SHAPES[shape]["kind"]
    model = {
        "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(**fields)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**fields)),
        "bert": lambda: t.BertForMaskedLM(t.BertConfig(**fields)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(
            vocab_size=32128, d_kv=64, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
            decoder_start_token_id=0, **fields)),
    }[kind]()
    model.save_pretrained(os.path.join(folder, "model"))
    return sum(p.numel() for p in model.parameters())


def vocabulary(shape):
    return {"t5": 32000, "bert": 30000}.get(SHAPES[shape]["kind"], SHAPES[shape].get("vocab_size", 50257))


def training_examples(shape, count):
    """As the study makes them from CrowS-Pairs: ids, decoder ids, rows with labels, labels."""
    import common
    encode = gpt2_tokenizer().encode
    pairs = list(common.crows_pairs())
    random.Random(1).shuffle(pairs)
    pairs *= -(-count // len(pairs))             # again from the first one where more are asked for
    fold, kind, examples = vocabulary(shape), SHAPES[shape]["kind"], []
    ids_of = lambda text, most: [i % fold for i in encode(text, add_special_tokens=False).ids[:most]]
    for text, answer in pairs[:count]:
        if kind == "t5":
            source = ids_of("Context : Make the following sentence more neutral.\n\nData : " + text, 63) + [1]
            target = ids_of(answer, 63) + [1]
            examples.append((source, [0] + target[:-1], list(range(len(target))), target))
            continue
        source, fill = common.gap_fill(text, answer)
        ids = ids_of(source, 50)
        if kind == "bert":                       # 15 % of the positions carry a label
            rows = list(range(0, len(ids), 7))
            examples.append((ids, [], rows, [ids[r] for r in rows]))
            continue
        target = ids_of(fill, 50) or ids[-1:]    # the labels end where the input ends; a row learns the next position
        labels = [(row, label) for row, label in zip(range(len(ids) - len(target) - 1, len(ids) - 1), target) if row >= 0]
        examples.append((ids, [], [r for r, _ in labels], [l for _, l in labels]))
    return examples


def stereoset_work(shape, items):
    """Items with a context, three candidates and a prompt, from StereoSet."""
    import common
    encode = gpt2_tokenizer().encode
    fold = vocabulary(shape)
    ids_of = lambda text: [i % fold for i in encode(text, add_special_tokens=False).ids]
    rows = list(common.stereoset())
    random.Random(2).shuffle(rows)
    return [dict(context=ids_of(c), candidates=[ids_of(x) for x in xs], prompt=ids_of(p)[-90:]) for p, c, xs in rows[:items]]


def option_orders(shape, items, orders):
    """The multiple-choice prompt of an item in each of the first `orders` orders of its three options."""
    import itertools

    import common
    encode = gpt2_tokenizer().encode
    fold = vocabulary(shape)
    rows = list(common.stereoset())
    random.Random(2).shuffle(rows)
    work = []
    for _, context, choices in rows[:items]:
        prompts = []
        for order in list(itertools.permutations(range(3)))[:orders]:
            lines = ["Question: Select the item from this list which relates the most to the context.", f"Context: {context}"]
            if "BLANK" in context:
                lines[0] = ('Question: The context is missing a word defined as "blank". Select which sentence\n            '
                            "among the 3 choices below is the best way to replace it.")
            lines += [f"Choice{i + 1}: {common.plain(choices[o])}" for i, o in enumerate(order)]
            text = "\n            ".join(lines + ["Answer: Choice"])      # the study's form, indentation and all
            prompts.append([i % fold for i in encode(text, add_special_tokens=False).ids])
        work.append(([11, 12, 13], prompts))
    return work


def sentences(shape, count):
    import common
    encode = gpt2_tokenizer().encode
    fold = vocabulary(shape)
    rows = list(common.crows_pairs())
    random.Random(3).shuffle(rows)
    return [[101] + [i % fold for i in encode(a, add_special_tokens=False).ids] + [102] for a, _ in rows[:count]]


def write_lists(path, rows):
    """`rows`: lists of numbers and of lists; a list is written as its length and its items."""
    with open(path, "w") as f:
        f.write(f"{len(rows)}\n")
        for row in rows:
            f.write(" ".join(" ".join(map(str, [len(x), *x])) if isinstance(x, list) else str(x) for x in row) + "\n")


# ---- The peer, as a child ----------------------------------------------------------------------------------------------

def pad(rows, width, left, value=0):
    import torch
    out = torch.full((len(rows), width), value)
    for r, row in enumerate(rows):
        if row:
            out[r, width - len(row):] = torch.tensor(row) if left else out[r, width - len(row):]
            if not left:
                out[r, :len(row)] = torch.tensor(row)
    return out


class Peer:
    def __init__(self, args):
        import torch
        import transformers
        torch.set_num_threads(args.threads)
        self.args, self.torch = args, torch
        self.kind = SHAPES[args.shape]["kind"]
        cls = {"bloom": "BloomForCausalLM", "gpt2": "GPT2LMHeadModel", "t5": "T5ForConditionalGeneration",
               "bert": "BertForMaskedLM"}[self.kind]
        train = args.mode == "train"
        dtype = torch.bfloat16 if args.precision == "bf16" and not train else torch.float32
        self.model = getattr(transformers, cls).from_pretrained(os.path.join(args.folder, "model"), dtype=dtype)
        self.rows = json.load(open(os.path.join(args.folder, args.mode + ".json")))
        self.model.train(train)
        if train:
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-5, weight_decay=0.01, fused=True)
            self.drops = [(m, m.p) for m in self.model.modules() if isinstance(m, torch.nn.Dropout)]

    def set_dropout(self, on):
        for module, rate in self.drops:
            module.p = rate if on else 0.0
        for module in self.model.modules():      # rates that attention passes on as numbers
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.own_rate = getattr(module, "own_rate", module.dropout)
                module.dropout = module.own_rate if on else 0.0

    def hidden(self, ids, mask, decoder_ids=None):
        m = self.model
        if self.kind == "t5":
            encoded = m.encoder(input_ids=ids, attention_mask=mask)[0]
            return m.decoder(input_ids=decoder_ids, encoder_hidden_states=encoded, encoder_attention_mask=mask)[0]
        if self.kind == "bert":
            return m.bert(input_ids=ids, attention_mask=mask)[0]
        extra = {} if self.kind == "bloom" else {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        return m.transformer(input_ids=ids, attention_mask=mask, **extra)[0]

    def head(self, hidden):
        return (self.model.cls if self.kind == "bert" else self.model.lm_head)(hidden)

    def batch(self, examples):
        """Padded as the study does, or to the longest row: ids, mask, decoder ids, where labels are, labels."""
        torch, left, study = self.torch, self.kind in ("bloom", "gpt2"), self.args.variant == "study"
        rows = [self.rows[e] for e in examples]
        width = (64 if self.kind == "t5" else 50) if study else max(len(r[0]) for r in rows)
        ids, mask = pad([r[0] for r in rows], width, left), pad([[1] * len(r[0]) for r in rows], width, left)
        decoder, height = None, width
        if self.kind == "t5":
            height = 64 if study else max(len(r[1]) for r in rows)
            decoder = pad([r[1] for r in rows], height, False)
        labels = torch.full((len(rows), height), -100)
        for b, r in enumerate(rows):
            shift = width - len(r[0]) if left else 0
            for row, label in zip(r[2], r[3]):
                labels[b, row + shift] = label
        return ids, mask, decoder, labels

    def train(self, request):
        torch = self.torch
        self.set_dropout(request["dropout"])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.precision == "bf16"):
            ids, mask, decoder, labels = self.batch(request["examples"])
            hidden = self.hidden(ids, mask, decoder)
            if self.args.variant == "study":
                logits = self.head(hidden)
                loss = torch.nn.functional.cross_entropy(logits.float().view(-1, logits.shape[-1]), labels.view(-1))
            else:
                chosen = labels != -100
                loss = torch.nn.functional.cross_entropy(self.head(hidden[chosen]).float(), labels[chosen])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return dict(loss=float(loss), norm=float(norm))

    def log_likelihoods(self, rows):
        torch, left = self.torch, False
        if self.kind == "t5":
            ids = pad([c for c, _ in rows], max(len(c) for c, _ in rows), left)
            mask = pad([[1] * len(c) for c, _ in rows], ids.shape[1], left)
            width = max(len(x) for _, x in rows)
            gold = pad([x for _, x in rows], width, left)
            chosen = pad([[1] * len(x) for _, x in rows], width, left).bool()
            hidden = self.hidden(ids, mask, pad([[0] + x[:-1] for _, x in rows], width, left))
        else:
            width = max(len(c) + len(x) for c, x in rows)
            ids, mask = pad([c + x for c, x in rows], width, left), pad([[1] * len(c + x) for c, x in rows], width, left)
            hidden = self.hidden(ids, mask)[:, :-1]
            gold, place = ids[:, 1:], torch.arange(1, width)
            begin, end = torch.tensor([[len(c), len(c) + len(x)] for c, x in rows]).T[..., None]
            chosen = (place >= begin) & (place < end)
        if self.args.variant == "lean":          # logits where they are asked for only
            picked = torch.log_softmax(self.head(hidden[chosen]).float(), -1).gather(-1, gold[chosen][:, None])[:, 0]
            return torch.zeros(gold.shape).masked_scatter_(chosen, picked).sum(1)
        picked = torch.log_softmax(self.head(hidden).float(), -1).gather(-1, gold[..., None])[..., 0]
        return (picked * chosen).sum(1)

    def score(self, _):
        rows = [(r["context"], x) for r in self.rows for x in r["candidates"]]
        size = 1 if self.args.variant == "study" else 32
        order = range(len(rows))
        if self.args.variant == "lean":          # neighbours of equal length waste the least padding
            order = sorted(order, key=lambda i: len(rows[i][0]) + len(rows[i][1]))
        values = [0.0] * len(rows)
        for i in range(0, len(rows), size):
            part = list(order[i:i + size])
            for place, value in zip(part, self.log_likelihoods([rows[p] for p in part]).tolist()):
                values[place] = value
        return dict(values=values)

    def generate(self, _):
        prompts, new, size = [r["prompt"] for r in self.rows], self.args.new_tokens, 1 if self.args.variant == "study" else 32
        ids = []
        for i in range(0, len(prompts), size):
            part = prompts[i:i + size]
            width, left = max(map(len, part)), self.kind != "t5"
            found = self.model.generate(input_ids=pad(part, width, left), attention_mask=pad([[1] * len(p) for p in part], width, left),
                                        do_sample=False, min_new_tokens=new, max_new_tokens=new, pad_token_id=0, eos_token_id=None)
            ids += found[:, -new:].flatten().tolist()
        return dict(ids=ids)

    def pll(self, _):
        torch, values, mask_id = self.torch, [], 103
        for row in self.rows:                    # `study`: a pass for each masked token; else one for each sentence
            ids = torch.tensor(row)[None].repeat(len(row) - 2, 1)
            place = torch.arange(len(row) - 2)
            ids[place, place + 1] = mask_id
            total = 0.0
            step = 1 if self.args.variant == "study" else len(ids)
            for i in range(0, len(ids), step):
                hidden = self.hidden(ids[i:i + step], torch.ones_like(ids[i:i + step]))
                logits = self.head(hidden) if self.args.variant == "study" else None
                where = place[:len(ids[i:i + step])]
                rows = logits[where, place[i:i + step] + 1] if logits is not None else self.head(hidden[where, place[i:i + step] + 1])
                gold = torch.tensor(row)[place[i:i + step] + 1]
                total += float(torch.log_softmax(rows.float(), -1).gather(-1, gold[:, None]).sum())
            values.append(total)
        return dict(values=values)

    def serve(self):
        import resource
        run = getattr(self, self.args.mode)
        if self.args.mode != "train":
            self.torch.set_grad_enabled(False)
        for line in sys.stdin:
            start, processor = time.monotonic(), time.process_time()
            answer = run(json.loads(line))
            answer.update(seconds=time.monotonic() - start, processor=time.process_time() - processor,
                          peak_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
            print(json.dumps(answer), flush=True)


# ---- The parent --------------------------------------------------------------------------------------------------------

class Child:
    def __init__(self, name, words, environment=None):
        words = os.environ.get("PREFIX", "").split() + words
        self.name, self.words, self.environment, self.rounds, self.process = name, words, environment or {}, [], None
        self.starts = []

    def start(self):
        if self.process is None:
            self.began = time.monotonic()
            self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            env={**os.environ, **self.environment})
            self.fresh = True

    def ask(self, request):
        self.start()
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended: {self.process.wait()}")
        answer = json.loads(line)
        if self.fresh:
            self.starts.append(time.monotonic() - self.began)
            self.fresh = False
        self.rounds.append(answer)
        return answer

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def children(args, folder, threads=None, ranks=1):
    threads = threads or args.threads
    evenhand = [args.program, "-t", str(threads), "-p", args.precision, "-m", str(args.micro), "-r", args.reduction,
                "-z", str(args.zero), "-n", str(args.new_tokens), "-b", str(args.batch)]
    if args.size:
        evenhand += ["-s", str(args.size)]
    if args.trace:
        evenhand += ["-T", args.trace]
    evenhand += [folder, args.mode]
    if ranks > 1:
        evenhand = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-q", "-n", str(ranks)] + evenhand
    threads_of = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive",
                  "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore",
                  "TOKENIZERS_PARALLELISM": "true", "OMPI_MCA_mpi_yield_when_idle": "1"}
    kept = {"MALLOC_MMAP_THRESHOLD_": str(16 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30), "MALLOC_TOP_PAD_": str(256 << 20)}
    all_children = [Child("evenhand", evenhand, threads_of)]
    for variant in args.peers.split(",") if args.peers else []:
        words = [sys.executable, os.path.abspath(__file__), "--child", "--folder", folder, "--variant", variant,
                 "--threads", str(threads), "--precision", args.precision, "--new-tokens", str(args.new_tokens), args.mode, args.shape]
        all_children.append(Child(variant, words, {**threads_of, **({} if variant == "study" else kept)}))
    return all_children


def prepare(args, folder):
    path = lambda end: os.path.join(folder, args.mode + end)
    if args.mode == "train":
        rows = training_examples(args.shape, args.examples or args.batch * max(args.rounds + 1, 3))
        written = rows
    elif args.mode == "generate":
        rows = stereoset_work(args.shape, args.items)
        written = [[r["prompt"]] for r in rows]
    elif args.mode == "choose":
        rows = option_orders(args.shape, args.items, args.orders)
        written = [[ids, len(prompts), *prompts] for ids, prompts in rows]
    elif args.mode == "pll":
        rows = sentences(args.shape, args.items)
        written = [[r] for r in rows]
    else:
        rows = stereoset_work(args.shape, args.items)
        written = [[r["context"], len(r["candidates"]), *r["candidates"]] for r in rows]
    write_lists(path(".txt"), written)
    with open(path(".json"), "w") as f:
        json.dump(rows, f)


def check(args, ours, peer):
    """The same work: what the two found in their first round. Ends the program if not; returns the words for the report."""
    slack = 2e-2 if args.precision == "bf16" else 1e-3
    if args.mode == "train":                     # two steps without dropout: the second shows that the update is the same
        worst = max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(ours.rounds[:2], peer.rounds[:2]))
        if not worst <= slack:
            sys.exit(f"losses differ by {worst:.2g} of their value: {[r['loss'] for r in ours.rounds[:2]]} and "
                     f"{[r['loss'] for r in peer.rounds[:2]]} ({peer.name})")
        # The whole gradient before clipping; bf16 rounds each of its sums, and the two round in other places.
        norms = max(abs(a["norm"] - b["norm"]) / abs(b["norm"]) for a, b in zip(ours.rounds[:2], peer.rounds[:2]))
        if not norms <= (5e-2 if args.precision == "bf16" else 1e-3):
            sys.exit(f"gradient norms differ by {norms:.2g} of their value: {[r['norm'] for r in ours.rounds[:2]]} and "
                     f"{[r['norm'] for r in peer.rounds[:2]]} ({peer.name})")
        return f"losses equal within {worst:.1e}, gradient norms {norms:.1e}"
    if args.mode == "generate":
        a, b = ours.rounds[0]["ids"], peer.rounds[0]["ids"]
        same = sum(x == y for x, y in zip(a, b)) / len(b)
        first = sum(x == y for x, y in zip(a[::args.new_tokens], b[::args.new_tokens])) / len(b[::args.new_tokens])
        texts = [a[i:i + args.new_tokens] == b[i:i + args.new_tokens] for i in range(0, len(b), args.new_tokens)]
        whole = sum(texts) / len(texts)          # after a tie that rounding breaks, the rest of a text is another one
        if len(a) != len(b) or first < (0.7 if args.precision == "bf16" else 0.95) or (args.precision != "bf16" and whole < 0.9):
            sys.exit(f"texts differ: {first:.0%} of the first tokens, {same:.0%} of all, {whole:.0%} of the texts are equal ({peer.name})")
        return f"{sum(texts)} of {len(texts)} texts and {same:.0%} of the tokens are equal"
    worst = max(abs(x - y) / max(abs(y), 1) for x, y in zip(ours.rounds[0]["values"], peer.rounds[0]["values"]))
    if len(ours.rounds[0]["values"]) != len(peer.rounds[0]["values"]) or not worst <= slack:
        sys.exit(f"scores differ by {worst:.2g} of their value ({peer.name})")
    return f"scores equal within {worst:.1e}"


def statistic(rounds, key, per):
    values = sorted(r[key] / per for r in rounds)
    return dict(median=statistics.median(values), best=values[0], worst=values[-1])


def load():
    with open("/proc/loadavg") as f:
        return float(f.read().split()[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["train", "score", "choose", "generate", "pll"])
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("--program", help="bench_model")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--peers", default="lean,study", help="variants: lean, batch, study; none: ''")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--orders", type=int, default=6)
    parser.add_argument("--examples", type=int, default=0, help="of a training; 0: a few more than are read")
    parser.add_argument("--new-tokens", type=int, default=40)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--micro", type=int, default=1)
    parser.add_argument("--reduction", default="tree")
    parser.add_argument("--zero", type=int, default=0)
    parser.add_argument("--size", type=int, default=0, help="slots of generation, tokens of a batch")
    parser.add_argument("--one-at-a-time", action="store_true", help="for want of memory: runs alternate, not rounds")
    parser.add_argument("--restart", action="store_true", help="a round is a start: programs end after it and begin anew")
    parser.add_argument("--trace")
    parser.add_argument("--folder")
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--variant")
    args = parser.parse_args()
    if args.child:
        return Peer(args).serve()
    args.batch = args.batch or (32 if SHAPES[args.shape]["kind"] == "t5" else 20)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        weights = make_model(args.shape, folder)
        prepare(args, folder)
        measure(args, folder, weights)


def measure(args, folder, weights):
    programs = children(args, folder, ranks=args.ranks)
    loads, skip = [load()], 2 if args.mode == "train" and not args.restart else 1
    rounds = args.rounds + skip
    requests = [None] * rounds
    if args.one_at_a_time:
        for program in programs:
            for r in range(rounds):
                answer = program.ask(requests[r] or dict(dropout=r >= 2))
                requests[r] = requests[r] or dict(dropout=r >= 2, examples=answer.get("examples"))
            loads.append(load())
            program.stop()
    else:
        for r in range(rounds):
            request = dict(dropout=r >= 2 and not args.restart)
            for program in programs:             # ours first: it says which examples the others take
                answer = program.ask(request)
                request.setdefault("examples", answer.get("examples"))
                if args.restart:
                    program.stop()
            loads.append(load())
    for program in programs:
        program.stop()
    ours, per = programs[0], args.items if args.mode in ("score", "choose", "generate") else 1
    facts = dict(mode=args.mode, shape=args.shape, weights=weights, precision=args.precision, threads=args.threads, ranks=args.ranks,
                 micro=args.micro, reduction=args.reduction, rounds=args.rounds, items=args.items, orders=args.orders,
                 new_tokens=args.new_tokens, size=args.size, load=statistics.median(loads))
    for program in programs:
        timed = program.rounds[skip:] or program.rounds
        line = dict(facts, program=program.name, seconds=statistic(timed, "seconds", per),
                    processor=statistic(timed, "processor", per * args.threads * args.ranks), peak_gib=program.rounds[-1]["peak_gib"],
                    start=statistics.median(program.starts))
        if "tokens" in program.rounds[-1]:
            line.update(tokens=program.rounds[-1]["tokens"], labels=program.rounds[-1]["labels"], examples=args.examples,
                        mean_tokens=statistics.mean(r["tokens"] for r in timed),
                        allocations=max(r["allocations"] for r in timed))
        if program is not ours:
            line["checked"] = check(args, ours, program)
            mine = [r["seconds"] for r in ours.rounds[skip:]], [r["processor"] for r in ours.rounds[skip:]]
            theirs = [r["seconds"] for r in timed], [r["processor"] for r in timed]
            line["ratio"] = dict(median=statistics.median(theirs[0]) / statistics.median(mine[0]), best=min(theirs[0]) / min(mine[0]),
                                 processor_median=statistics.median(theirs[1]) / statistics.median(mine[1]),
                                 processor_best=min(theirs[1]) / min(mine[1]), start=statistics.median(program.starts) / statistics.median(ours.starts))
        rounded = lambda v: {k: rounded(x) for k, x in v.items()} if isinstance(v, dict) else float(f"{v:.4g}") if isinstance(v, float) else v
        print(json.dumps(rounded(line)), flush=True)


if __name__ == "__main__":
    main()
