"""BM25 beside bm25s (its numba back end) and tantivy: index time, queries per second for the top 100, peak memory.

    python benches/peers/bm25.py [--sizes 5000,50000,500000] [--queries 2000] [--rounds 3] BEIR_FOLDER [BEIR_FOLDER ...]

The corpora are made: paragraphs of three real sentences drawn from the folders' passages, one word in a hundred made
new so that the vocabulary grows as it does in real collections. Queries are six consecutive words of a sentence. All
three have k1 1.2, b 0.75 (tantivy has no others), Lucene's 33 stop words and Porter's second stemmer; text is lower
case and without punctuation beforehand, so that all cut it alike. Each measurement is a process of its own; engines
take turns. Index time runs from texts in memory (ours: from the corpus file, mapped; parsing included) to an index on
disk; queries are given as text. The overlap is that of the top 100, in brackets without what ties with the hundredth;
bm25s with exact lengths, tantivy with lengths as Lucene rounds them. PEERS_STEMMER=none leaves the stemmer out, whose
versions differ. PEERS_PYTHON=<python> takes an environment that has the peers; else one is made from PyPI under the
target folder.
"""
import argparse
import json
import os
import pathlib
import plot
import random
import re
import statistics
import subprocess
import sys
import time

STOP = ("a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
        "this to was will with").split()
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
PACKAGES = ["bm25s", "numba", "PyStemmer", "tantivy", "numpy"]
K1, B, TOP = 1.2, 0.75, 100
STEMMER = os.environ.get("PEERS_STEMMER", "english")


def sentences(folders):
    found = []
    for folder in folders:
        with open(pathlib.Path(folder) / "corpus.jsonl", encoding="utf-8") as lines:
            for line in lines:
                for sentence in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"]):
                    words = re.findall(r"[a-z0-9]+", sentence.lower())
                    if len(words) >= 8:
                        found.append(words)
    return found


def make(folder, size, queries, pool):
    """Writes corpus.jsonl, corpus.tsv and queries.tsv."""
    draw = random.Random(size)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "corpus.jsonl", "w") as out:
        for row in range(size):
            words = [word for _ in range(3) for word in draw.choice(pool)]
            words = [f"{word}{draw.randrange(size)}" if draw.random() < 0.01 else word for word in words]
            out.write(json.dumps({"_id": f"d{row}", "title": "", "text": " ".join(words)}) + "\n")
    with open(folder / "queries.tsv", "w") as out:
        for number in range(queries):
            words = draw.choice(pool)
            start = draw.randrange(len(words) - 5)
            out.write(f"q{number}\t{' '.join(words[start:start + 6])}\n")


def texts(folder):
    with open(folder / "corpus.jsonl") as lines:
        return [json.loads(line)["text"] for line in lines]


def queries(folder):
    with open(folder / "queries.tsv") as lines:
        return [line.rstrip("\n").split("\t")[1] for line in lines]


def peak():
    """Not getrusage: that counts what the process was before it became this program, too."""
    with open("/proc/self/status") as lines:
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def bm25s_tokens(passages):
    import Stemmer
    import bm25s
    stemmer = None if STEMMER == "none" else Stemmer.Stemmer(STEMMER)
    return bm25s.tokenize(passages, token_pattern=r"[a-z0-9]+", stopwords=STOP, stemmer=stemmer, show_progress=False)


def bm25s_index(folder, threads):
    import bm25s
    passages = texts(folder)
    begin = time.perf_counter()
    retriever = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numba")
    retriever.index(bm25s_tokens(passages), show_progress=False)
    retriever.save(str(folder / "bm25s"))
    return {"index_s": time.perf_counter() - begin}


