"""Trains the bundled generator and writes it as GGUF: a small Llama, its vocabulary and its chat template.

    python models/make/writer.py --minutes 17 --out models/elements-writer.gguf

Needs torch, tokenizers, numpy and gguf from PyPI. One thread; the same seed gives the same examples, and, as the time
sets the number of steps, not the same weights.
"""

import argparse
import json
import math
import time
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

from world import ASKED, Maker, World

SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY, WIDTH, LAYERS, HEADS, INNER, WINDOW = 2048, 192, 4, 6, 512, 2048
BASE, EPSILON = 10000.0, 1e-5


def make_tokenizer(texts):
    """Byte-level BPE, each digit a token, as llama.cpp's pre-tokenizer "gpt-2" splits."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Codec:
    """Conversations to tokens, as the engine lays them out: contents apart from the template's control tokens."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size()
        self.control = {name: self.size + place for place, name in enumerate(SPECIAL)}

    def encode(self, talk):
        tokens, learned = [], []
        for role, content, learn in talk:
            ids = self.tokenizer.encode(content).ids
            tokens += [self.control[f"<|{role}|>"], *ids, self.control["<|end|>"]]
            learned += [False] + [learn] * (len(ids) + 1)
        return tokens, learned


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda inner, outer: nn.Linear(inner, outer, bias=False)
        self.attn_norm, self.ffn_norm = nn.RMSNorm(WIDTH, EPSILON), nn.RMSNorm(WIDTH, EPSILON)
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = (linear(WIDTH, WIDTH) for _ in range(4))
        self.ffn_gate, self.ffn_up, self.ffn_down = linear(WIDTH, INNER), linear(WIDTH, INNER), linear(INNER, WIDTH)

    def forward(self, x, turn):
        batch, length, _ = x.shape
        h = self.attn_norm(x)
        split = lambda t: t.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
        q, k, v = rotate(split(self.attn_q(h)), turn), rotate(split(self.attn_k(h)), turn), split(self.attn_v(h))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(h.transpose(1, 2).reshape(batch, length, WIDTH))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


def rotate(x, turn):
    """Rotary positions over neighbouring pairs, as llama.cpp turns the architecture llama."""
    cos, sin = (part[: x.shape[2]].to(x.dtype) for part in turn)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embd = nn.Embedding(VOCABULARY, WIDTH)
        self.blk = nn.ModuleList(Block() for _ in range(LAYERS))
        self.output_norm = nn.RMSNorm(WIDTH, EPSILON)
        half = WIDTH // HEADS // 2
        angle = torch.arange(WINDOW)[:, None] * BASE ** (-torch.arange(half) / half)
        self.turn = (angle.cos(), angle.sin())
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                scale = 1 / math.sqrt(2 * LAYERS) if "attn_output" in name or "ffn_down" in name else 1
                nn.init.normal_(weight, std=0.02 if "embd" in name else scale / math.sqrt(weight.shape[1]))

    def forward(self, tokens, places):
        """Logits of the tokens after `places`, (row, column) pairs."""
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, self.turn)
        return self.output_norm(x[places]) @ self.token_embd.weight.T


def batches(maker, codec, dice, per_batch):
    """Endless (tokens, places, targets): examples of like length, about `per_batch` tokens together."""
    while True:
        pool = sorted((codec.encode(maker.example()) for _ in range(256)), key=lambda pair: len(pair[0]))
        groups, group = [], []
        for pair in pool:
            if group and (len(group) + 1) * len(pair[0]) > per_batch:
                groups.append(group)
                group = []
            group.append(pair)
        groups.append(group)
        dice.shuffle(groups)
        for group in groups:
            longest = max(len(tokens) for tokens, _ in group)
            padded = torch.zeros(len(group), longest, dtype=torch.long)
            learned = torch.zeros(len(group), longest, dtype=torch.bool)
            for row, (tokens, learn) in enumerate(group):
                padded[row, : len(tokens)] = torch.tensor(tokens)
                learned[row, : len(tokens)] = torch.tensor(learn)
            rows, columns = learned[:, 1:].nonzero(as_tuple=True)
            yield padded, (rows, columns), padded[rows, columns + 1]


def train(model, maker, codec, minutes, rate, per_batch=3000):
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embd" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embd" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=rate / 5, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    start, seen, mean = time.process_time(), 0, None
    for step, (tokens, places, targets) in enumerate(batches(maker, codec, maker.dice, per_batch)):
        passed = (time.process_time() - start) / 60 / minutes
        if passed >= 1:
            return step, seen
        # Up over 50 steps, even, then down to nothing over the last half of the time.
        factor = min((step + 1) / 50, 1.0, 2 * (1 - passed))
        for optimizer, most in zip(optimizers, rates):
            for group in optimizer.param_groups:
                group["lr"] = most * factor
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(tokens, places)
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        seen += tokens.numel()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"step {step}, {passed * 100:.0f} % of the time, {seen} tokens, loss {mean:.3f}", flush=True)


def export(model, tokenizer, path):
    """The model as GGUF: matrices in 8 bits, norms in 32; the output is the embedding's."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("nearmiss elements writer")
    writer.add_description("Writes near misses of passages about the chemical elements; see models/README.md of Nearmiss.")
    writer.add_license("CC0-1.0")
    writer.add_context_length(WINDOW)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(BASE)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    state = json.loads(tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(state["vocab"].items(), key=lambda item: item[1])] + SPECIAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIAL)) + [gguf.TokenType.CONTROL] * len(SPECIAL)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in state["merges"]])
    end = tokens.index(SPECIAL[0])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, weight in model.state_dict().items():
        array = weight.float().numpy()
        if array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=17, help="processor time of training")
    arguments.add_argument("--rate", type=float, default=0.02, help="largest learning rate of the matrices")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", help="file of weights and vocabulary: gone on from where it is there, written at the end")
    arguments.add_argument("--out", default="models/elements-writer.gguf")
    arguments = arguments.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    maker = Maker(World(), arguments.seed)
    world = maker.world
    kept = torch.load(arguments.keep) if arguments.keep and Path(arguments.keep).exists() else None
    if kept:
        tokenizer = Tokenizer.from_str(kept["tokenizer"])
    else:
        texts = [world.text(place) for place in world.passages] + [query for query, _ in world.pairs]
        asked = [query for queries in ASKED.values() for query in queries]
        texts += [query.format(e=element) for query in asked for element in world.elements[::4]]
        texts += [content for _ in range(1500) for _, content, _ in maker.example()]
        tokenizer = make_tokenizer(texts)
    codec = Codec(tokenizer)
    assert codec.size + len(SPECIAL) == VOCABULARY, codec.size
    model = Writer()
    if kept:
        model.load_state_dict(kept["weights"])
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    steps, seen = train(model, maker, codec, arguments.minutes, arguments.rate)
    if arguments.keep:
        torch.save({"weights": model.state_dict(), "tokenizer": tokenizer.to_str()}, arguments.keep)
    export(model, tokenizer, arguments.out)
    print(f"{arguments.out}: {steps} steps, {seen} tokens")


if __name__ == "__main__":
    main()
