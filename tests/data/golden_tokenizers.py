"""The golden models' tokenizers: one of each kind, trained on a few sentences, and what the tokenizers library makes of
tricky texts. Used by make_golden.py."""

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = ["The miller of Hagen paid his debts late, as millers do.", "A quiet engineer fixed the old engine in no time.",
          "Who would have thought that the nurse was right? Nobody was.", "They're late again; we'll wait until 10:45.",
          "Der Müller zahlte 1200 Taler für das neue Mühlrad.", "Une élève très curieuse lisait près de la fenêtre.",
          "The old and the young went to the market, and the market was closed."] * 3
TEXTS = ["The miller was late.", "", " ", "  two  spaces ", "don't, we'll, I'M", "Mühlrad für 1200½ Taler?!", "tab\tand\nline",
         "a(b)|c... – “quoted”", "naïve café e\u0301le\u0300ve", "日本語 text", "emoji 👩‍🔬!", "\u00a0no-break\u00a0space", "ÀÉÎ İstanbul",
         "<s>special</s> <mask> [MASK] tokens", "unbelievablyengineered", "x" * 40]


def byte_level(specials, size, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return tokenizer


def gpt2(size):
    return byte_level(["<pad>", "<s>", "</s>"], size, pre_tokenizers.ByteLevel(add_prefix_space=False))


def bloom(size):
    pattern = Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+")
    return byte_level(["<pad>", "<s>", "</s>"], size, pre_tokenizers.Sequence([
        pre_tokenizers.Split(pattern, "isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))


def roberta(size):
    specials = ["<pad>", "<s>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    tokenizer = byte_level(specials, size, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1), add_prefix_space=False)
    return tokenizer


def bert(size):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer


def t5(size):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                             special_tokens=[("</s>", 2)])
    return tokenizer


KINDS = {"bloom": bloom, "gpt2": gpt2, "roberta": roberta, "bert": bert, "t5": t5}


def put(file, tokenizer, put_ragged):
    group = file.create_group("tokenizer")

    def put_texts(name, texts):
        put_ragged(group, name, [list(text.encode()) for text in texts], "uint8")

    rows = [tokenizer.encode(text).ids for text in TEXTS]
    pairs = [(i, (5 * i + 3) % len(TEXTS)) for i in range(len(TEXTS)) if TEXTS[(5 * i + 3) % len(TEXTS)]]
    encoded = [tokenizer.encode(TEXTS[i], TEXTS[j]) for i, j in pairs]
    chance = random.Random(7)
    decoded = rows + [[chance.randrange(tokenizer.get_vocab_size()) for _ in range(9)] for _ in range(12)]
    put_texts("texts", TEXTS)
    put_ragged(group, "ids", rows)
    put_ragged(group, "ids_plain", [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS])
    group["pairs"] = pairs
    put_ragged(group, "pair_ids", [e.ids for e in encoded])
    put_ragged(group, "pair_types", [e.type_ids for e in encoded])
    put_ragged(group, "decode_ids", decoded)
    put_texts("decoded", [tokenizer.decode(row) for row in decoded])
    put_texts("decoded_with_special", [tokenizer.decode(row, skip_special_tokens=False) for row in decoded])