def bm25s_search(folder, threads, rounds):
    import bm25s
    retriever = bm25s.BM25.load(str(folder / "bm25s"), mmap=True)
    retriever.backend = "numba"
    asked = queries(folder)
    search = lambda some: retriever.retrieve(bm25s_tokens(some), k=TOP, n_threads=threads, show_progress=False)
    search(asked[:50])  # compiles
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        found = search(asked)
        seconds.append(time.perf_counter() - begin)
    rows = [[f"d{int(doc)}" for doc, score in zip(docs, scores) if score > 0]
            for docs, scores in zip(found.documents, found.scores)]
    return {"search_s": seconds, "rows": rows}


def tantivy_open(folder, fresh):
    import tantivy
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="peer", index_option="freq")
    builder.add_integer_field("row", stored=True)
    place = folder / "tantivy"
    if fresh and place.exists():
        subprocess.run(["rm", "-rf", place], check=True)
    place.mkdir(exist_ok=True)
    index = tantivy.Index(builder.build(), path=str(place))
    analyzer = (tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).filter(tantivy.Filter.lowercase())
                .filter(tantivy.Filter.custom_stopword(STOP)))
    if STEMMER != "none":
        analyzer = analyzer.filter(tantivy.Filter.stemmer(STEMMER))
    index.register_tokenizer("peer", analyzer.build())
    return tantivy, index


def tantivy_index(folder, threads):
    passages = texts(folder)
    begin = time.perf_counter()
    tantivy, index = tantivy_open(folder, True)
    writer = index.writer(heap_size=512_000_000, num_threads=threads)
    for row, text in enumerate(passages):
        writer.add_document(tantivy.Document(text=text, row=row))
    writer.commit()
    writer.wait_merging_threads()
    return {"index_s": time.perf_counter() - begin}


def tantivy_search(folder, threads, rounds):
    from concurrent.futures import ThreadPoolExecutor
    tantivy, index = tantivy_open(folder, False)
    index.reload()
    searcher = index.searcher()
    asked = queries(folder)

    def one(text):
        return searcher.search(index.parse_query(text, ["text"]), TOP, count=False).hits

    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        if threads == 1:
            found = [one(text) for text in asked]
        else:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(one, asked, chunksize=64))
        seconds.append(time.perf_counter() - begin)
    rows = [[f"d{searcher.doc(address)['row'][0]}" for _, address in hits] for hits in found]
    return {"search_s": seconds, "rows": rows}


def child(task, folder, threads, rounds):
    folder = pathlib.Path(folder)
    result = {
        "bm25s index": lambda: bm25s_index(folder, threads),
        "bm25s search": lambda: bm25s_search(folder, threads, rounds),
        "tantivy index": lambda: tantivy_index(folder, threads),
        "tantivy search": lambda: tantivy_search(folder, threads, rounds),
    }[task]()
    result["peak_mb"] = peak()
    print(json.dumps(result))


def peer(task, folder, threads, rounds):
    command = [sys.executable, __file__, "--child", task, str(folder), str(threads), str(rounds)]
    environment = dict(os.environ, NUMBA_NUM_THREADS=str(threads))
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout.splitlines()[-1])


def ours(arguments, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    program = str(TARGET / "release/examples/bm25")
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, env=environment, check=True)
    out = json.loads(done.stdout)
    return dict(out["result"], peak_mb=out["peak_mb"])


def run_rows(path, count):
    """Passages of each query with their scores, best first."""
    rows = {}
    with open(path) as lines:
        for line in lines:
            columns = line.split()
            rows.setdefault(columns[0], []).append((columns[2], float(columns[4])))
    return [rows.get(f"q{number}", []) for number in range(count)]


def overlap(theirs, ours):
    """Share of the top lists that both have; the same among those of ours that no passage ties with at the cut."""
    shares, clear = [], []
    for names, hits in zip(theirs, ours):
        if not names and not hits:
            continue
        had = set(names)
        shares.append(sum(name in had for name, _ in hits) / max(len(names), len(hits)))
        bar = hits[-1][1] * 1.0001 if len(hits) >= TOP else 0
        above = [name for name, score in hits if score > bar]
        if above:
            clear.append(sum(name in had for name in above) / len(above))
    return f"{sum(shares) / len(shares):.4f} ({sum(clear) / len(clear):.4f})"


