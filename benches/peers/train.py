"""Passages a second in training: this program against sentence-transformers on PyTorch, side by side.

    python3 benches/peers/train.py [--program FILE] [--encode FILE] [--python PYTHON] [--rounds N] [--threads 1,2]
                                   [--models minilm,base] [--lengths 128,256] [--data BEIR_FOLDER]

A step is forward, backward, clipping and AdamW over 16 instances of a query, a positive and 5 negatives (112 texts),
MultipleNegativesRankingLoss, dropout as the encoder's configuration says (0.1). Passages are cut from the collection and
have 10 tokens up to the length named. Every competitor is a process of its own; a round tells each of them one step on
the same batch, in turn. bf16 is ours in products alone, PyTorch's by autocast; weights are f32 in both. Printed as in
encode.py, beside the rate of our matrix product alone (`--encode`), measured in the same rounds; `without dropout` is
sentence-transformers' step in evaluation mode.

Build the programs first: cargo build --release --example train_steps --example encode_speed.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

from encode import TARGET, Competitor, environment, operations, peak_mib, scifact

INSTANCES, NEGATIVES = 16, 5
SETTINGS = {"temperature": 0.05, "in_batch": "all", "learning_rate": 2e-5, "weight_decay": 0.01, "max_gradient_norm": 1.0}


def batches(data, longest, count):
    """Lists of [query, positive, negatives]; a word is about 1.4 tokens, and what is too long is cut at `longest`."""
    words = " ".join(scifact(data, 1000)).split()
    draw = random.Random(1)

    def text(most):
        length = draw.randint(7, most)
        first = draw.randrange(len(words) - length)
        return " ".join(words[first : first + length])

    most = int(longest / 1.4)
    return [[[text(18), *(text(most) for _ in range(1 + NEGATIVES))] for _ in range(INSTANCES)] for _ in range(count)]


def peer(kind, folder, file, longest, threads):
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    from sentence_transformers import SentenceTransformer, losses

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = longest
    model.train(kind != "st-f32-without-dropout")
    loss_of = losses.MultipleNegativesRankingLoss(model, scale=1 / SETTINGS["temperature"])
    groups = [{"params": [], "weight_decay": SETTINGS["weight_decay"]}, {"params": [], "weight_decay": 0.0}]
    for name, value in model.named_parameters():
        groups[name.endswith("bias") or "norm" in name.lower()]["params"].append(value)
    optimiser = torch.optim.AdamW(groups, lr=SETTINGS["learning_rate"], fused=True)
    texts = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    features = [
        [{n: v for n, v in model.tokenize(list(column)).items() if torch.is_tensor(v)} for column in zip(*batch)]
        for batch in texts
    ]
    for number, _ in enumerate(sys.stdin):
        begun = time.perf_counter()
        optimiser.zero_grad()
        columns = [dict(column) for column in features[number % len(features)]]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "st-bf16"):
            loss = loss_of(columns, None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["max_gradient_norm"])
        optimiser.step()
        print(json.dumps({"seconds": time.perf_counter() - begun, "loss": loss.item(), "peak_mib": peak_mib()}), flush=True)


def race(arguments, python, model, folder, longest, threads):
    work = TARGET / "peers-encode-work"
    file = work / f"train-{longest}.json"
    data = batches(arguments.data, longest, 4)
    file.write_text(json.dumps(data), encoding="utf-8")
    competitors = {}
    for precision in ["f32", "bf16"]:
        settings = work / f"train-{longest}-{precision}.json"
        settings.write_text(json.dumps(SETTINGS | {"precision": precision, "max_length": longest, "activation_memory": 16384}))
        competitors[f"nearmiss {precision}"] = Competitor([arguments.program, folder, str(file), str(settings)], threads)
    for kind in ["st-f32", "st-f32-without-dropout", "st-bf16"]:
        competitors[kind] = Competitor([python, __file__, "--peer", kind, folder, str(file), str(longest), str(threads)], threads)
    texts = work / "train-one.json"
    texts.write_text(json.dumps(["a text"]))
    product = {p: Competitor([arguments.encode, folder, str(texts), p], threads) for p in ["f32", "bf16"]}
    peaks = {"f32": [], "bf16": []}
    tokens, losses = [], {kind: [] for kind in competitors}
    for number in range(-1, arguments.rounds):  # the first is not counted: pages, packing
        for kind, one in competitors.items():
            answer = one.measure("step")
            losses[kind].append(answer["loss"])
            if number < 0:
                one.seconds.clear(), one.processor.clear()
            elif kind == "nearmiss f32":
                tokens.append(answer["tokens"])
        for precision, one in product.items():
            peaks[precision].append(one.tell("product")["gflops"])
    passages = INSTANCES * (2 + NEGATIVES)
    print(f"\n{model}, up to {longest} tokens, {threads} thread(s): {passages} texts and {statistics.mean(tokens):.0f} tokens a step; "
          f"{arguments.rounds} rounds; load {os.getloadavg()[0]:.1f}")
    print(f"product alone: f32 {max(peaks['f32']):.0f}, bf16 {max(peaks['bf16']):.0f} Gflop/s")
    heads = ["", "texts/s (slowest to fastest)", "times st-f32", "texts a processor second", "times st-f32", "share of product", "peak MiB", "last loss"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    clock = {kind: statistics.median(one.seconds) for kind, one in competitors.items()}
    processor = {kind: statistics.median(one.processor) for kind, one in competitors.items()}
    # Three products for each of the forward pass; those of attention counted at a mean length.
    work_done = 3 * operations(folder, [statistics.mean(tokens) / passages] * passages)
    for kind, one in competitors.items():
        rates = sorted(passages / seconds for seconds in one.seconds)
        peak = max(peaks["bf16" if kind.endswith("bf16") else "f32"]) / threads
        columns = [
            kind,
            f"{passages / clock[kind]:.1f} ({rates[0]:.1f} to {rates[-1]:.1f})",
            f"{clock['st-f32'] / clock[kind]:.2f}",
            f"{passages / processor[kind]:.1f}",
            f"{processor['st-f32'] / processor[kind]:.2f}",
            f"{work_done / processor[kind] / 1e9 / peak:.0%}",
            f"{one.peak_mib():.0f}",
            f"{losses[kind][-1]:.4f}",
        ]
        print("| " + " | ".join(columns) + " |", flush=True)
    for one in [*competitors.values(), *product.values()]:
        one.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(TARGET / "release/examples/train_steps"))
    parser.add_argument("--encode", default=str(TARGET / "release/examples/encode_speed"))
    parser.add_argument("--python", help="a Python that has the peers")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--models", default="minilm,base")
    parser.add_argument("--lengths", default="128,256")
    parser.add_argument("--data", default="../shared/data/scifact")
    parser.add_argument("--peer", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        kind, folder, file, longest, threads = arguments.peer
        return peer(kind, folder, file, int(longest), int(threads))
    python = arguments.python or environment()
    work = TARGET / "peers-encode-work"
    work.mkdir(parents=True, exist_ok=True)
    encode = pathlib.Path(__file__).with_name("encode.py")
    for model in arguments.models.split(","):
        command = [python, str(encode), "--prepare", model, str(work)]
        made = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        folder = made.stdout.strip().splitlines()[-1]
        for longest in arguments.lengths.split(","):
            for threads in arguments.threads.split(","):
                race(arguments, python, model, folder, int(longest), int(threads))


if __name__ == "__main__":
    main()
