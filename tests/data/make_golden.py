"""Makes tests/data/golden: tiny random models, and what transformers and tokenizers compute with them, in the layout that
`evenhand conform` reads (models/NAME, expected/NAME.h5), so that a checkout by itself has tests that are not hollow.
Their shapes are awkward on purpose: 5 heads, 3 layers, a prime vocabulary. Run with the reference libraries' Python:
    python tests/data/make_golden.py tests/data/golden
"""

import sys
from pathlib import Path

import h5py
import numpy as np
import torch
import transformers as tf

import golden_tokenizers

VOCABULARY = 307
SPREAD = 0.2  # of the noise that is added to every weight, norms and biases too
STEPS, RATE, NEW_TOKENS = 10, 1e-3, 12
COMMON = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = COMMON | {"hidden_size": 20, "num_hidden_layers": 3, "num_attention_heads": 5, "intermediate_size": 27,
                 "max_position_embeddings": 40}
MODELS = {
    "bloom": (tf.BloomForCausalLM, tf.BloomConfig(hidden_size=20, n_head=5, n_layer=3, **COMMON)),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config(n_embd=20, n_head=5, n_layer=3, n_inner=31, n_positions=40, **COMMON)),
    "t5-tied": (tf.T5ForConditionalGeneration,
                tf.T5Config(d_model=20, d_kv=6, d_ff=27, num_heads=5, num_layers=3, num_decoder_layers=2,
                            feed_forward_proj="relu", decoder_start_token_id=0, **COMMON)),
    "bert-three-labels": (tf.BertForSequenceClassification, tf.BertConfig(num_labels=3, **BERT)),
    "bert-next-sentence": (tf.BertForNextSentencePrediction, tf.BertConfig(**BERT)),
    "bert-masked": (tf.BertForMaskedLM, tf.BertConfig(**BERT)),
    "roberta-masked": (tf.RobertaForMaskedLM, tf.RobertaConfig(type_vocab_size=1, **BERT)),
}


def put_floats(group, name, value, exact):
    """With the attributes by which the bounds are set: the distance to the same in float64."""
    error = (value.double() - exact.double()).detach().abs().numpy()
    group[name] = value.detach().float().numpy()
    group[name].attrs["noise"] = error.max()
    group[name].attrs["noise99"] = np.quantile(error, 0.99)


def put_ints(group, name, value):
    group[name] = value.numpy().astype(np.int32)


def put_ragged(group, name, rows, kind="int32"):
    group[f"{name}/values"] = np.concatenate([np.array(row, dtype=kind) for row in rows] + [np.zeros(0, kind)])
    group[f"{name}/offsets"] = np.cumsum([0] + [len(row) for row in rows]).astype(np.int64)


def random_ids(*shape):
    return torch.randint(5, VOCABULARY, shape)


def inputs_of(config, lengths):
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = random_ids(length)
        mask[row, :length] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    if config.is_encoder_decoder:
        batch |= {"decoder_input_ids": ids.roll(1, 1), "decoder_attention_mask": mask}
    return batch


@torch.no_grad()
def put_forward(file, name, model, exact, lengths):
    batch = inputs_of(model.config, lengths)
    group = file.create_group(f"forward/{name}")
    for key, value in batch.items():
        put_ints(group, key, value)
    found, wanted = model(**batch, output_hidden_states=True), exact(**batch, output_hidden_states=True)
    logits, exact_logits = found.logits, wanted.logits
    if logits.ndim == 3:
        real = batch["attention_mask"][..., None].bool()
        logits, exact_logits = logits * real, exact_logits * real
    else:
        put_floats(group, "probabilities", logits.softmax(-1), exact_logits.softmax(-1))
    put_floats(group, "logits", logits, exact_logits)
    for key in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        if name == "single" and getattr(found, key, None) is not None:
            put_floats(group, key, torch.stack(getattr(found, key)), torch.stack(getattr(wanted, key)))