def measure(folder, threads, rounds):
    index = {"exact": folder / "exact.safetensors", "lucene": folder / "lucene.safetensors"}
    build = lambda length: ours(["index", folder / "corpus.jsonl", index[length], STEMMER, length, K1, B], threads)
    search = lambda length: ours(["search", index[length], folder / "queries.tsv", TOP, folder / f"{length}.trec", 3], threads)
    tasks = {
        "nearmiss": (lambda: build("exact"), lambda: search("exact")),
        "bm25s": (lambda: peer("bm25s index", folder, threads, 3), lambda: peer("bm25s search", folder, threads, 3)),
        "tantivy": (lambda: peer("tantivy index", folder, threads, 3), lambda: peer("tantivy search", folder, threads, 3)),
    }
    build("lucene")
    search("lucene")
    found = {name: {"index_s": [], "index_mb": [], "search_s": [], "search_mb": []} for name in tasks}
    lists = {}
    for _ in range(rounds):
        for name, (make_index, ask) in tasks.items():
            made = make_index()
            found[name]["index_s"].append(made["index_s"])
            found[name]["index_mb"].append(made["peak_mb"])
            asked = ask()
            found[name]["search_s"].extend(asked["search_s"])
            found[name]["search_mb"].append(asked["peak_mb"])
            lists[name] = asked.get("rows")
    count = len(queries(folder))
    agree = {"bm25s": overlap(lists["bm25s"], run_rows(folder / "exact.trec", count)),
             "tantivy": overlap(lists["tantivy"], run_rows(folder / "lucene.trec", count))}
    return found, agree, count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="5000,50000,500000")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", help="write growth with one thread as SVG")
    parser.add_argument("folders", nargs="+")
    options = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "bm25"], check=True)
    pool = sentences(options.folders)
    print(f"{len(pool)} sentences; medians of {options.rounds} rounds, spread in brackets", file=sys.stderr)
    print("| passages | threads | engine | index s | index MB | queries/s | search MB | overlap |\n|---|---|---|---|---|---|---|---|")
    growth = {"index": {}, "search": {}, "memory": {}}
    for size in map(int, options.sizes.split(",")):
        folder = TARGET / "peers-bm25" / str(size)
        if not (folder / "queries.tsv").exists():
            make(folder, size, options.queries, pool)
        for threads in map(int, options.threads.split(",")):
            found, agree, count = measure(folder, threads, options.rounds)
            for name, values in found.items():
                median = {key: statistics.median(list_) for key, list_ in values.items()}
                spread = sorted(count / seconds for seconds in values["search_s"])
                print(f"| {size:,} | {threads} | {name} | {median['index_s']:.2f} | {median['index_mb']:.0f} | "
                      f"{count / median['search_s']:,.0f} ({spread[0]:,.0f}–{spread[-1]:,.0f}) | {median['search_mb']:.0f} | "
                      f"{agree.get(name, '-')} |", flush=True)
                if threads == 1:
                    for key, value in [("index", median["index_s"] / size * 1e6), ("search", median["search_s"] / count * 1e6),
                                       ("memory", median["index_mb"])]:
                        growth[key].setdefault(name, []).append((size, value))
    if options.plot:
        plot.write(options.plot, [("Indexing", "passages", "µs per passage", growth["index"]),
                                  ("Search, top 100", "passages", "µs per query", growth["search"]),
                                  ("Peak memory of indexing", "passages", "MB", growth["memory"])])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        python = os.environ.get("PEERS_PYTHON")
        here = TARGET / "peers-bm25" / "python"
        if python is None and not (here / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", here], check=True)
            subprocess.run([here / "bin/python", "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
            (here / "complete").touch()
        python = python or str(here / "bin/python")
        if os.path.realpath(sys.executable) != os.path.realpath(python) and "NEARMISS_PEER" not in os.environ:
            os.execve(python, [python, *sys.argv], dict(os.environ, NEARMISS_PEER="1"))
        main()
