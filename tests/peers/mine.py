"""`nearmiss mine --compat` beside the tools it is compatible with, on the very same vectors.

    python tests/peers/mine.py --program FILE --encoder FOLDER [--work FOLDER] [BEIR_FOLDER]

The program embeds passages and training queries into a store; its vectors are handed to sentence-transformers'
`mine_hard_negatives` (a stub model gives them out), and both must take the same negatives of every query, for each of
the parameter sets below. FlagEmbedding's rule is that of its scripts/hn_mine.py, which is no part of its package: raw
ranks of the deduplicated texts, without positives and the query; compared as sets, before its unseeded draw. Exit 1 when a
query differs.
"""
import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys

for name, value in [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_VERBOSITY", "error"), ("TQDM_DISABLE", "1")]:
    os.environ.setdefault(name, value)

import numpy
import safetensors.numpy
import torch
from datasets import Dataset
from sentence_transformers.util import mine_hard_negatives

# Each as arguments of mine_hard_negatives; ours have the same names.
SETS = [
    dict(num_negatives=3),
    dict(num_negatives=5, range_min=10, range_max=50),
    dict(num_negatives=4, relative_margin=0.05),
    dict(num_negatives=4, absolute_margin=0.1, range_max=100),
    dict(num_negatives=3, max_score=0.6, min_score=0.2, range_max=60),
    dict(num_negatives=10, range_min=5, range_max=40, relative_margin=0.1, max_score=0.7),
    dict(num_negatives=2, absolute_margin=0.0, relative_margin=0.02, min_score=0.3),
    dict(num_negatives=8, range_max=20, min_score=0.35),
    dict(num_negatives=1, range_min=1, max_score=0.5),
]


def lines(path):
    with open(path, encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def collection(data):
    """Ids and texts of passages, texts of queries, positives of training queries by id."""
    data = pathlib.Path(data)
    passages = [(r["_id"], f"{r.get('title') or ''} {r['text']}".strip()) for r in lines(data / "corpus.jsonl")]
    queries = {r["_id"]: r["text"] for r in lines(data / "queries.jsonl")}
    positives = collections.defaultdict(list)
    for row in open(data / "qrels/train.tsv", encoding="utf-8").read().splitlines()[1:]:
        query, passage, grade = row.split("\t")
        if int(grade) > 0:
            positives[query].append(passage)
    return passages, queries, {query: sorted(found) for query, found in sorted(positives.items())}


def vectors(store):
    """Rows by role, of the one set of each that the store holds."""
    found = {}
    for folder in pathlib.Path(store).glob("embed-*"):
        role = json.load(open(folder / "provenance.json"))["settings"]["role"]
        found[role.lower()] = safetensors.numpy.load_file(folder / "vectors.safetensors")["vectors"]
    return found["document"], found["query"]


class Given:
    """What mine_hard_negatives asks of a model, over vectors made before."""

    device = torch.device("cpu")

    def __init__(self, documents, queries):
        self.documents, self.queries = documents, queries

    def encode_document(self, texts, **_):
        return numpy.stack([self.documents[text] for text in texts])

    def encode_query(self, texts, **_):
        return numpy.stack([self.queries[text] for text in texts])

    @staticmethod
    def similarity(a, b):
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    @staticmethod
    def similarity_pairwise(a, b):
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(dim=1)


def mined(arguments, options):
    """Our negatives by query, best first."""
    out = pathlib.Path(arguments.work) / "mined.jsonl"
    command = [arguments.program, "--device", "cpu", "--store", f"{arguments.work}/store", "mine", "--data", arguments.data]
    command += ["--split", "train", "--source", "dense", "--index", "exact", "--encoder", arguments.encoder, "--out", str(out)]
    for key, value in options.items():
        command += ["--" + key.replace("_", "-"), str(value)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    found = collections.defaultdict(list)
    for record in lines(out):
        if record.get("provenance", {}).get("filled") is None:
            found[record["query"]].append(record["passage"]["corpus"])
    return found


def same(ours, theirs, texts, score, name, form=list):
    """Both as texts by query: which passage stands for a text that occurs twice is no difference, nor is the order of two
    whose scores are equal but for rounding."""
    wrong, ties = [], 0
    for query, due in theirs.items():
        found = [texts[id] for id in ours.get(query, [])]
        if form(found) == form(due):
            continue
        near = len(found) == len(due) and all(abs(score(query, a) - score(query, b)) < 1e-6 for a, b in zip(found, due))
        ties += near
        wrong += [] if near else [query]
    count = sum(map(len, theirs.values()))
    print(f"{name}: {count} negatives of {len(theirs)} queries, {len(wrong)} queries differ, {ties} by rounding alone")
    for query in wrong[:3]:
        print(f"  {query}: {ours.get(query)[:5]} / {[text[:40] for text in theirs[query][:5]]}")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="../shared/data/scifact")
    parser.add_argument("--program", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--work", default="target/peers-mine")
    arguments = parser.parse_args()
    pathlib.Path(arguments.work).mkdir(parents=True, exist_ok=True)
    passages, queries, positives = collection(arguments.data)
    texts = dict(passages)
    mined(arguments, {})  # fills the store with vectors
    documents, asked = vectors(f"{arguments.work}/store")
    documents = dict(zip(texts.values(), documents)) | {text: row for (_, text), row in zip(passages[::-1], documents[::-1])}
    asked = {queries[query]: row for query, row in zip(positives, asked)}
    if len(asked) != len(positives):
        print(f"{len(positives) - len(asked)} queries have the text of another; the tools take them as one")
    model = Given(documents, asked)
    pairs = [(queries[query], texts[passage]) for query, found in positives.items() for passage in found]
    score = lambda query, text: float(documents[text] @ asked[queries[query]])
    wrong = 0
    for options in SETS:
        dataset = Dataset.from_dict({"query": [q for q, _ in pairs], "positive": [p for _, p in pairs]})
        theirs = mine_hard_negatives(
            dataset, model, corpus=list(texts.values()), output_format="triplet", verbose=False, **options
        )
        found = {query: [] for query in positives}
        names = collections.defaultdict(list)
        for query in positives:
            names[queries[query]].append(query)
        for query, negative in zip(theirs["query"], theirs["negative"]):
            for name in names[query]:
                if negative not in found[name]:
                    found[name].append(negative)
        wrong += same(mined(arguments, {"compat": "sentence-transformers", **options}), found, texts, score, f"sentence-transformers {options}")
    # hn_mine: ranks [low, high) of the deduplicated texts; as many negatives as the window, so that nothing is drawn.
    unique = list(dict.fromkeys(texts.values()))
    rows = numpy.stack([documents[text] for text in unique])
    for low, high in [(10, 60), (0, 20), (2, 200)]:
        found = {}
        for query, passages_of in positives.items():
            scores = rows @ asked[queries[query]]
            order = numpy.argsort(-scores, kind="stable")[low:high]
            skipped = {texts[passage] for passage in passages_of} | {queries[query]}
            found[query] = [unique[place] for place in order if unique[place] not in skipped]
        options = dict(range_min=low, range_max=high, num_negatives=high - low)
        wrong += same(mined(arguments, {"compat": "flagembedding", **options}), found, texts, score, f"flagembedding {options}", set)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
