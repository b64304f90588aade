"""Tiny random encoders of every architecture, saved by transformers: our vectors beside sentence-transformers'.

    python tests/peers/architectures.py [--program FILE] [--nearmiss FILE]

Each is saved with another kind of pooling and a dense layer. Then cross-encoders with one label and with three, through
`nearmiss rerank`. Exit 1 when ours are further from theirs than 1e-5 of their length.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from vectors import HOSTILE, PROGRAM, hostile_collection

import numpy
import torch
import transformers
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer, models as vocabularies, pre_tokenizers, processors

BOUND = 1e-5
SIZES = dict(vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, max_position_embeddings=140)
DISTIL = dict(vocab_size=200, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=140)
KINDS = [
    ("bert", transformers.BertConfig(**SIZES), "cls", 0),
    ("distilbert", transformers.DistilBertConfig(**DISTIL), "max", 0),
    ("roberta", transformers.RobertaConfig(**SIZES), "weightedmean", 1),
    ("xlm-roberta", transformers.XLMRobertaConfig(**SIZES), "mean", 1),
    ("mpnet", transformers.MPNetConfig(**SIZES), "lasttoken", 1),
]  # fmt: skip


def tokenizer(pad):
    """One token a character; the ids of padding as the architecture has them."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if pad == 0 else ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    characters = [chr(code) for code in range(33, 127)]
    vocabulary = {token: number for number, token in enumerate(special + characters)}
    inner = Tokenizer(vocabularies.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Split("", "isolated")])
    sides = "[CLS] $A [SEP] $B:1 [SEP]:1" if pad == 0 else "[CLS] $A [SEP] [SEP] $B [SEP]"
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=sides, special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), ("[PAD]", "[UNK]", "[CLS]", "[SEP]")))
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if pad == 0 else [])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=128, model_input_names=inputs, **names)


def widened(model):
    """Weights of the size of trained ones: fresh ones are so small that much of the mathematics is nearly linear."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def lines(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    return numpy.array([json.loads(line) for line in done.stdout.splitlines()])


def judge(name, ours, theirs):
    if ours.shape != theirs.shape:
        sys.exit(f"{name}: {ours.shape} of ours, {theirs.shape} of theirs")
    apart = (numpy.linalg.norm(ours - theirs, axis=1) / numpy.linalg.norm(theirs, axis=1)).max()
    print(f"{name}: {len(ours)} texts, largest relative difference {apart:.1e}")
    if not apart <= BOUND:
        sys.exit(f"{name}: above {BOUND}")


def bi_encoder(folder, kind, data, program):
    name, config, pooling, pad = kind
    plain, saved = folder / f"{name}-plain", folder / name
    widened(transformers.AutoModel.from_config(config)).save_pretrained(plain)
    tokenizer(pad).save_pretrained(plain)
    trunk = models.Transformer(str(plain), max_seq_length=128)
    layers = [trunk, models.Pooling(32, pooling_mode=pooling), widened(models.Dense(32, 24)), models.Normalize()]
    model = SentenceTransformer(modules=layers, device="cpu")
    model.save(str(saved))
    texts = [text.strip() for text in HOSTILE]
    judge(f"{name}, {pooling} pooling, dense", lines([program, str(saved), data, str(len(texts))]), model.encode(texts).astype(float))


def cross_encoder(folder, kind, data, nearmiss, labels):
    name, config, _, pad = kind
    saved = folder / f"{name}-{labels}"
    config.num_labels = labels
    model = widened(transformers.AutoModelForSequenceClassification.from_config(config))
    tokens = tokenizer(pad)
    model.save_pretrained(saved)
    tokens.save_pretrained(saved)
    texts = [text.strip() for text in HOSTILE]
    run, out = folder / "run.trec", folder / "out.trec"
    run.write_text("".join(f"q Q0 d{number} 0 {-number} x\n" for number in range(len(texts))))
    command = [nearmiss, "--store", str(folder / "store"), "rerank", "--data", data, "--split", "test", "--run", str(run)]
    command += ["--cross-encoder", str(saved), "--label", str(labels - 1), "--out", str(out)]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    scores = {line.split()[2]: float(line.split()[4]) for line in out.read_text().splitlines()}
    theirs = []
    for text in texts:
        with torch.no_grad():
            # In lists: alone, an empty text is taken for none.
            logits = model(**tokens(["a query"], [text], truncation=True, return_tensors="pt")).logits[0]
        theirs.append((logits.sigmoid() if labels == 1 else logits.softmax(0))[-1].item())
    ours = numpy.array([[scores[f"d{number}"]] for number in range(len(texts))])
    judge(f"{name} cross-encoder, {labels} labels", ours, numpy.array(theirs)[:, None])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=PROGRAM)
    parser.add_argument("--nearmiss", default=PROGRAM.replace("examples/vectors", "nearmiss"))
    arguments = parser.parse_args()
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "data").mkdir()
        data = hostile_collection(folder / "data")
        query = {"_id": "q", "text": "a query"}
        (folder / "data/queries.jsonl").write_text(json.dumps(query) + "\n", encoding="utf-8")
        for kind in KINDS:
            bi_encoder(folder, kind, data, arguments.program)
            for labels in (1, 3):
                cross_encoder(folder, kind, data, arguments.nearmiss, labels)


if __name__ == "__main__":
    main()
