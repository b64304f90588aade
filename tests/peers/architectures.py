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
import safetensors.torch
import torch
import transformers
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer, models as vocabularies, pre_tokenizers, processors

BOUND = 1e-5
SIZES = dict(vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, max_position_embeddings=140)
DISTIL = dict(vocab_size=200, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=140)
ENDS = dict(pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3)
SPREAD = dict(relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"],
    position_biased_input=False, type_vocab_size=0, pad_token_id=0, pooler_hidden_size=32)
T5 = dict(vocab_size=200, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu")
KINDS = [
    ("bert", transformers.BertConfig(**SIZES), "cls", 0),
    ("distilbert", transformers.DistilBertConfig(**DISTIL), "max", 0),
    ("roberta", transformers.RobertaConfig(**SIZES), "weightedmean", 1),
    ("xlm-roberta", transformers.XLMRobertaConfig(**SIZES), "mean", 1),
    ("mpnet", transformers.MPNetConfig(**SIZES), "lasttoken", 1),
    ("modernbert", transformers.ModernBertConfig(**SIZES, **ENDS, local_attention=8, global_attn_every_n_layers=2), "cls", 0),
    ("deberta-v2", transformers.DebertaV2Config(**SIZES, **SPREAD), "mean", 0),
    ("nomic_bert", transformers.NomicBertConfig(**SIZES), "mean", 0),
    ("t5", transformers.T5Config(**T5, pad_token_id=0), "mean", 0),
]
HEADLESS = {"modernbert", "nomic_bert", "t5"}  # whose cross-encoders are not computed  # fmt: skip


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


def as_published(folder):
    """A nomic_bert folder as transformers saves it, in the layout that the published models have."""
    at, own = folder / "model.safetensors", json.loads((folder / "config.json").read_text())
    old, new = safetensors.torch.load_file(at), {}
    for name, value in old.items():
        name = name.replace("embeddings.LayerNorm", "emb_ln").replace("post_attention_layernorm", "norm1").replace("post_mlp_layernorm", "norm2")
        name = name.replace("self_attn.o_proj", "attn.out_proj").replace("up_proj", "fc11").replace("gate_proj", "fc12").replace("down_proj", "fc2")
        name = f"encoder.{name}" if name.startswith("layers.") else name
        if "self_attn.q_proj" in name:
            values = [old[f"{name.removeprefix('encoder.').replace('q_proj', part)}"] for part in ("q_proj", "k_proj", "v_proj")]
            new[name.replace("self_attn.q_proj", "attn.Wqkv")] = torch.cat(values)
        elif "self_attn" not in name:
            new[name] = value.clone()
    safetensors.torch.save_file(new, at)
    names = {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers", "n_inner": "intermediate_size",
        "n_positions": "max_position_embeddings", "vocab_size": "vocab_size", "type_vocab_size": "type_vocab_size", "layer_norm_epsilon": "layer_norm_eps"}
    config = {key: own[name] for key, name in names.items()} | {"model_type": "nomic_bert", "rotary_emb_base": own["rope_parameters"]["rope_theta"]}
    (folder / "config.json").write_text(json.dumps(config | {"activation_function": "swiglu"}))


def bi_encoder(folder, kind, data, program):
    name, config, pooling, pad = kind
    plain, saved = folder / f"{name}-plain", folder / name
    kind = transformers.T5EncoderModel if name == "t5" else transformers.AutoModel
    widened(kind._from_config(config) if name == "t5" else kind.from_config(config)).save_pretrained(plain)
    tokenizer(pad).save_pretrained(plain)
    trunk = models.Transformer(str(plain), max_seq_length=128)
    layers = [trunk, models.Pooling(32, pooling_mode=pooling), widened(models.Dense(32, 24)), models.Normalize()]
    model = SentenceTransformer(modules=layers, device="cpu")
    model.save(str(saved))
    texts = [text.strip() for text in HOSTILE]
    if name == "nomic_bert":
        as_published(saved)
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
            for labels in (1, 3) if kind[0] not in HEADLESS else ():
                cross_encoder(folder, kind, data, arguments.nearmiss, labels)


if __name__ == "__main__":
    main()