# --- Training: AdamW, linear schedule, clipping, as transformers.Trainer makes its steps -------------------------------
def training_batches(model):
    config, batches = model.config, []
    for _ in range(STEPS):
        batch = inputs_of(config, [9, 5, 7])
        real = batch["attention_mask"].bool()
        if hasattr(model, "classifier") or "NextSentence" in type(model).__name__:
            labels = torch.randint(0, 3 if hasattr(model, "classifier") else 2, (3,))
        elif config.is_encoder_decoder:
            labels = torch.where(torch.arange(6) < torch.tensor([[6], [3], [4]]), random_ids(3, 6), -100)
        elif "Masked" in type(model).__name__:
            chosen = real & (torch.rand(real.shape) < 0.4)
            chosen[:, 1] = True
            labels = torch.where(chosen, batch["input_ids"], -100)
            batch["input_ids"] = torch.where(chosen, 4, batch["input_ids"])
        else:
            labels = torch.where(real & (torch.arange(9) >= 2), batch["input_ids"], -100)
        batches.append({"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels})
    return batches


def train(model, batches):
    decayed = set(tf.Trainer.get_decay_parameter_names(None, model))
    named = dict(model.named_parameters())
    optimizer = torch.optim.AdamW([{"params": [p for n, p in named.items() if n in decayed], "weight_decay": 0.01},
                                   {"params": [p for n, p in named.items() if n not in decayed], "weight_decay": 0}])
    curves, kept = {"loss": [], "grad_norm": [], "learning_rate": []}, {}
    for step, batch in enumerate(batches):
        rate = RATE * (STEPS - step) / STEPS
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        if step == 0:
            kept["grads"] = {n: p.grad.clone() for n, p in named.items()}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, value in zip(curves, (loss.item(), norm.item(), rate)):
            curves[name].append(value)
        if step in (0, STEPS - 1):
            kept[f"params_{step + 1}"] = {n: p.detach().clone() for n, p in named.items()}
    return curves, kept


def put_training(file, cls, folder):
    batches = training_batches(cls.from_pretrained(folder))
    results = []
    for dtype in (torch.float32, torch.float64):
        results.append(train(cls.from_pretrained(folder, dtype=dtype).eval(), batches))  # eval: no dropout
    group = file.create_group("train")
    for key in batches[0]:
        put_ints(group, f"batches/{key}", torch.stack([batch[key] for batch in batches]))
    for name in results[0][0]:
        put_floats(group, name, *(torch.tensor(curves[name], dtype=torch.float64) for curves, _ in results))
    for part, values in results[0][1].items():
        for name in values:
            put_floats(group, f"{part}/{name}", *(kept[part][name] for _, kept in results))


# --- Scores and texts -------------------------------------------------------------------------------------------------
@torch.no_grad()
def put_texts(file, model, exact):
    seq2seq = model.config.is_encoder_decoder
    prompts = [random_ids(length).tolist() for length in (1, 4, 9, 15)]
    group = file.create_group("generate")
    put_ragged(group, "prompts", prompts)

    def run(name, **options):
        made = np.zeros((len(prompts), NEW_TOKENS), np.int32)
        for row, prompt in enumerate(prompts):
            out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                                 do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0, use_cache=False,
                                 output_scores=True, return_dict_in_generate=True, **options)
            new = out.sequences[0, 1 if seq2seq else len(prompt):]
            best = torch.cat(out.scores).topk(2).values
            assert (best[:, 0] - best[:, 1]).min() > 1e-4, f"{name} hangs on a near-tie: change the seed"
            made[row, :len(new)] = new
        group[name] = made
        return made

    greedy = run("greedy")
    run("no_repeat_ngram_2", no_repeat_ngram_size=2)
    eos = int(greedy[0, 3])
    run("with_eos", eos_token_id=eos)
    group["with_eos"].attrs["eos_token_id"] = eos

    rows, values = [random_ids(length).tolist() for length in (2, 8, 5)], []
    for net in (model, exact):
        of_net = []
        for row, source in zip(rows, prompts):
            ids = torch.tensor([row])
            if seq2seq:
                logits = net(torch.tensor([source]), labels=ids).logits[0]
                of_net.append(logits.log_softmax(-1)[torch.arange(len(row)), ids[0]])
            else:
                scores = net(ids).logits[0, :-1].log_softmax(-1)[torch.arange(len(row) - 1), ids[0, 1:]]
                of_net.append(torch.cat([torch.zeros(1, dtype=scores.dtype), scores]))
        values.append(torch.cat(of_net))
    put_ragged(file, "logprobs/ids", rows)
    if seq2seq:
        put_ragged(file, "logprobs/source_ids", prompts[:len(rows)])
    put_floats(file["logprobs"], "values", *values)


@torch.no_grad()
def put_pseudo_likelihood(file, name, model, exact, every):
    rows = [[1] + random_ids(length).tolist() + [2] for length in (3, 9, 6)]
    positions = [list(range(1, len(row) - 1, every)) for row in rows]
    values = []
    for net in (model, exact):
        of_net = []
        for row, places in zip(rows, positions):
            for place in places:
                ids = torch.tensor([row])
                ids[0, place] = 4
                of_net.append(net(ids).logits[0, place].log_softmax(-1)[row[place]])
        values.append(torch.stack(of_net))
    put_ragged(file, f"{name}/ids", rows)
    put_ragged(file, f"{name}/positions", positions)
    put_floats(file[name], "values", *values)
    put_floats(file[name], "sums", *(torch.stack([part.sum() for part in v.split([len(p) for p in positions])])
                                     for v in values))


def make(folder, name, cls, config, whole=False, seed=None):
    torch.manual_seed(20 + len(name) if seed is None else seed)
    model = cls(config).eval()
    for parameter in model.parameters():
        parameter.data += SPREAD * torch.randn(parameter.shape)
    own = folder / "models" / name
    model.save_pretrained(own)
    exact = cls.from_pretrained(own, dtype=torch.float64).eval()
    (folder / "expected").mkdir(exist_ok=True)
    with h5py.File(folder / "expected" / f"{name}.h5", "w") as file:
        put_forward(file, "single", model, exact, [9])
        put_forward(file, "batch", model, exact, [7, 3, 12])
        if not whole:
            return
        put_training(file, cls, own)
        if "Masked" in cls.__name__:
            put_pseudo_likelihood(file, "pll", model, exact, 1)
            put_pseudo_likelihood(file, "crows", model, exact, 2)
        elif model.can_generate():
            put_texts(file, model, exact)
        if config.model_type in golden_tokenizers.KINDS:
            tokenizer = golden_tokenizers.KINDS[config.model_type](VOCABULARY)
            tokenizer.save(str(own / "tokenizer.json"))
            golden_tokenizers.put(file, tokenizer, put_ragged)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_name, (model_class, model_config) in MODELS.items():
        make(Path(sys.argv[1]), model_name, model_class, model_config, whole=True)
